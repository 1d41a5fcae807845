"""The data-knowledge scaling law: its fit with intervals, what it says of trades, and the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from decoct.errors import DataError

LEAST_POINTS = 6
LEAST_SEEDS = 3
"""Fewer seeds do not say how far runs of one seed go together."""
_START_FLOORS = (0.0, 0.3, 0.6, 0.9)
_CONFIDENCE = 0.95
_FARTHEST = 25.0
"""Logarithms beyond this are no numbers of images."""


@dataclass(frozen=True)
class Law:
    """`error(n, k) = floor + scale n^-alpha k^-beta`, each of the four with its 95 % interval.

    n is the number of images of each class, k the number of label entries kept of each, error a fraction. Where the
    floor comes out as 0 it is held there, and has no interval.
    """

    alpha: float
    """Power of the images."""
    beta: float
    """Power of the label entries."""
    scale: float
    """Error at n = k = 1, above the floor."""
    floor: float
    """Error that is left with any number of images and entries."""
    intervals: dict[str, tuple[float, float] | None]
    """Ends of the 95 % intervals by name."""
    residual: float
    """Root mean square of the residuals of the logarithm of the error."""
    by_seed: bool = False
    """Whether the intervals let runs of one seed go together; else they count every run for itself."""

    def error(self, n: float | int, k: float | int) -> float:
        """The error that the law expects."""
        return self.floor + self.scale * n**-self.alpha * k**-self.beta

    def images_for(self, error: float, k: float | int) -> float | None:
        """Images of each class with which k entries reach `error` (an iso-accuracy curve); None where none do."""
        if error <= self.floor or self.alpha <= 0:
            return None
        power = math.log(self.scale * k**-self.beta / (error - self.floor)) / self.alpha
        return math.exp(power) if abs(power) < _FARTHEST else None

    @property
    def doubling(self) -> float | None:
        """How many times fewer images do as well when the entries are doubled: `2^(beta / alpha)`."""
        return 2 ** (self.beta / self.alpha) if self.alpha > abs(self.beta) / _FARTHEST else None

    def sentence(self) -> str:
        """The powers, and what they say of trading entries for images."""
        doubled = self.doubling
        low, high = self.intervals["beta"] or (self.beta, self.beta)
        if doubled is None or low <= 0 <= high:
            trade = "what more entries bring cannot be told from nothing"
        elif low > 0:
            trade = f"twice the entries do as well with {doubled:.2f} times fewer images"
        else:
            trade = "more entries of these experts' labels do harm"
        powers = f"n^{-self.alpha:.2f} k^{-self.beta:.2f}".replace("-", "−")
        return f"Errors go as {powers} with images n and label entries k: {trade}."


def require_runs(runs: int, images: int, entries: int) -> None:
    """Raise `DataError` where so many runs, of so many numbers of images and of label entries, tell no law."""
    if runs < LEAST_POINTS or min(images, entries) < 2:
        raise DataError(
            "fitting the scaling law",
            received=f"{runs} runs with {images} numbers of images and {entries} of label entries",
            expected=f"at least {LEAST_POINTS} runs, two numbers of images and two of label entries",
            remedy="give more images per class, more entries or more seeds",
        )


def fit_law(
    n: Sequence[float | int], k: Sequence[float | int], error: Sequence[float | int], seeds: Sequence[int] | None = None
) -> Law:
    """Least squares of `log error` over runs `(n, k, error)`, one entry a seed and cell.

    Runs of one seed share images, experts and the start of the student, so they are not independent. With `seeds`,
    the seed of each run, of which there are G >= 3, intervals are `+- t sqrt(diag V)` with t of Student's distribution
    of G - 1 degrees and the sandwich `V = G / (G - 1) B (sum_g J_g^T r_g r_g^T J_g) B`, `B = (J^T J)^-1`, residuals r
    and Jacobian J of each seed g. Where every seed has the same cells and the law has no floor, this is the t interval
    of the powers fitted seed by seed. With fewer seeds, or none given, every run counts for itself:
    `+- t s sqrt(diag B)` with as many degrees as there are runs more than parameters, which covers too seldom where
    runs of a seed go together. Intervals of scale and floor are taken in logarithms. Errors of 0 are read as 1e-4.

    Raises `DataError` for fewer than six runs, or n or k that do not vary.
    """
    from scipy.optimize import least_squares

    require_runs(len(error), len(set(n)), len(set(k)))
    logs = np.log(np.asarray(n, float)), np.log(np.asarray(k, float))
    seen = np.log(np.maximum(np.asarray(error, float), 1e-4))

    def misfit(p: NDArray[np.float64]) -> NDArray[np.float64]:
        power = np.exp(p[0] - p[1] * logs[0] - p[2] * logs[1])
        return np.log(power + (np.exp(p[3]) if len(p) > 3 else 0.0)) - seen

    lowest = seen.min()
    starts = [np.array([seen.max(), 0.5, 0.2])]
    starts += [np.array([seen.max(), 0.5, 0.2, lowest + math.log(share)]) for share in _START_FLOORS if share]
    fits = [least_squares(misfit, start, max_nfev=2000) for start in starts]
    best = min(fits, key=lambda fit: _criterion(fit.cost, len(seen), len(fit.x)))
    clusters = [] if seeds is None else [np.asarray(seeds) == seed for seed in sorted(set(seeds))]
    return _law(best.x, best.jac, best.fun, clusters if len(clusters) >= LEAST_SEEDS else [])


def _criterion(cost: float, runs: int, parameters: int) -> float:
    """Akaike's criterion with its correction for few runs: a floor must earn its place."""
    spare = max(1, runs - parameters - 2)
    return runs * math.log(max(2 * cost / runs, 1e-24)) + 2 * (parameters + 1) * (1 + (parameters + 2) / spare)


