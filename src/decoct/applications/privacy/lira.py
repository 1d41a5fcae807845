"""LiRA: the likelihood-ratio attack, which asks of every row whether a network was trained on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from decoct.errors import ConfigError
from decoct.streams import derive_seed

PER_EXAMPLE = 32
"""Shadow networks on each side from which on a variance for every row is better than one for all."""
FEWEST = 2
"""Shadow networks on each side that every row needs."""


def logit_confidence(logits: Float[Tensor, "n C"], labels: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
    """`log(p_y / (1 - p_y)) = z_y - log sum_{c != y} exp z_c`, in double precision.

    Confidences scaled so are nearly Gaussian over networks, which probabilities and losses are not. Written in logits,
    because `1 - p_y` of a sure network rounds to 0.
    """
    z = logits.double()
    own = z.gather(1, labels[:, None]).squeeze(1)
    others = z.scatter(1, labels[:, None], -torch.inf)
    return own - others.logsumexp(1)


def halves(rows: int, models: int, seed: int) -> Bool[Tensor, "models rows"]:
    """Which rows each network is trained on: every row by exactly half of the networks, which ones at random.

    Raises `ConfigError` for an odd number of networks or fewer than 2.
    """
    if models < 2 or models % 2:
        raise ConfigError(
            "drawing rows for shadow networks", received=f"{models} networks", expected="an even number, at least 2",
            remedy="give 2 more or 1 less: every row is in the training data of exactly half of them",
        )  # fmt: skip
    generator = np.random.default_rng(derive_seed(seed, "lira", "halves"))
    place = generator.random((models, rows)).argsort(0).argsort(0)
    return torch.from_numpy(place < models // 2)


def balanced(members: Bool[Tensor, "s n"], seed: int) -> Bool[Tensor, "s n"]:
    """Which shadows to compare each row with: as many with it as without, those too many left out at random.

    Leaving out the network under attack takes one from the side that it is on itself. A mean of fewer shadows lies
    farther from what is attacked, so that unequal sides point away from the truth before anything has been learned.
    """
    generator = np.random.default_rng(derive_seed(seed, "lira", "balanced"))
    inside, draws = members.numpy(), generator.random(tuple(members.shape))
    fewest = np.minimum(inside.sum(0), (~inside).sum(0))
    kept = [np.where(side, draws, np.inf).argsort(0).argsort(0) < fewest for side in (inside, ~inside)]
    return torch.from_numpy(kept[0] | kept[1])


@dataclass(frozen=True)
class Lira:
    """`log N(t; mu_in, s_in^2) - log N(t; mu_out, s_out^2)` online, `log Phi((t - mu_out) / s_out)` offline.

    t is the logit-scaled confidence of the network under attack in the right class of a row; the means are those of
    shadow networks that were trained with (in) and without (out) this row. Larger scores say "was trained on it".

    Paper: Carlini et al., "Membership Inference Attacks From First Principles", 2022, https://arxiv.org/abs/2112.03570;
    code of the authors: https://github.com/tensorflow/privacy/tree/master/research/mi_lira_2021.

    Shapes: target `[n]`, shadows and members `[s, n]`. Cost O(s n). Differs from the official code: means, as in the
    paper, where the code has medians; the offline score is the one-sided test of the paper, where the code ranks by the
    density of the outs, which takes rows of strangely low confidence for members too; the global variance is that
    around each row's own mean, pooled, where the code takes the spread over all rows and shadows together (and that of
    the ins for both sides). No augmented queries.
    """

    mode: Literal["online", "offline"] = "online"
    """online: shadows with and without the row; offline: those without it are enough."""
    variance: Literal["auto", "per-example", "global"] = "auto"
    """A variance for every row, one for all, or by the number of shadows (32 on each side for one a row)."""

    def scores(
        self, target: Float[Tensor, " n"], shadows: Float[Tensor, "s n"], members: Bool[Tensor, "s n"],
        used: Bool[Tensor, "s n"] | None = None,
    ) -> Float[Tensor, " n"]:  # fmt: skip
        """A score for every row. `used` says which shadows count for it, none all of them (`balanced`).

        Raises `ConfigError` for too few shadow networks, shapes that do not fit or NaN.
        """
        _require(target, shadows, members)
        inside, outside = (members, ~members) if used is None else (members & used, ~members & used)
        count_in, count_out = inside.sum(0), outside.sum(0)
        fewest = int(count_out.min()) if self.mode == "offline" else int(torch.minimum(count_in, count_out).min())
        if fewest < FEWEST:
            raise ConfigError(
                f"attacking with {len(shadows)} shadow networks, {self.mode}",
                received=f"a row with {fewest} of them on one side",
                expected=f"at least {FEWEST} trained without every row"
                + (" and as many with it" if self.mode == "online" else ""),
                remedy="train more shadow networks, 16 or more (256 in the paper)"
                + (", or attack offline" if self.mode == "online" else ""),
            )
        each = self.variance == "per-example" or (self.variance == "auto" and fewest >= PER_EXAMPLE)
        target, shadows = target.double(), shadows.double()
        mean_out, spread_out = _gaussian(shadows, outside, each)
        if self.mode == "offline":
            return torch.special.log_ndtr((target - mean_out) / spread_out)
        mean_in, spread_in = _gaussian(shadows, inside, each)
        return _log_density(target, mean_in, spread_in) - _log_density(target, mean_out, spread_out)


def _gaussian(
    shadows: Float[Tensor, "s n"], chosen: Bool[Tensor, "s n"], each: bool
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Mean and standard deviation of the chosen shadows for every row; one standard deviation for all unless `each`."""
    weight = chosen.double()
    count = weight.sum(0)
    mean = (shadows * weight).sum(0) / count
    squares = ((shadows - mean).square() * weight).sum(0)
    variance = squares / (count - 1) if each else (squares.sum() / (count - 1).sum()).expand_as(mean)
    # Networks that all say the same of a row leave no spread to divide by.
    return mean, variance.sqrt().clamp_min(1e-6)


