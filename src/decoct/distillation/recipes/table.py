"""The recipes that have a name, and the axes by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from decoct.augment.siamese import FAMILIES, Siamese
from decoct.distillation.axes import Labels, Objective, Storage
from decoct.distillation.recipe import Recipe
from decoct.distillation.recipes.task import Task
from decoct.errors import ConfigError
from decoct.registry import Registry

STORAGES = Registry(
    "storage",
    {
        "pixels": "decoct.distillation.storage.pixels:Pixels",
        "multiformation": "decoct.distillation.storage.multiformation:Multiformation",
        "patches": "decoct.distillation.storage.patches:Patches",
        "bases": "decoct.distillation.storage.bases:Bases",
        "generator": "decoct.distillation.storage.generator:Generator",
    },
)
OBJECTIVES = Registry(
    "objective",
    {
        "distribution": "decoct.distillation.objective.distribution:Distribution",
        "characteristic": "decoct.distillation.objective.characteristic:Characteristic",
        "gradient": "decoct.distillation.objective.gradient:Gradient",
        "hypergradient": "decoct.distillation.objective.hypergradient:Hypergradient",
        "implicit": "decoct.distillation.objective.implicit:Implicit",
        "none": "decoct.distillation.objective.nothing:Nothing",
        "random-features": "decoct.distillation.objective.random_features:RandomFeatures",
        "ridge": "decoct.distillation.objective.ridge:Ridge",
        "statistics": "decoct.distillation.objective.statistics:Statistics",
        "tangent": "decoct.distillation.objective.tangent:Tangent",
        "trajectory": "decoct.distillation.objective.trajectory:Trajectory",
        "unroll": "decoct.distillation.objective.unroll:Unroll",
    },
)
LABELS = Registry(
    "labels",
    {
        "hard": "decoct.distillation.labels.hard:Hard",
        "learned": "decoct.distillation.labels.learned:Learned",
        "teacher": "decoct.distillation.labels.teacher:Teacher",
    },
)
_FAMILIES = {
    "auto": ("auto",),
    "characteristic": ("ncfm",),
    "distribution": ("dm", "idm"),
    "generator": ("glad",),
    "gradient": ("dc", "dsa", "idc"),
    "hypergradient": ("hcdc",),
    "real": ("soft-random", "rded"),
    "ridge": ("ridge", "ridge-grid", "kip", "frepo", "rfad", "rcig"),
    "statistics": ("sre2l", "cda", "gvbsm"),
    "trajectory": ("mtt", "tesla", "datm"),
    "unroll": ("dd", "rtp", "rat-bptt"),
}
_NAMES = [(name, family) for family, names in _FAMILIES.items() for name in names]
RECIPES = Registry(
    "recipe",
    {name: f"decoct.distillation.recipes.{family}:{name.replace('-', '_')}" for name, family in _NAMES},
)
"""name -> `function(task) -> Recipe`."""
CARDS = Registry(
    "recipe card",
    {name: f"decoct.distillation.cards.{family}:{name.replace('-', '_').upper()}" for name, family in _NAMES},
)


@dataclass(frozen=True)
class Changes:
    """Parts of a recipe that the caller wants otherwise; none keeps the recipe's own."""

    storage: str | Storage | None = None
    objective: str | Objective | None = None
    labels: str | Labels | None = None
    augment: str | None = None
    """Picture changes by their families, or "none"."""


def resolve(recipe: str | Recipe, task: Task, changes: Changes | None = None) -> Recipe:
    """The recipe of this name for the task (or the recipe as given) with the changes applied.

    Raises `UnknownNameError` for a name that no registry lists, `ConfigError` for picture changes that there are not,
    for rows that are no pictures, and for picture changes asked for of which the point makes none.
    """
    found: Recipe = RECIPES.load(recipe)(task) if isinstance(recipe, str) else recipe
    chosen = changes or Changes()
    axes = (("storage", STORAGES), ("objective", OBJECTIVES), ("labels", LABELS))
    wanted = {name: _member(table, getattr(chosen, name)) for name, table in axes if getattr(chosen, name) is not None}
    if chosen.augment is not None:
        wanted["augment"] = _strategy(chosen.augment, task)
    point = replace(found, **wanted)
    whole = changes is not None and not isinstance(recipe, str) and not {"objective", "labels"} & wanted.keys()
    if task.spec.is_image and (chosen.augment is not None or whole):
        _require_used(point)
    return point


def _require_used(point: Recipe) -> None:
    """Raise `ConfigError` where all picture changes that the caller asks for would stand in the provenance alone."""
    families = () if point.augment == "auto" else Siamese(point.augment).families
    axes = (point.objective, point.labels)
    if not families or any(axis.augments(families) for axis in axes):
        return
    known = dict.fromkeys(family for axis in axes for family in axis.augments(FAMILIES))
    raise ConfigError(
        "choosing an augmentation",
        received=f"{point.augment!r} for the objective {type(point.objective).__name__}, which makes no such changes "
        "as it is set up",
        expected="one of its families: " + ", ".join(known) if known else "none: it sees pictures as they are",
        remedy="leave the augmentation out, or give an objective that augments, such as one with augmented=True",
    )


def _strategy(augment: str, task: Task) -> str:
    families = Siamese(augment).families
    if families and not task.spec.is_image:
        raise ConfigError(
            "choosing an augmentation",
            received=f"{augment!r} for rows of shape {task.spec.shape}",
            expected="images, whose augmentation it is",
            remedy="leave the augmentation out",
        )
    return "_".join(families)


def _member(table: Registry, choice: Any) -> Any:
    return table.load(choice)() if isinstance(choice, str) else choice
