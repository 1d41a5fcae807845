"""Mean and 95 % interval of accuracies over seeds. Everything here is a fraction, never a percentage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import fmean, stdev

Interval = tuple[float, float]


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean; raises `ValueError` for no values."""
    return fmean(values)


def interval(values: Sequence[float], confidence: float = 0.95) -> Interval | None:
    """Student's t interval of the mean: `mean -+ t(1 - (1 - confidence) / 2, n - 1) s / sqrt(n)`.

    `s` is the standard deviation with n - 1 in the denominator. One value says nothing about spread: None.
    The interval covers what differed between the values (for a judged set: the seeds of the networks, with the set
    fixed), and is not clipped to [0, 1].
    """
    n = len(values)
    if n < 2:
        return None
    half = _quantile(0.5 + confidence / 2, n - 1) * stdev(values) / math.sqrt(n)
    return fmean(values) - half, fmean(values) + half


def half_width(values: Sequence[float], confidence: float = 0.95) -> float | None:
    """Half of the width of `interval`, the number that stands after the ±; None for one value."""
    found = interval(values, confidence)
    return None if found is None else (found[1] - found[0]) / 2


def show_percent(values: Sequence[float]) -> str:
    """Fractions as a person reads them: "84.1 ± 0.4" in per cent, or "84.1" for one run."""
    half = half_width(values)
    return f"{100 * fmean(values):.1f}" + ("" if half is None else f" ± {100 * half:.1f}")


@lru_cache(maxsize=256)
def _quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t distribution; scipy comes with scikit-learn and is imported late because it is slow."""
    from scipy.stats import t

    return float(t.ppf(probability, freedom))