def _log_density(value: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    return -0.5 * ((value - mean) / spread).square() - spread.log()


def _require(target: Tensor, shadows: Tensor, members: Tensor) -> None:
    fits = shadows.shape == members.shape and shadows.shape[1:] == target.shape and len(target) > 0
    finite = fits and bool(torch.isfinite(target).all()) and bool(torch.isfinite(shadows).all())
    if not finite:
        what = "" if not fits else ", with NaN or infinite values"
        raise ConfigError(
            "attacking with shadow networks",
            received=f"target {list(target.shape)}, shadows {list(shadows.shape)}, members {list(members.shape)}{what}",
            expected="finite confidences [n], [s, n] and memberships [s, n] of the same n rows",
            remedy="take logit_confidence of every network on the same rows",
        )


@dataclass(frozen=True)
class Roc:
    """How well scores tell members from others."""

    auc: float
    """Chance that a member has the larger score, ties half."""
    tpr: dict[float, float]
    """False-positive rate -> largest true-positive rate at no more of it."""
    members: int
    others: int

    def resolved(self, rate: float) -> bool:
        """Whether there are enough others for this rate to mean at least one false positive."""
        return rate * self.others >= 1


def roc(scores: Float[Tensor, " n"], member: Bool[Tensor, " n"], rates: tuple[float, ...] = (0.001, 0.01)) -> Roc:
    """True-positive rates at low false-positive rates, and the area under the curve.

    `TPR(f) = max_t P(score >= t | member)` over thresholds t with `P(score >= t | other) <= f`. Rows of equal score
    pass together, so that a network which says the same of all rows has TPR 0 at every rate below 1. Raises
    `ConfigError` where members or others are missing, or a score is NaN.
    """
    inside, outside = scores[member].double(), scores[~member].double()
    if not len(inside) or not len(outside) or bool(torch.isnan(scores).any()):
        raise ConfigError(
            "measuring an attack",
            received=f"scores of {len(inside)} members and {len(outside)} others"
            + (", some NaN" if bool(torch.isnan(scores).any()) else ""),
            expected="scores that are numbers, of members and of others",
            remedy="attack rows of which some were trained on and some were not",
        )
    thresholds = torch.unique(scores.double())
    above_out = 1 - torch.searchsorted(outside.sort().values, thresholds).double() / len(outside)
    above_in = 1 - torch.searchsorted(inside.sort().values, thresholds).double() / len(inside)
    found = {}
    for rate in rates:
        allowed = above_in[above_out <= rate + 1e-12]
        found[rate] = float(allowed.max()) if len(allowed) else 0.0
    ranks = torch.searchsorted(outside.sort().values, inside) + torch.searchsorted(
        outside.sort().values, inside, right=True
    )
    return Roc(float(ranks.double().mean() / 2 / len(outside)), found, len(inside), len(outside))