def _half_widths(
    jacobian: NDArray[np.float64], residuals: NDArray[np.float64], clusters: Sequence[NDArray[np.bool_]]
) -> NDArray[np.float64]:
    """Halves of the intervals of the parameters: by clusters of runs, or counting every run where there are none."""
    from scipy.stats import t

    bread = np.linalg.pinv(jacobian.T @ jacobian)
    if clusters:
        freedom = len(clusters) - 1
        # How far each cluster alone pulls the parameters away.
        pulls = np.stack([jacobian[own].T @ residuals[own] for own in clusters]) @ bread
        variance = (pulls**2).sum(0) * len(clusters) / freedom
    else:
        freedom = max(1, len(residuals) - jacobian.shape[1])
        variance = np.diag(bread) * float(residuals @ residuals) / freedom
    return t.ppf(0.5 + _CONFIDENCE / 2, freedom) * np.sqrt(variance)


def _law(
    p: NDArray[np.float64], jacobian: NDArray[np.float64], residuals: NDArray[np.float64],
    clusters: Sequence[NDArray[np.bool_]],
) -> Law:  # fmt: skip
    half = _half_widths(jacobian, residuals, clusters)
    ends = [(float(value - h), float(value + h)) for value, h in zip(p, half, strict=True)]
    floored = len(p) > 3
    grown = {
        name: (math.exp(ends[at][0]), math.exp(min(ends[at][1], 50)))
        for name, at in (("scale", 0), ("floor", 3)) if at < len(p)
    }  # fmt: skip
    return Law(
        alpha=float(p[1]), beta=float(p[2]), scale=math.exp(min(p[0], 50)), floor=math.exp(p[3]) if floored else 0.0,
        intervals={"alpha": ends[1], "beta": ends[2], "scale": grown["scale"], "floor": grown.get("floor")},
        residual=math.sqrt(float(np.mean(residuals**2))), by_seed=bool(clusters),
    )  # fmt: skip


def pareto_front(
    costs: Float[np.ndarray, "points kinds"], gains: Float[np.ndarray, " points"]
) -> Bool[np.ndarray, " points"]:
    """Which points no other beats: no other costs at most as much of every kind and gains at least as much, with one
    of them strictly better. Cost O(points^2 kinds)."""
    better = (costs[None] <= costs[:, None]).all(2) & (gains[None] >= gains[:, None])
    strictly = (costs[None] < costs[:, None]).any(2) | (gains[None] > gains[:, None])
    return np.logical_not((better & strictly).any(axis=1))


def equivalent(n: Sequence[float | int], accuracy: Sequence[float | int], target: float) -> float | None:
    """How many images reach `target` on a measured curve of accuracy over numbers of images.

    Between two measured numbers along straight lines over log n, after making the curve rise (running maximum); None
    beyond its ends: what was not measured is not claimed.
    """
    order = np.argsort(np.asarray(n, float))
    places = np.log(np.asarray(n, float)[order])
    risen = np.maximum.accumulate(np.asarray(accuracy, float)[order])
    if target < risen[0] or target > risen[-1]:
        return None
    above = int(np.argmax(risen >= target))
    if above == 0:
        return float(np.exp(places[0]))
    low, high = risen[above - 1], risen[above]
    share = (target - low) / (high - low)
    return float(np.exp(places[above - 1] + share * (places[above] - places[above - 1])))
