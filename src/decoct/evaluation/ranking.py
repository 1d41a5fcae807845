"""How well one list of scores orders what another orders: rank correlations with intervals, and regret."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from decoct.errors import DataError

Scores = NDArray[np.float64]
Draws = NDArray[np.int64]
Runs = Literal["pooled", "alone", "paired"]
Values = Scores | np.float64
"""One for each list of items."""
Measure = Callable[[Scores, Scores], Values]
FEWEST_ITEMS = 3
"""Below, a rank correlation says nothing at all."""
FEWEST_FOR_INTERVAL = 8
"""Items below which resampling says too little about spread to be shown."""
DRAWS = 1000
BLOCK = 2_000_000
"""Pairs of items that are compared at once: all resamplings of long lists would not fit in memory."""


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


def spearman(a: Scores, b: Scores) -> Values:
    """Pearson's correlation of the ranks, ties at their mean rank; 0 where one side is constant: it ranks nothing.

    Like the measures below, over the last axis of `[..., items]`.
    """
    # How many are smaller less how many are larger is twice the distance of a rank from the middle.
    return _cosine(_signs(a).sum(-1), _signs(b).sum(-1))


def kendall(a: Scores, b: Scores) -> Values:
    """Kendall's tau-b, `(concordant - discordant) / sqrt((pairs - ties in a)(pairs - ties in b))`; 0 if constant."""
    x, y = (signs.reshape(*signs.shape[:-2], -1) for signs in (_signs(a), _signs(b)))
    return _cosine(x, y)


def regret(scores: Scores, truth: Scores) -> Values:
    """`max(truth) - truth[argmax(scores)]`, 0 or more."""
    chosen = np.take_along_axis(truth, scores.argmax(-1, keepdims=True), -1)[..., 0]
    return truth.max(-1) - chosen


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
    block = _block(scores, truth)
    some_runs = len(scores) > 1 or len(truth) > 1
    drawn = _resamplings(scores, truth, rng, runs)

    def of(measure: Measure, mine: Scores, its: Scores) -> Values:
        found = mine.mean(-2, keepdims=True) if runs == "pooled" else mine
        other = its if runs == "paired" else its.mean(-2, keepdims=True)
        return np.mean(measure(*np.broadcast_arrays(found, other)), axis=-1)

    def measured(measure: Measure, resample_items: bool) -> Correlation:
        value = float(of(measure, scores, truth))
        if not (many if resample_items else some_runs):
            return Correlation(value, None)

        def again(mine: Draws, its: Draws, rows: Draws) -> Values:
            tables = scores[mine], truth[its]
            return of(measure, *(_items(table, rows) for table in tables) if resample_items else tables)

        return Correlation(value, _interval(again, drawn, block))

    return Agreement(
        items, measured(spearman, True), measured(kendall, True), measured(regret, False), int(scores.mean(0).argmax())
    )


def spearman_gain(scores: Scores, others: Scores, truth: Scores, seed: int = 0) -> Correlation:
    """Spearman's correlation with `truth` of one table `[runs, items]` less that of another, run by run.

    Every run ranks alone, and run i of both had the same chance (the same networks, say). The interval is that of 1000
    resamplings as in `agreement`, the same items and runs for both: what makes an item hard to place, or a run odd,
    falls out of the difference. None for fewer than 8 items.

    Raises `DataError` as `agreement` does, and for tables of different numbers of runs.
    """
    _require(scores, others, "paired")
    _require(scores, truth, "alone")
    items, drawn = scores.shape[1], _resamplings(scores, truth, np.random.default_rng(seed), "alone")

    def gain(mine: Scores, its: Scores, real: Scores) -> Values:
        whole = real.mean(-2, keepdims=True)
        one, other = (spearman(*np.broadcast_arrays(table, whole)) for table in (mine, its))
        return np.mean(one - other, axis=-1)

    value = float(gain(scores, others, truth))
    if items < FEWEST_FOR_INTERVAL:
        return Correlation(value, None)

    def again(runs: Draws, its: Draws, rows: Draws) -> Values:
        return gain(*(_items(table, rows) for table in (scores[runs], others[runs], truth[its])))

    return Correlation(value, _interval(again, drawn, _block(scores, truth)))


def _block(scores: Scores, truth: Scores) -> int:
    """Resamplings that are measured at once."""
    return max(1, BLOCK // (max(len(scores), len(truth)) * scores.shape[1] ** 2))


def _items(tables: Scores, rows: Draws) -> Scores:
    """Of every resampled table `[draws, runs, items]` the items that were drawn."""
    return np.take_along_axis(tables, rows[:, None], -1)


def _interval(
    measured: Callable[[Draws, Draws, Draws], Values], drawn: tuple[Draws, Draws, Draws], block: int
) -> tuple[float, float]:
    """The 2.5 and 97.5 percentiles of what is measured on every resampling, some at a time."""
    parts = (tuple(part[start : start + block] for part in drawn) for start in range(0, DRAWS, block))
    low, high = np.percentile(np.concatenate([measured(*part) for part in parts]), [2.5, 97.5])
    return float(low), float(high)


def _resamplings(scores: Scores, truth: Scores, rng: np.random.Generator, runs: Runs) -> tuple[Draws, Draws, Draws]:
    """Runs of either table `[draws, runs]` and items `[draws, items]`, drawn with replacement."""
    mine, its, rows = [], [], []
    for _ in range(DRAWS):
        mine.append(rng.integers(len(scores), size=len(scores)))
        its.append(mine[-1] if runs == "paired" else rng.integers(len(truth), size=len(truth)))
        rows.append(rng.integers(scores.shape[1], size=scores.shape[1]))
    return np.stack(mine), np.stack(its), np.stack(rows)


def _signs(values: Scores) -> Scores:
    """Whether an item is larger (1), equal (0) or smaller (-1) than another: `[..., items, items]`."""
    return np.sign(values[..., :, None] - values[..., None, :])


def _cosine(x: Scores, y: Scores) -> Values:
    """Cosine over the last axis; 0 where a side is zero."""
    scale = np.sqrt(np.square(x).sum(-1) * np.square(y).sum(-1))
    return (x * y).sum(-1) / np.where(scale > 0, scale, 1.0)


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
