"""Every command form that the documentation names is understood as it is written."""

from __future__ import annotations

import dataclasses
import re
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import pytest

from decoct.cli import compare, methods, score
from decoct.cli.main import COMMANDS, _parse, main
from decoct.cli.opening import Opening
from decoct.distillation.limit import VALIDATIONS
from decoct.distillation.recipes.table import LABELS, OBJECTIVES, STORAGES
from decoct.errors import ConfigError
from decoct.evaluation.protocol import PROTOCOLS


def parse(line: str) -> Any:
    name, *arguments = shlex.split(line)
    return _parse(import_module(f"decoct.cli.{name}"), name, arguments)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("data digits", {"source": "digits"}),
        (
            "distill npz:a.npz --recipe dm --ipc 10 --out DIR --budget 20min",
            {"source": "npz:a.npz", "recipe": "dm", "ipc": 10, "out": Path("DIR"), "budget": "20min", "steps": None},
        ),
        ("distill digits --recipe ridge --ipc 1 --out DIR --steps 5 --seed 3", {"steps": 5, "seed": 3, "budget": None}),
        (
            "distill digits --out D --storage bases --objective characteristic --labels teacher --track tensorboard",
            {"storage": "bases", "objective": "characteristic", "labels": "teacher", "track": "tensorboard"},
        ),
        (
            "distill digits --out D --device cpu",
            {"recipe": "auto", "objective": None, "budget": None, "steps": None, "device": "cpu"},
        ),
        (
            "distill digits --out D --augment color_crop_cutout_scale_rotate --experts E",
            {"augment": "color_crop_cutout_scale_rotate", "experts": Path("E")},
        ),
        ("distill digits --out D --network my.module:factory", {"network": "my.module:factory", "looks": VALIDATIONS}),
        ("distill digits --out D --steps 100 --looks 1", {"steps": 100, "looks": 1}),
        ("select digits --method herding --ipc 10 --out DIR", {"method": "herding", "ipc": 10, "count": None}),
        ("select digits --method herding --fraction 0.1 --out DIR", {"fraction": 0.1, "ipc": None}),
        ("select digits --method herding --count 500 --out DIR --features pca", {"count": 500, "features": "pca"}),
        (
            "evaluate DIR --data digits --protocol quick --networks convnet3 --seeds 5",
            {"folder": Path("DIR"), "data": "digits", "networks": ("convnet3",), "seeds": 5},
        ),
        (
            "compare digits --methods random dm --ipc 1 10 --budget 20min",
            {"methods": ("random", "dm"), "ipc": (1, 10), "budget": "20min"},
        ),
        ("demo", {"out": Path("decoct-demo")}),
        ("analyze mixing DIR digits --seeds 3", {"what": "mixing", "folder": Path("DIR"), "source": "digits"}),
        ("report A B C", {"folders": (Path("A"), Path("B"), Path("C"))}),
        ("export DIR --to imagefolder PATH", {"folder": Path("DIR"), "path": Path("PATH"), "to": "imagefolder"}),
        ("export DIR --to parquet PATH", {"to": "parquet"}),
        ("export DIR PATH --to npz", {"folder": Path("DIR"), "path": Path("PATH"), "to": "npz"}),
        ("methods", {}),
        ("cite dm", {"method": "dm"}),
    ],
)
def test_a_documented_form(line: str, expected: dict[str, Any]) -> None:
    for extra, as_json in (("", False), (" --json", True)):
        options = parse(line + extra)
        assert {name: getattr(options, name) for name in expected} == expected
        assert options.output.json is as_json


@pytest.mark.parametrize("name", COMMANDS)
def test_options_are_frozen_and_every_command_says_what_it_does(name: str) -> None:
    module = import_module(f"decoct.cli.{name}")
    # A command of several parts has a union of annotated options.
    for options in [get_args(part)[0] for part in get_args(module.Options)] or [module.Options]:
        assert options.__dataclass_params__.frozen
        assert options.__doc__
    assert callable(module.run)
    assert callable(module.show)


def test_opening_flags() -> None:
    line = "data imagefolder:x --size 24x32 --mode rgb --whiten --skip-bad --cache c"
    assert parse(line).opening == Opening(size="24x32", mode="rgb", whiten=True, skip_bad=True, cache=Path("c"))
    opening = parse("data x --val-fraction 0.2 --test-fraction 0.3 --split-seed 7 --group G --held-out a b").opening
    assert opening == Opening(val_fraction=0.2, test_fraction=0.3, split_seed=7, group="G", held_out=("a", "b"))
    assert parse(shlex.join(["data", "x", *opening.words()])).opening == opening


@pytest.mark.parametrize(("text", "sides"), [("32", (32, 32)), ("24x32", (24, 32)), ("24X32", (24, 32)), (None, None)])
def test_sizes(text: str | None, sides: tuple[int, int] | None) -> None:
    assert Opening(size=text).height_and_width() == sides


@pytest.mark.parametrize("text", ["", "0", "x", "12x", "x12", "3x4x5", "-3", "a"])
def test_bad_sizes(text: str) -> None:
    with pytest.raises(ConfigError, match="write --size 32"):
        Opening(size=text).height_and_width()


def test_the_command_line_in_a_report_gives_the_same_options() -> None:
    line = (
        "compare 'imagefolder:my pictures' --methods random dm --ipc 1 3 --steps 7 --networks mlp --seeds 2 "
        "--baselines random --seed 4 "
        "--size 8 --mode gray --whiten --skip-bad --val-fraction 0.2 --split-seed 7 --out o"
    )
    options = parse(line)
    again = parse(compare.command_line(options).removeprefix("decoct "))
    assert dataclasses.asdict(again) == dataclasses.asdict(options)


def test_the_command_that_score_prints_is_one_that_select_takes() -> None:
    result = {
        "rows": 9, "passes": 2, "val_accuracy": 0.5, "scores": ["el2n", "aum"], "never_learned": 0, "always_right": 1,
        "likely_mislabelled": [], "most_ambiguous": [], "out": "scored",
    }  # fmt: skip
    (line,) = (line for line in score.show(result).splitlines() if "decoct select" in line)
    options = parse(line.partition("decoct ")[2])
    assert (options.scores, options.score in result["scores"]) == (Path("scored/scores.parquet"), True)
    assert options.fraction is not None
    assert options.out == Path("DIR")


def test_the_help_of_compare_names_every_protocol(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "--help"]) == 0
    said = " ".join(capfd.readouterr().out.replace("│", " ").split())
    named = said.partition("How networks are trained and measured:")[2].partition("(default")[0]
    assert set(re.findall(r"[a-z]+(?:-\d+)?", named)) - {"or"} == set(PROTOCOLS)


def test_methods_prints_axes_by_names_that_can_be_typed() -> None:
    for card in methods.cards()["distill"]:
        for part, registry in zip(card.axes.split(" x "), (STORAGES, OBJECTIVES, LABELS), strict=False):
            assert part.split()[0] in registry or card.axes.startswith("chosen:"), card.axes
