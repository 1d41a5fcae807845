"""A score that was computed before, or by another tool, with its name."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class OwnScores:
    """One number for each training row, as `features` of `select` for methods by score."""

    values: Float[Tensor, "n 1"]
    """In the order of the training rows, larger for harder rows."""
    name: str
    """What it is called."""
    file: str | None = None
    """Where it was read from."""
