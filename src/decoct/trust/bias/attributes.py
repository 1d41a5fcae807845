"""Attributes that go with a class at a chosen rate: the statistics behind every biased set."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray

from decoct.errors import ConfigError


def require_correlation(correlation: float) -> None:
    """Raise `ConfigError` unless the correlation is a share from 0 to 1."""
    if not (isinstance(correlation, int | float) and 0 <= correlation <= 1):
        raise ConfigError(
            "making a biased set",
            received=f"a correlation of {correlation!r}",
            expected="a share from 0 to 1: of the rows of each class, those that carry the attribute of their class",
            remedy="0.95 is the field's strong bias; 1 divided by the number of attributes is no bias at all",
        )


def unbiased_rate(attributes: int) -> float:
    """The correlation at which the attribute says nothing about the class: every value as often as any other."""
    return 1 / attributes


def assign(
    labels: NDArray[np.int64], attributes: int, correlation: float, generator: torch.Generator
) -> Int[NDArray[np.int64], " n"]:
    """An attribute `[n]` in 0..attributes-1 for each row: that of its class, `label mod attributes`, or another one.

    Of the n_c rows of a class `round(correlation n_c)` are aligned; the rest share the other attributes as evenly as
    they divide, in random places. Exact counts instead of coin flips, so that small sets are as biased as asked.

    Source of the protocol: "Exploring the Impact of Dataset Bias on Dataset Distillation", Lu, Gu, Chen, Vahidian,
    Xuan, 2024, https://arxiv.org/abs/2403.16028, code of the authors: https://github.com/yaolu-zjut/Biased-DD (no
    licence; nothing is taken from it). Differs: rows are shuffled by their own stream, instead of being assigned in
    the order of the data set from one seed for all sets. Raises `ConfigError` for a correlation outside [0, 1].
    """
    require_correlation(correlation)
    found = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        own = int(label) % attributes
        others = [value for value in range(attributes) if value != own]
        aligned = round(correlation * len(members)) if others else len(members)
        turn = torch.randperm(max(1, len(others)), generator=generator).numpy()
        rest = [others[turn[place % len(others)]] for place in range(len(members) - aligned)]
        values = np.array([own] * aligned + rest, np.int64)
        found[members] = values[torch.randperm(len(members), generator=generator).numpy()]
    return found


def mutual_information(labels: NDArray[np.int64], attributes: NDArray[np.int64]) -> float:
    """Bits that the attribute tells about the class: `sum p(y, a) log2(p(y, a) / (p(y) p(a)))` over the rows."""
    table = np.zeros((labels.max() + 1, attributes.max() + 1))
    np.add.at(table, (labels, attributes), 1)
    joint = table / table.sum()
    apart = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    full = joint > 0
    return float((joint[full] * np.log2(joint[full] / apart[full])).sum()) if full.any() else math.nan
