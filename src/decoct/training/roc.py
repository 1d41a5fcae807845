"""How well scores tell two classes apart: the area under the ROC curve with its interval, and the equal error rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from decoct.errors import DataError

Z = 1.959963984540054
"""Half the width of a 95 % interval of a normal distribution, in standard deviations."""


@dataclass(frozen=True)
class Area:
    """The area under the ROC curve in [0, 1] and its 95 % interval over the choice of the rows."""

    auc: float
    low: float
    high: float


def auc(scores: Float[Tensor, " n"], positive: Bool[Tensor, " n"]) -> Area:
    """The probability that a positive row scores above a negative one, ties counting half.

    Interval: DeLong et al., "Comparing the Areas under Two or More Correlated ROC Curves" (1988),
    https://doi.org/10.2307/2531595, from midranks in O(n log n) (Sun and Xu, 2014,
    https://doi.org/10.1109/LSP.2014.2337313), cut at 0 and 1. It covers the rows, not the training of the scorer.
    Raises `DataError` unless there are rows of both kinds and all scores are finite.
    """
    _require(scores, positive)
    high, low = scores[positive].double(), scores[~positive].double()
    m, n = len(high), len(low)
    joint = _midranks(torch.cat([high, low]))
    above, below = (joint[:m] - _midranks(high)) / n, 1 - (joint[m:] - _midranks(low)) / m
    area = float(above.mean())
    variance = sum(float(part.var()) / len(part) if len(part) > 1 else 0.0 for part in (above, below))
    half = Z * math.sqrt(variance)
    return Area(area, max(0.0, area - half), min(1.0, area + half))


def equal_error_rate(scores: Float[Tensor, " n"], positive: Bool[Tensor, " n"]) -> float:
    """The error rate at the threshold where as large a share of negatives passes as of positives is missed.

    Where no threshold does, the ROC curve is crossed in a straight line between its two nearest points. Chance gives
    0.5, a perfect scorer 0. Raises what `auc` raises.
    """
    _require(scores, positive)
    order = torch.sort(scores.double(), descending=True, stable=True)
    right = positive[order.indices].double().cumsum(0)
    ends = torch.cat([order.values[1:] != order.values[:-1], torch.ones(1, dtype=torch.bool)])
    passed = torch.arange(1, len(scores) + 1, dtype=torch.float64)[ends]
    start = torch.zeros(1, dtype=torch.float64)
    false = torch.cat([start, (passed - right[ends]) / (~positive).sum()])
    missed = torch.cat([start + 1, 1 - right[ends] / positive.sum()])
    after = int((false >= missed).nonzero()[0])
    gap_before, gap_after = float(missed[after - 1] - false[after - 1]), float(false[after] - missed[after])
    share = gap_before / (gap_before + gap_after) if gap_before + gap_after > 0 else 0.0
    return float(false[after - 1] + share * (false[after] - false[after - 1]))


def against_rest(logits: Float[Tensor, "n c"], labels: Int64[Tensor, " n"]) -> tuple[float, float]:
    """AUC and equal error rate of each class against the rest, averaged over the classes that occur.

    With two classes that is the one AUC and the one rate that there are. Raises `DataError` where fewer than two
    classes occur.
    """
    present = [label for label in labels.unique().tolist() if 0 < int((labels == label).sum()) < len(labels)]
    if not present:
        _require(logits[:, 0], labels == -1)
    chances = [log_odds(logits, label) for label in present]
    areas = [auc(chance, labels == label).auc for label, chance in zip(present, chances, strict=True)]
    rates = [equal_error_rate(chance, labels == label) for label, chance in zip(present, chances, strict=True)]
    return sum(areas) / len(areas), sum(rates) / len(rates)


def log_odds(logits: Float[Tensor, "n c"], label: int) -> Float[Tensor, " n"]:
    """How sure a network is of that class: the logarithm of its probability over that of all others together."""
    others = torch.cat([logits[:, :label], logits[:, label + 1 :]], 1).double()
    return logits[:, label].double() - others.logsumexp(1)


def _midranks(values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Ranks from 1, equal values at the mean of theirs."""
    _, place, count = torch.unique(values, sorted=True, return_inverse=True, return_counts=True)
    return (count.cumsum(0).double() - (count.double() - 1) / 2)[place]


def _require(scores: Float[Tensor, " n"], positive: Bool[Tensor, " n"]) -> None:
    both = len(scores) == len(positive) and 0 < int(positive.sum()) < len(positive)
    if not both or not bool(torch.isfinite(scores).all()):
        raise DataError(
            "measuring how scores tell two classes apart",
            received=f"{len(scores)} scores ({int((~torch.isfinite(scores)).sum())} not finite), "
            f"{int(positive.sum())} positive and {int((~positive).sum())} negative rows",
            expected="finite scores, one for each row, and rows of both kinds",
            remedy="take a split with rows of both classes, and a network whose training did not diverge",
        )
