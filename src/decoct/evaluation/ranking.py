"""How well one list of scores orders what another orders: rank correlations with intervals, and regret."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from decoct.errors import DataError

Scores = NDArray[np.float64]
Runs = Literal["pooled", "alone", "paired"]
Measure = Callable[[Scores, Scores], float]
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


def agreement(scores: Scores, truth: Scores, seed: int = 0, *, runs: Runs = "pooled") -> Agreement:
    """Rank agreement of two tables `[runs, items]` of scores, each averaged over its runs (the numbers may differ).

    `runs`: pooled, the mean of the scores ranks; alone, every run of `scores` ranks by itself and its measures are
    averaged (for runs that are different sets, whose mean would be that of a larger one); paired, the same, with run i
    of the truth for run i of the scores.

    Intervals are the 2.5 and 97.5 percentiles of 1000 resamplings, which draw items with replacement and, on each side,
    runs with replacement: they cover the choice of the items and the chance in training. One run on a side leaves its
    chance out. For the regret only runs are drawn, since another list of items has another best one; it has an
    interval where a side has more than one run. Fewer than 8 items give no interval for the correlations.

    Raises `DataError` for fewer than 3 items, different items, or values that are not finite.
    """
    _require(scores, truth, runs)
    items = scores.shape[1]
    rng = np.random.default_rng(seed)
    many = items >= FEWEST_FOR_INTERVAL
    some_runs = len(scores) > 1 or len(truth) > 1
    drawn = [_resampled(scores, truth, rng, runs) for _ in range(DRAWS)] if many or some_runs else []

    def measured(measure: Measure, resample_items: bool) -> Correlation:
        def of(mine: Scores, its: Scores) -> float:
            found = mine.mean(0, keepdims=True) if runs == "pooled" else mine
            other = its if runs == "paired" else np.broadcast_to(its.mean(0), found.shape)
            return float(np.mean([measure(a, b) for a, b in zip(found, other, strict=True)]))

        value = of(scores, truth)
        if not (many if resample_items else some_runs):
            return Correlation(value, None)
        kept = slice(None)
        found = [of(a[:, rows if resample_items else kept], b[:, rows if resample_items else kept])
                 for a, b, rows in drawn]  # fmt: skip
        low, high = np.percentile(found, [2.5, 97.5])
        return Correlation(value, (float(low), float(high)))

    return Agreement(
        items, measured(spearman, True), measured(kendall, True), measured(regret, False), int(scores.mean(0).argmax())
    )


def _resampled(
    scores: Scores, truth: Scores, rng: np.random.Generator, runs: Runs
) -> tuple[Scores, Scores, NDArray[np.int64]]:
    """Both tables with their runs drawn again, and the items drawn again."""
    mine = rng.integers(len(scores), size=len(scores))
    its = mine if runs == "paired" else rng.integers(len(truth), size=len(truth))
    return scores[mine], truth[its], rng.integers(scores.shape[1], size=scores.shape[1])


def _ranks(values: Scores) -> Scores:
    """Ranks from 0, ties at their mean."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count + 1) / 2)[place]


def _pearson(a: Scores, b: Scores) -> float:
    x, y = a - a.mean(), b - b.mean()
    scale = np.sqrt(np.square(x).sum() * np.square(y).sum())
    return float((x * y).sum() / scale) if scale > 0 else 0.0


def _require(scores: Scores, truth: Scores, runs: Runs) -> None:
    shapes = f"scores {list(scores.shape)} and truth {list(truth.shape)}"
    good = scores.ndim == truth.ndim == 2 and scores.shape[1] == truth.shape[1] and len(scores) and len(truth)
    good = good and (runs != "paired" or len(scores) == len(truth))
    if not good or scores.shape[1] < FEWEST_ITEMS:
        raise DataError(
            "comparing two rankings",
            received=shapes,
            expected=f"two tables [runs, items] of at least {FEWEST_ITEMS} same items, and of the same runs if paired",
            remedy="rank more items, and the same ones on both sides",
        )
    if not (np.isfinite(scores).all() and np.isfinite(truth).all()):
        raise DataError(
            "comparing two rankings",
            received=f"{shapes} with values that are not finite",
            expected="finite scores",
            remedy="leave out the items whose runs failed, on both sides",
        )
