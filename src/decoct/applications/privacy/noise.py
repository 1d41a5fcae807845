"""The noisy sum that every claim of privacy rests on: clipped rows, a coin for each, Gaussian noise."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def clipped(features: Float[Tensor, "n d"], clip: float) -> Float[Tensor, "n d"]:
    """Every row no longer than `clip`: `v min(1, clip / ||v||)`."""
    norm = features.norm(dim=1, keepdim=True)
    return features * (clip / norm.clamp_min(1e-12)).clamp_max(1.0)


def noisy_sums(
    blocks: Iterable[tuple[Float[Tensor, "b d"], Int64[Tensor, " b"]]], classes: int, clip: float, noise: float,
    generator: torch.Generator,
) -> Float[Tensor, "classes d"]:  # fmt: skip
    """Class sums of clipped rows, plus noise of standard deviation `noise clip` on every entry.

    One row changes one class by at most `clip`, so the L2 sensitivity of the whole table is `clip`. The rows of the
    sample and their labels come in one block or more; the noise is drawn once, after the last.
    """
    table: Tensor | None = None
    for features, labels in blocks:
        if table is None:
            table = torch.zeros(classes, features.shape[1], dtype=torch.float64)
        table.index_add_(0, labels, clipped(features, clip).double())
    assert table is not None
    drawn = torch.randn(table.shape, generator=generator, dtype=torch.float64)
    return (table + noise * clip * drawn).float()


def poisson_rows(count: int, rate: float, generator: torch.Generator) -> Int64[Tensor, " b"]:
    """Each of `count` rows with probability `rate`, by a coin of its own; may be none."""
    return (torch.rand(count, generator=generator, dtype=torch.float64) < rate).nonzero().flatten()
