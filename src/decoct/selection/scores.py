"""One number for every training row, from one recording of training dynamics: larger means harder to learn.

Every score has the same direction, so that "hardest" means the same everywhere; those that papers write the other way
round (AUM, confidence, margins) are turned round here, and say so. Probabilities near 1 are turned round as what they
lack of 1, so that rows that are all but learned still differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor

from decoct.errors import ConfigError
from decoct.training.dynamics import Dynamics

Scores = Float[Tensor, " n"]
EARLY = 0.2
"""Share of the passes that count as early."""
WINDOW = 10
"""Passes of one window of dynamic uncertainty, or half of all where there are fewer than twice as many."""


@dataclass(frozen=True)
class Score:
    """A score by name: what it says, where it comes from, and how it follows from dynamics."""

    line: str
    paper: str
    of: Callable[[Dynamics], Scores]


def forgetting(dynamics: Dynamics) -> Scores:
    """How often a row was right after one pass and wrong after the next; rows that were never right are hardest.

    Toneva et al., "An Empirical Study of Example Forgetting during Deep Neural Network Learning", ICLR 2019,
    https://arxiv.org/abs/1812.05159. Never learned counts as the number of passes, more than any row can forget; some
    libraries count it as 0, which makes the hardest rows look like the easiest.
    """
    correct = dynamics.correct
    events = (correct[:, :-1] & ~correct[:, 1:]).sum(1).float()
    return torch.where(correct.any(1), events, torch.full_like(events, float(dynamics.passes)))


def el2n(dynamics: Dynamics) -> Scores:
    """Mean norm of the error `||p - e_y||` over the early passes.

    Paul, Ganguli, Dziugaite, "Deep Learning on a Data Diet", NeurIPS 2021, https://arxiv.org/abs/2107.07075; the paper
    averages over ten initialisations at one early pass, here over the early passes of one.
    """
    return dynamics.error_norm[:, : _early(dynamics)].mean(1)


def grand(dynamics: Dynamics) -> Scores:
    """Mean norm of the last layer's gradient over the early passes, in its factorised form; paper as for `el2n`."""
    return dynamics.gradient_norm[:, : _early(dynamics)].mean(1)


def aum(dynamics: Dynamics) -> Scores:
    """Minus the area under the margin: the mean over all passes of the largest other logit minus the label's.

    Pleiss et al., "Identifying Mislabeled Data using the Area Under the Margin Ranking", NeurIPS 2020,
    https://arxiv.org/abs/2001.10528. The largest values are the likely mislabelled rows.
    """
    return -dynamics.margin.mean(1)


def confidence(dynamics: Dynamics) -> Scores:
    """1 minus the mean probability of the label over all passes: dataset cartography's vertical axis, turned round.

    Swayamdipta et al., "Dataset Cartography: Mapping and Diagnosing Datasets with Training Dynamics", EMNLP 2020,
    https://arxiv.org/abs/2009.10795.
    """
    return dynamics.miss.mean(1)


def variability(dynamics: Dynamics) -> Scores:
    """Standard deviation (unbiased) of the probability of the label over all passes: cartography's ambiguity."""
    return dynamics.miss.std(1)


def correctness(dynamics: Dynamics) -> Scores:
    """Minus the share of passes after which the row was classified right."""
    return -dynamics.correct.float().mean(1)


def dynamic_uncertainty(dynamics: Dynamics, window: int | None = None) -> Scores:
    """Mean over windows of J neighbouring passes of the standard deviation (unbiased) of the label's probability.

    `T_i = mean_k std(q_i^k ... q_i^(k+J-1))`. He, Yang, Huang, Zhao, "Large-scale Dataset Pruning with Dynamic
    Uncertainty", CVPR workshops 2024, https://arxiv.org/abs/2306.05175; authors' code
    https://github.com/BAAI-DCAI/Dataset-Pruning. All windows count, the last one too, which the authors' code leaves
    out; with J as long as the training it is `variability`. A probability of exactly 0 is a value like any other.
    Raises `ConfigError` for a window below 2 or above the number of passes.
    """
    size = min(WINDOW, max(2, dynamics.passes // 2)) if window is None else window
    require_window(size, dynamics.passes)
    return dynamics.miss.unfold(1, size, 1).std(2).mean(1)


def require_window(size: int, passes: int) -> None:
    """Raise `ConfigError` unless a window of so many passes fits into a recording."""
    if not 2 <= size <= passes:
        raise ConfigError(
            "scoring by dynamic uncertainty",
            received=f"a window of {size} passes in a recording of {passes}",
            expected="a window of 2 passes or more, no longer than the recording",
            remedy="record more epochs, or shorten the window",
        )


def entropy(dynamics: Dynamics) -> Scores:
    """Entropy (nats) of the last pass's probabilities; asks no label."""
    return dynamics.entropy[:, -1]


def least_confidence(dynamics: Dynamics) -> Scores:
    """1 minus the largest probability after the last pass; asks no label."""
    return dynamics.doubt[:, -1]


def margin(dynamics: Dynamics) -> Scores:
    """1 minus the lead of the largest probability over the second after the last pass; asks no label."""
    return dynamics.rivalry[:, -1]


def _early(dynamics: Dynamics) -> int:
    return max(1, round(EARLY * dynamics.passes))


_SETTLES = "Settles, Active Learning Literature Survey, 2009"
SCORES: Mapping[str, Score] = MappingProxyType(
    {
        "aum": Score("mean margin of the label, turned round: likely mislabelled rows are largest", "Pleiss 2020", aum),
        "confidence": Score("mean probability of the label, turned round", "Swayamdipta 2020", confidence),
        "correctness": Score("share of passes that were right, turned round", "Swayamdipta 2020", correctness),
        "dyn-unc": Score("spread of the label's probability in windows of passes", "He 2024", dynamic_uncertainty),
        "el2n": Score("norm of the error, early passes", "Paul 2021", el2n),
        "entropy": Score("entropy of the last prediction", _SETTLES, entropy),
        "forgetting": Score("times learned and lost again; never learned is hardest", "Toneva 2019", forgetting),
        "grand": Score("norm of the last layer's gradient, early passes", "Paul 2021", grand),
        "least-confidence": Score("1 minus the largest probability of the last prediction", _SETTLES, least_confidence),
        "margin": Score("lead of the last prediction, turned round", _SETTLES, margin),
        "variability": Score("spread of the label's probability over all passes", "Swayamdipta 2020", variability),
    }
)
"""The scores by name."""
