"""The recipes that have a name, and the axes by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from decoct.distillation.axes import Labels, Storage
from decoct.distillation.recipe import Recipe
from decoct.registry import Registry

STORAGES = Registry(
    "storage",
    {
        "pixels": "decoct.distillation.storage.pixels:Pixels",
        "multiformation": "decoct.distillation.storage.multiformation:Multiformation",
    },
)
OBJECTIVES = Registry(
    "objective",
    {
        "distribution": "decoct.distillation.objective.distribution:Distribution",
        "ridge": "decoct.distillation.objective.ridge:Ridge",
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
RECIPES = Registry(
    "recipe",
    {"dm": "decoct.distillation.recipes:dm", "ridge": "decoct.distillation.recipes:ridge"},
)
CARDS = Registry(
    "recipe card",
    {"dm": "decoct.distillation.cards:DM", "ridge": "decoct.distillation.cards:RIDGE"},
)


def dm() -> Recipe:
    """Pixels x distribution x hard, with a pool of networks whose class means are kept.

    The paper's step size (1.0, momentum 0.5) and 256 real images per class; the paper draws a fresh network at each
    of 20,000 steps, this one renews a pool, which is what makes minutes on two cores enough.
    """
    from decoct.distillation.labels.hard import Hard
    from decoct.distillation.objective.distribution import Distribution
    from decoct.distillation.storage.pixels import Pixels

    return Recipe(
        Pixels(), Distribution(pool=20, renew_every=4), Hard(), optimizer="sgd", lr=1.0, momentum=0.5, steps=2000
    )


def ridge() -> Recipe:
    """Pixels x ridge x learned labels: FRePo's objective and pool with the student's own network."""
    from decoct.distillation.labels.learned import Learned
    from decoct.distillation.objective.ridge import Ridge
    from decoct.distillation.storage.pixels import Pixels

    return Recipe(
        Pixels(),
        Ridge(),
        Learned(),
        optimizer="adam",
        lr=0.01,
        lr_labels=0.01,
        schedule="cosine",
        steps=2000,
    )


@dataclass(frozen=True)
class Changes:
    """Parts of a recipe that the caller wants otherwise; none keeps the recipe's own."""

    storage: str | Storage | None = None
    labels: str | Labels | None = None
    network: str | None = None


def resolve(recipe: str | Recipe, changes: Changes) -> Recipe:
    """The recipe of this name (or as given) with the changes applied.

    Raises `UnknownNameError` for a name that no registry lists.
    """
    found: Recipe = RECIPES.load(recipe)() if isinstance(recipe, str) else recipe
    if changes.storage is not None:
        found = replace(found, storage=_axis(STORAGES, changes.storage))
    if changes.labels is not None:
        found = replace(found, labels=_axis(LABELS, changes.labels))
    return found


def _axis(registry: Registry, choice: Any) -> Any:
    return registry.load(choice)() if isinstance(choice, str) else choice
