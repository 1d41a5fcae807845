"""What noise buys: the (epsilon, delta) of a sequence of noisy sums, by the accountants of opacus."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from decoct.errors import ConfigError, MissingExtraError

Accountant = Literal["prv", "rdp"]


@dataclass(frozen=True)
class Release:
    """`times` noisy sums: each row takes part with probability `rate`, on its own; noise is `noise` times the clip."""

    noise: float
    """Standard deviation of the noise divided by the most that one row can change the sum."""
    rate: float
    """Chance of a row to take part, in (0, 1]."""
    times: int


def epsilon(releases: Sequence[Release], delta: float, accountant: Accountant = "prv") -> float:
    """The epsilon of publishing all `releases` of the same rows, at this `delta`, for adding or removing one row.

    Valid for Poisson sampling alone: every row takes part by a coin of its own. `prv` composes privacy loss random
    variables numerically (Gopi, Lee, Wutschitz, "Numerical Composition of Differential Privacy", 2021,
    https://arxiv.org/abs/2106.02848) and returns its upper bound; `rdp` goes over Renyi divergences (Mironov, Talwar,
    Zhang, 2019, https://arxiv.org/abs/1908.10530), is looser, and never fails. Both are those of opacus
    (https://github.com/pytorch/opacus). Raises `ConfigError`, and `MissingExtraError` without opacus.
    """
    for name, good, received, expected in (
        ("delta", 0 < delta < 1, delta, "a number in (0, 1), well below 1 / rows"),
        ("releases", bool(releases), "none", "at least one"),
        *(
            (f"release {i}", _sound(one), one, "noise > 0, rate in (0, 1], times >= 1")
            for i, one in enumerate(releases)
        ),
    ):
        if not good:
            raise ConfigError(
                "accounting for privacy", received=f"{name}: {received}", expected=expected, remedy=f"change {name}"
            )
    found = _accountant(accountant)
    found.history = [(one.noise, one.rate, one.times) for one in releases]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the smallest or largest order may be the best one; the bound holds anyway
        value = float(found.get_epsilon(delta))
    if not math.isfinite(value) or value < 0:
        raise ConfigError(
            f"accounting for privacy with {accountant}", received=f"epsilon {value}", expected="a finite number",
            remedy="take more noise, or the accountant rdp",
        )  # fmt: skip
    return value


def noise_for(target: float, delta: float, rate: float, times: int, others: Sequence[Release] = ()) -> float:
    """The least noise, to 1 in 1000, with which `times` releases and `others` cost at most `target`; rdp inside.

    Raises `ConfigError` where the others alone cost more, or no noise up to 10,000 is enough.
    """
    low, high = 0.05, 10_000.0
    if target <= 0 or epsilon([*others, Release(high, rate, times)], delta, "rdp") > target:
        raise ConfigError(
            f"looking for the noise of epsilon {target:g}",
            received=f"more than {target:g} with noise {high:g}",
            expected="an epsilon above 0 that leaves something for the images",
            remedy="raise epsilon or delta, or take more noise for the class sizes",
        )
    while high / low > 1.001:
        middle = (low * high) ** 0.5
        enough = epsilon([*others, Release(middle, rate, times)], delta, "rdp") <= target
        low, high = (low, middle) if enough else (middle, high)
    return high


def _sound(one: Release) -> bool:
    return one.noise > 0 and math.isfinite(one.noise) and 0 < one.rate <= 1 and one.times >= 1


def _accountant(name: Accountant) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from opacus.accountants import PRVAccountant, RDPAccountant
    except (ImportError, OSError, RuntimeError) as error:
        raise MissingExtraError(
            "accounting for privacy", received=f"{type(error).__name__}: {error}", expected="the package 'opacus'",
            remedy="pip install 'decoct[privacy]'",
        ) from error  # fmt: skip
    return PRVAccountant() if name == "prv" else RDPAccountant()
