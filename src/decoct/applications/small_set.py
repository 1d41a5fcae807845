"""A small set by name: a recipe distils, a selector picks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from decoct.applications.class_subset import scores_refused
from decoct.compact.compact_set import CompactSet
from decoct.data.dataset import Dataset
from decoct.distillation.driver import distill
from decoct.distillation.labels.learned import Learned
from decoct.distillation.recipes.table import RECIPES, resolve
from decoct.distillation.recipes.task import Task
from decoct.distillation.storage.pixels import Pixels
from decoct.errors import ConfigError
from decoct.registry import unknown_name
from decoct.selection.driver import select
from decoct.selection.methods import METHODS, selector
from decoct.selection.selector import require_weighing

STARTS = ("noise", "real", "medoids")


def require_maker(name: str, more: tuple[str, ...] = ()) -> None:
    """Raise `UnknownNameError` unless `name` is a recipe, a selector or one of `more`; `ConfigError` for its start."""
    base, plus, start = name.partition("+")
    if base not in RECIPES and base not in METHODS and name not in more:
        raise unknown_name("recipe or selector", name, sorted([*RECIPES, *METHODS, *more]))
    if plus and (start not in STARTS or base not in RECIPES):
        raise ConfigError(
            f"reading the maker {name!r}",
            received=f"{start!r} after the plus",
            expected=f"a recipe of stored pixels, then one of {', '.join(STARTS)}: what its images start from",
            remedy="write for example dm+noise, or leave the plus out",
        )


def require_usable(data: Dataset, makers: Sequence[str], ipc: int, network: str | None) -> None:
    """Raise `ConfigError` before any work for a maker whose sets could not be trained on beside rows with classes: a
    recipe that learns scores, or, where rows of `data` have weights, a selector that cannot honour them.

    Names that are neither recipes nor selectors are passed over. Raises what the recipes raise for their settings.
    """
    for name in makers:
        base = name.partition("+")[0]
        if base in RECIPES:
            point = resolve(base, Task(data.spec, ipc, asked=network))
            if isinstance(point.labels, Learned) and point.objective.label_space == "scores":
                raise scores_refused(f"the recipe {name!r}, whose labels are scores at {ipc} images a class")
        elif base in METHODS and data.train.weights is not None:
            require_weighing(selector(base), base)


def is_recipe(name: str) -> bool:
    """Whether `name` distils, as against picking real rows."""
    return name.partition("+")[0] in RECIPES


def small_set(
    data: Dataset,
    maker: str,
    *,
    ipc: int,
    steps: int | None = None,
    seed: int = 0,
    network: str | None = None,
    device: str | None = None,
    out: Path | None = None,
) -> CompactSet:
    """`ipc` rows of every class by `maker`: a selector, a recipe, or a recipe and the start of its images ("dm+noise").

    A recipe takes the set of its last step: it looks at validation data once, at the end. Raises what `distill` and
    `select` raise, `UnknownNameError` for a name that neither knows.
    """
    require_maker(maker)
    base, _, start = maker.partition("+")
    if not is_recipe(maker):
        return select(data, maker, ipc=ipc, seed=seed, device=device or "cpu", out=out)
    storage = Pixels(init_from=start) if start else None  # pyright: ignore[reportArgumentType]
    return distill(
        data, base, ipc=ipc, steps=steps, seed=seed, network=network, device=device, storage=storage, looks=1, out=out
    )
