"""Judging a detector: AUC and equal error rate of networks trained on a set, on several parts of unseen rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from decoct.data.dataset import Dataset, Split
from decoct.errors import ConfigError
from decoct.evaluation import statistics
from decoct.networks.build import network as build_network
from decoct.training.accuracy import predict
from decoct.training.expert import expert_config
from decoct.training.fit import fit_dataset
from decoct.training.roc import Area, auc, equal_error_rate, log_odds

BATCH = 64


@dataclass(frozen=True)
class Detection:
    """How networks trained with several seeds detect one class among the rows of a part."""

    rows: int
    areas: tuple[Area, ...]
    """A seed each; its interval covers the rows of the part."""
    rates: tuple[float, ...]
    """Equal error rates, a seed each."""

    @property
    def auc(self) -> float:
        """Mean over the seeds."""
        return statistics.mean([area.auc for area in self.areas])

    @property
    def interval(self) -> statistics.Interval | None:
        """95 % interval of the mean AUC over the seeds; None for one seed."""
        return statistics.interval([area.auc for area in self.areas])

    @property
    def eer(self) -> float:
        """Mean over the seeds."""
        return statistics.mean(self.rates)


def judge_detector(
    data: Dataset,
    parts: Mapping[str, Split],
    *,
    positive: int = 1,
    network: str = "convnet3-w32",
    steps: int = 600,
    lr: float = 0.05,
    seeds: Sequence[int] = (0, 1, 2),
    device: str = "cpu",
) -> dict[str, Detection]:
    """Train `network` on `data.train` with each seed and measure how it finds class `positive` in every part.

    The networks are trained for about `steps` steps of 64 rows, in whole passes, whatever the number of rows, so that
    small sets are not trained less, with SGD of this step size down a cosine; last pass, nothing is chosen. Score of a
    row: the log odds of the class. Parts are splits of rows that nothing was trained on or chosen by: unseen people,
    unseen generators. Raises `ConfigError` for a class or a number of steps that cannot be, `DataError` for a part
    without rows of both kinds.
    """
    if not 0 <= positive < data.spec.classes or steps < 1 or not seeds:
        raise ConfigError(
            "judging a detector",
            received=f"positive={positive}, steps={steps}, {len(seeds)} seeds with {data.spec.classes} classes",
            expected="a class number, 1 step or more, 1 seed or more",
            remedy="name the class to be found by its number, such as 1",
        )
    rows = len(data.train)
    passes = max(1, round(steps / math.ceil(rows / BATCH)))

    def build(seed: int) -> nn.Module:
        return build_network(network, data.spec.shape, data.spec.classes, seed)

    config = replace(expert_config(rows, passes), lr=lr, batch_size=BATCH)
    fitted = fit_dataset(build, data, config, list(seeds), device=device)
    found: dict[str, Detection] = {}
    for name, part in parts.items():
        is_positive = part.labels() == positive
        said = [log_odds(predict(one.module, data, part), positive) for one in fitted]
        found[name] = Detection(
            len(part),
            tuple(auc(scores, is_positive) for scores in said),
            tuple(equal_error_rate(scores, is_positive) for scores in said),
        )
    return found


def compared(mine: Detection, other: Detection) -> tuple[float, statistics.Interval | None]:
    """Mean of the difference in AUC, seed by seed, and its 95 % interval. Raises `ConfigError` for unlike seeds."""
    if len(mine.areas) != len(other.areas):
        raise ConfigError(
            "comparing two detectors", received=f"{len(mine.areas)} and {len(other.areas)} seeds",
            expected="the same seeds on both sides", remedy="judge both with the same seeds",
        )  # fmt: skip
    gaps = [a.auc - b.auc for a, b in zip(mine.areas, other.areas, strict=True)]
    return statistics.mean(gaps), statistics.interval(gaps)


def one_split(pieces: Sequence[Split]) -> Split:
    """These splits one after the other, such as real rows and those of one generator."""

    x, y, ids = (np.concatenate([getattr(piece, field) for piece in pieces]) for field in ("x", "y", "ids"))
    return Split(x, y, ids)
