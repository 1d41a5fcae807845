"""Rows in memory that may count differently, their loss, and a hash of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

PIECE = 500
"""Validation rows that pass at a time."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Inputs `[n, ...]` and targets `[n, classes]`; `weights` `[n]` of mean 1 where rows count differently."""

    inputs: Float[Tensor, "n ..."]
    targets: Float[Tensor, "n classes"]
    weights: Float[Tensor, " n"] | None = None

    @classmethod
    def of(cls, inputs: Tensor, targets: Tensor, weights: Tensor | None, classes: int, device: str) -> Rows:
        """Rows on `device`: hard labels as one-hot rows, weights scaled to mean 1, and left out where all are equal."""
        soft = targets if targets.is_floating_point() else F.one_hot(targets, classes).float()
        inputs, soft = inputs.to(device), soft.to(device)
        if weights is None or bool((weights == weights[0]).all()):
            return cls(inputs, soft)
        return cls(inputs, soft, (weights.double() / weights.double().mean()).to(inputs))

    def key(self) -> str:
        """A hash of everything in them."""
        digest = hashlib.sha256()
        for part in (self.inputs, self.targets, self.weights):
            told = b"" if part is None else part.detach().cpu().contiguous().numpy().tobytes()
            digest.update(f"{len(told)}/".encode() + told)
        return digest.hexdigest()


def mean_loss(
    logits: Float[Tensor, "n classes"], targets: Float[Tensor, "n classes"], weights: Float[Tensor, " n"] | None
) -> Float[Tensor, ""]:
    """Cross-entropy `mean_i w_i l_i`; of a part of the rows, an unbiased estimate of that of all."""
    if weights is None:
        return F.cross_entropy(logits, targets)
    return (weights * F.cross_entropy(logits, targets, reduction="none")).mean()


def pieces(rows: Rows) -> Iterator[Rows]:
    """At most `PIECE` rows at a time; weights keep their mean over all rows."""
    for start in range(0, len(rows.inputs), PIECE):
        part = slice(start, start + PIECE)
        yield Rows(rows.inputs[part], rows.targets[part], None if rows.weights is None else rows.weights[part])
