"""Cutting validation and test rows from a source that has none: stratified, disjoint, the same every time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from decoct.errors import ConfigError
from decoct.streams import derive_seed


def require_fractions(val_fraction: float, test_fraction: float) -> None:
    """Raises `ConfigError` unless both fractions are above 0 and leave something to train on."""
    if not (0 < val_fraction < 1 and 0 < test_fraction < 1 and val_fraction + test_fraction < 1):
        raise ConfigError(
            "splitting a data set",
            received=f"val_fraction={val_fraction!r}, test_fraction={test_fraction!r}",
            expected="two numbers above 0 that add up to less than 1",
            remedy="leave them at 0.1 each, or choose smaller ones",
        )


def cut(
    labels: NDArray[np.int64], classes: int, fractions: Mapping[str, float], seed: int
) -> dict[str, NDArray[np.int64]]:
    """Row numbers, ascending, for each name in `fractions` and for "train", which gets the rest.

    Each class is shuffled by its own stream of `seed` and gives `round(fraction * n)` rows to each name, at least one
    where it has enough; "train" keeps at least one row of every class that has any. A class with two rows can serve
    only one name besides "train"; such classes take turns, so that no name stays empty. The result depends on
    `labels`, in their order, on `fractions` and on `seed`.
    """
    rows: dict[str, list[NDArray[np.int64]]] = {name: [] for name in (*fractions, "train")}
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], np.arange(1, classes))
    turn = 0
    for c, members in enumerate(np.split(order, starts)):
        generator = torch.Generator()
        generator.manual_seed(derive_seed(seed, "split", c))
        shuffled = members[torch.randperm(len(members), generator=generator).numpy()]
        names = list(fractions)
        if len(members) <= len(names):
            names = names[turn % len(names) :] + names[: turn % len(names)]
            turn += 1
        for name in names:
            count = min(max(1, round(fractions[name] * len(members))), max(0, len(shuffled) - 1))
            rows[name].append(shuffled[:count])
            shuffled = shuffled[count:]
        rows["train"].append(shuffled)
    return {name: np.sort(np.concatenate(pieces)) for name, pieces in rows.items()}
