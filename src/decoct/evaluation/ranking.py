"""How well one list of scores orders what another orders: rank correlations with intervals, and regret."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decoct.errors import DataError

Scores = NDArray[np.float64]
FEWEST_ITEMS = 3
"""Below, a rank correlation says nothing at all."""
FEWEST_FOR_INTERVAL = 8
"""Items below which resampling says too little about spread to be shown."""
DRAWS = 1000


@dataclass(frozen=True)
class Correlation:
    """A rank correlation in [-1, 1] (or a regret) and its 95 % interval, None where there is too little for one."""

    value: float
    interval: tuple[float, float] | None

    def to_json(self) -> dict[str, float | None]:
        """`mean`, `low` and `high`, as estimates are written elsewhere."""
        low, high = self.interval or (None, None)
        return {"mean": self.value, "low": low, "high": high}


@dataclass(frozen=True)
class Agreement:
    """How `scores` order the items that `truth` orders; both larger is better."""

    items: int
    spearman: Correlation
    kendall: Correlation
    regret: Correlation
    """What is lost by taking the item with the largest score: best truth minus its truth, in units of the truth."""
    chosen: int
    """That item; the first of several."""


def spearman(a: Scores, b: Scores) -> float:
    """Pearson's correlation of the ranks, ties at their mean rank; 0 where one side is constant: it ranks nothing."""
    return _pearson(_ranks(a), _ranks(b))


def kendall(a: Scores, b: Scores) -> float:
    """Kendall's tau-b, `(concordant - discordant) / sqrt((pairs - ties in a)(pairs - ties in b))`; 0 if constant."""
    x, y = np.sign(a[:, None] - a[None]), np.sign(b[:, None] - b[None])
    scale = np.sqrt(np.square(x).sum() * np.square(y).sum())
    return float((x * y).sum() / scale) if scale > 0 else 0.0


def regret(scores: Scores, truth: Scores) -> float:
    """`max(truth) - truth[argmax(scores)]`, 0 or more."""
    return float(truth.max() - truth[int(scores.argmax())])


def agreement(scores: Scores, truth: Scores, seed: int = 0) -> Agreement:
    """Rank agreement of two tables `[runs, items]` of scores, each averaged over its runs (the numbers may differ).

    Intervals are the 2.5 and 97.5 percentiles of 1000 resamplings, which draw items with replacement and, on each side,
    runs with replacement: they cover the choice of the items and the chance in training. One run on a side leaves its
    chance out. For the regret only runs are drawn, since another list of items has another best one; it has an
    interval where a side has more than one run. Fewer than 8 items give no interval for the correlations.

    Raises `DataError` for fewer than 3 items, different items, or values that are not finite.
    """
    _require(scores, truth)
    items = scores.shape[1]
    mine, its = scores.mean(0), truth.mean(0)
    rng = np.random.default_rng(seed)
    many = items >= FEWEST_FOR_INTERVAL
    some_runs = len(scores) > 1 or len(truth) > 1
    drawn = [_resampled(scores, truth, rng) for _ in range(DRAWS)] if many or some_runs else []

    def spread(measure: Callable[[Scores, Scores], float], resample_items: bool) -> tuple[float, float] | None:
        if not (many if resample_items else some_runs):
            return None
        found = [measure(a[rows], b[rows]) if resample_items else measure(a, b) for a, b, rows in drawn]
        low, high = np.percentile(found, [2.5, 97.5])
        return float(low), float(high)

    return Agreement(
        items,
        Correlation(spearman(mine, its), spread(spearman, True)),
        Correlation(kendall(mine, its), spread(kendall, True)),
        Correlation(regret(mine, its), spread(lambda a, b: regret(a, its), False)),
        int(mine.argmax()),
    )


def _resampled(scores: Scores, truth: Scores, rng: np.random.Generator) -> tuple[Scores, Scores, NDArray[np.int64]]:
    mine, its = (table[rng.integers(len(table), size=len(table))].mean(0) for table in (scores, truth))
    return mine, its, rng.integers(scores.shape[1], size=scores.shape[1])


def _ranks(values: Scores) -> Scores:
    """Ranks from 0, ties at their mean."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count + 1) / 2)[place]


def _pearson(a: Scores, b: Scores) -> float:
    x, y = a - a.mean(), b - b.mean()
    scale = np.sqrt(np.square(x).sum() * np.square(y).sum())
    return float((x * y).sum() / scale) if scale > 0 else 0.0


def _require(scores: Scores, truth: Scores) -> None:
    shapes = f"scores {list(scores.shape)} and truth {list(truth.shape)}"
    good = scores.ndim == truth.ndim == 2 and scores.shape[1] == truth.shape[1] and len(scores) and len(truth)
    if not good or scores.shape[1] < FEWEST_ITEMS:
        raise DataError(
            "comparing two rankings",
            received=shapes,
            expected=f"two tables [runs, items] of the same items, at least {FEWEST_ITEMS}",
            remedy="rank more items, and the same ones on both sides",
        )
    if not (np.isfinite(scores).all() and np.isfinite(truth).all()):
        raise DataError(
            "comparing two rankings",
            received=f"{shapes} with values that are not finite",
            expected="finite scores",
            remedy="leave out the items whose runs failed, on both sides",
        )
