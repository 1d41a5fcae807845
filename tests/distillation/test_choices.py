"""A value that a setting does not list is told where it is set, on every axis; so are numbers out of range."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from axis_members import LABELS, OBJECTIVES, STORAGES
from toys import blob_images

from decoct.distillation.axes import Objective
from decoct.distillation.labels.hard import Hard
from decoct.distillation.labels.teacher import Teacher
from decoct.distillation.objective.characteristic import Characteristic
from decoct.distillation.objective.gradient import Gradient
from decoct.distillation.objective.implicit import Implicit
from decoct.distillation.objective.nothing import NothingState
from decoct.distillation.objective.ridge import Ridge
from decoct.distillation.objective.statistics import Statistics
from decoct.distillation.objective.tangent import Tangent
from decoct.distillation.objective.unroll import Unroll
from decoct.distillation.queue import QueueConfig
from decoct.distillation.recipe import Recipe
from decoct.distillation.recipes.task import Task
from decoct.distillation.storage.bases import Bases
from decoct.distillation.storage.generator import Generator
from decoct.distillation.storage.patches import Patches
from decoct.distillation.storage.pixels import Pixels
from decoct.errors import ConfigError

MEMBERS: list[Any] = [*STORAGES.values(), *OBJECTIVES.values(), *LABELS.values()]
RECIPE = Recipe(Pixels(), Ridge(), Hard())
TASK = Task(blob_images().spec, 1)


def untyped(settings: Any, **changes: Any) -> Any:
    """`replace` without the check of types that tests have and callers have not."""
    made = object.__new__(type(settings))
    for name, value in {**{field.name: getattr(settings, field.name) for field in fields(settings)}, **changes}.items():
        object.__setattr__(made, name, value)
    made.__post_init__()
    return made


def _chosen(settings: Any) -> list[str]:
    """Fields that list their values."""
    hints = get_type_hints(type(settings))

    def parts(hint: Any) -> tuple[Any, ...]:
        return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)

    return [
        field.name for field in fields(settings)
        if any(part is bool or get_origin(part) is Literal for part in parts(hints[field.name]))
    ]  # fmt: skip


KINDS = {type(member): member for member in [*MEMBERS, RECIPE, TASK]}
CASES = [(member, name) for member in KINDS.values() for name in _chosen(member)]


def test_the_fields_that_list_their_values_are_found():
    assert len(CASES) > 30
    assert {kind.__name__ for kind in set(KINDS) - {type(member) for member, _ in CASES}} == {
        "Hard",
        "Nothing",
    }


@pytest.mark.parametrize(("member", "name"), CASES, ids=[f"{type(m).__name__}-{n}" for m, n in CASES])
def test_a_misspelt_choice_is_told_with_the_values_that_there_are(member, name):
    hint = get_type_hints(type(member))[name]
    choices = [True, False] if hint is bool else [c for c in get_args(hint) if not isinstance(c, type)]
    with pytest.raises(ConfigError) as told:
        untyped(member, **{name: "reel"})
    text = str(told.value)
    assert f"setting {name} of {type(member).__name__}\n  received: 'reel'\n  expected: one of " in text
    assert all(repr(choice) in text for choice in choices if not get_args(choice))


@pytest.mark.parametrize(
    ("settings", "wrong", "guess"),
    [
        (Gradient(), {"metric": "cos"}, "did you mean 'cosine'?"),
        (Gradient(), {"train_on": "reel"}, "did you mean 'real'?"),
        (Unroll(), {"optimizer": "adamw"}, "did you mean 'adam'?"),
        (Unroll(), {"learn_lr": "yes"}, "give another learn_lr"),
        (OBJECTIVES["distribution"], {"networks": "queued"}, "did you mean 'queue'?"),
        (Implicit(), {"loss": "ce"}, "give another loss"),
        (Pixels(), {"bits": 4}, "give another bits"),
        (Teacher(), {"epoch": "student."}, "did you mean 'student'?"),
        (RECIPE, {"optimizer": "adamw"}, "did you mean 'adam'?"),
        (RECIPE, {"schedule": "foo"}, "give another schedule"),
    ],
)
def test_the_nearest_value_is_named(settings, wrong, guess):
    with pytest.raises(ConfigError) as told:
        untyped(settings, **wrong)
    assert told.value.remedy == guess


def test_a_preset_that_there_is_not():
    with pytest.raises(ConfigError, match="setting preset of Task(.|\n)*one of 'cpu', 'paper'"):
        untyped(TASK, preset="gpu")


WRONG: list[tuple[Any, dict[str, list[Any]]]] = [
    (RECIPE, {"lr": [0, "fast"], "momentum": [-3, 1.0], "betas": [(0.9, 1.0), (0.9,)], "clip_norm": [0.0],
              "clip_ema": [-1.0], "steps": [0], "rows_per_step": [0]}),
    (Gradient(), {"net_lr": [0.0, -0.1], "inner_epochs": [-1], "early_rows": [-1], "net_momentum": [-0.1, 1.0],
                  "net_weight_decay": [-1e-4], "cutmix": [-0.1, 1.1], "real_per_class": [0], "pool": [0]}),
    (Unroll(), {"momentum": [-0.1, 1.0, 1.5], "inner_lr": [0.0], "real_batch": [0]}),
    (Statistics(), {"bn_weight": [-0.1, float("nan")], "first_multiplier": [-1.0], "roll": [-1], "densify": [-0.1]}),
    (Tangent(), {"real_batch": [0], "reg": [-1e-6]}),
    (Characteristic(), {"real_per_class": [0], "scale": [-1.0], "ce_weight": [-1.0], "frequency_rate": [-1.0]}),
    (QueueConfig(), {"size": [0], "trained_per_step": [-1], "train_steps": [-1], "warm_steps": [-1], "lr": [0.0],
                     "momentum": [1.0, -0.1], "weight_decay": [-1e-4]}),
    (Bases(), {"l2": [-1.0]}),
    (Generator(), {"decoder_rate": [-0.1]}),
    (Patches(), {"epochs": [0]}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "name", "value"),
    [(settings, name, value) for settings, wrong in WRONG for name, values in wrong.items() for value in values],
)
def test_a_number_out_of_range_is_told_by_name(settings, name, value):
    with pytest.raises(ConfigError) as told:
        untyped(settings, **{name: value})
    kept = "" if settings is RECIPE else ", or keep the defaults"
    assert f"give another {name}{kept}" == told.value.remedy
    assert str(value) in told.value.received


def test_ends_of_ranges_are_allowed():
    replace(RECIPE, momentum=0.0, clip_norm=None, betas=(0.0, 0.5))
    Gradient(inner_epochs=0, early_rows=0, net_momentum=0.0, cutmix=1.0)
    Unroll(momentum=0.0)
    QueueConfig(trained_per_step=0, train_steps=0, warm_steps=0, weight_decay=0.0)


@dataclass(frozen=True)
class Lax(Objective):
    """Has a `__post_init__` that leaves that of its base out."""

    way: Literal["here", "there"] = "here"

    def __post_init__(self) -> None:
        pass

    def init(self, problem, streams):
        return NothingState()

    def flops(self, problem) -> float:
        return 1.0


class Plain(Objective):
    """No dataclass."""

    init, flops = Lax.init, Lax.flops


def test_a_recipe_checks_the_choices_of_an_axis_that_does_not():
    with pytest.raises(ConfigError, match="setting way of Lax"):
        replace(RECIPE, objective=Lax("everywhere"))  # type: ignore[arg-type]
    assert replace(RECIPE, objective=Lax("there")).facts()["objective"] == {"kind": "Lax", "way": "there"}


@pytest.mark.parametrize(
    ("axis", "received", "remedy"),
    [
        (Plain(), "Plain, no dataclass", r"write @dataclass\(frozen=True\) above its class"),
        (Lax, "the class Lax", r"give an object of it, such as Lax\(\)"),
        (Pixels(), "Pixels: Pixels", "derive it from Objective"),
        (7, "int: 7", "derive it from Objective"),
    ],
)
def test_what_is_no_axis_says_what_to_do(axis, received, remedy):
    text = f"choosing the objective of a recipe\n  received: {received}(.|\n)*decoct.distillation.axes.Objective"
    with pytest.raises(ConfigError, match=f"{text}(.|\n)*{remedy}"):
        untyped(RECIPE, objective=axis)
