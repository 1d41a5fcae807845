"""A score that was computed before, or by another tool, with its name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from decoct.data.feature_table import open_npy
from decoct.errors import DataError
from decoct.selection.features import OWN, Table

UNNAMED = "your scores"
"""What scores are called that came without a name."""


@dataclass(frozen=True, eq=False)
class OwnScores:
    """One number for each training row, as `features` of `select` for methods by score."""

    values: Float[Tensor, "n 1"]
    """In the order of the training rows, larger for harder rows."""
    name: str
    """What it is called."""
    file: str | None = None
    """Where it was read from."""


def score_column(scores: str | Table) -> Table:
    """An array of one number a row, `[n]` or `[n, 1]`, or the .npy file of one ("npy:PATH"), as `[n, 1]`.

    Raises `DataError` for a table with more columns: which of them were the score is nobody's to guess; and for scores
    that are all the same.
    """
    found = np.array(open_npy(Path(scores.removeprefix(OWN)).expanduser())) if isinstance(scores, str) else scores
    shape = list(found.shape)
    if len(shape) > 2 or not shape or shape[1:] not in ([], [1]):
        raise DataError(
            "selecting by your own scores",
            received=f"an array of shape {shape}",
            expected="one number for each training row: shape [n] or [n, 1]",
            remedy="give the column that is the score, features=scores[:, 0]; features by which rows are compared are "
            "for methods that go by features, such as k-center",
        )
    column = found.reshape(-1, 1)
    # In single precision, in which they are compared.
    values = torch.as_tensor(column).detach().float()
    if len(values) > 1 and bool((values == values[0]).all()):
        raise DataError(
            "selecting by your own scores",
            received=f"{len(values)} scores that are all {float(values[0, 0]):.4g}",
            expected="scores that tell rows apart",
            remedy="check how the scores were computed, or use method='random', which needs none",
        )
    return column
