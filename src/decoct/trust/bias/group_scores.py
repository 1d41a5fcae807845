"""`GroupScores`: the accuracies of one network on test rows, by class and attribute."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int
from numpy.typing import NDArray

from decoct.errors import DataError

LEAST = 10
"""Rows of a group for it to count as the worst; of smaller ones the accuracy is mostly chance."""


@dataclass(frozen=True)
class GroupScores:
    """Accuracies (fractions) of one network on test rows, by whether they carry the attribute of their class."""

    test: float
    """All test rows as they come."""
    aligned: float
    conflicting: float
    worst: float | None
    """The lowest accuracy of a group (class and attribute) with 10 rows or more; None where no group has as many."""
    balanced: float
    """Mean over all groups that occur: the test accuracy if every group were as frequent as any other."""
    anti: float | None = None
    """On the anti-biased test, where there is one: no row carries the attribute of its class."""

    @property
    def gap(self) -> float:
        """Aligned minus conflicting: 0 for a network that does not look at the attribute."""
        return self.aligned - self.conflicting

    @classmethod
    def of(
        cls, right: Bool[NDArray[np.bool_], " n"], labels: Int[NDArray[np.int64], " n"],
        attributes: Int[NDArray[np.int64], " n"], aligned: Bool[NDArray[np.bool_], " n"], anti: float | None = None,
    ) -> GroupScores:  # fmt: skip
        """Of right answers `[n]` for rows of these labels and attributes; raises `DataError` for one kind of rows."""
        require_both_kinds(aligned)
        group = numbered(labels, attributes)
        counts, hits = np.bincount(group), np.bincount(group, right)
        rates = hits[counts > 0] / counts[counts > 0]
        large = counts[counts > 0] >= LEAST
        worst = float(rates[large].min()) if large.any() else None
        every, same, other = (float(part.mean()) for part in (right, right[aligned], right[~aligned]))
        return cls(every, same, other, worst, float(rates.mean()), anti)


def numbered(
    labels: Int[NDArray[np.int64], " n"], attributes: Int[NDArray[np.int64], " n"]
) -> Int[NDArray[np.int64], " n"]:
    """A number for every group, a class with one attribute."""
    return labels * (attributes.max() + 1) + attributes


def any_large(labels: Int[NDArray[np.int64], " n"], attributes: Int[NDArray[np.int64], " n"]) -> bool:
    """Whether a group has as many rows as it takes to be the worst."""
    return bool((np.bincount(numbered(labels, attributes)) >= LEAST).any())


def require_both_kinds(aligned: Bool[NDArray[np.bool_], " n"]) -> None:
    """Raise `DataError` for test rows that all carry the attribute of their class, or none of which does."""
    if not aligned.any() or aligned.all():
        raise DataError(
            "measuring bias",
            received=f"{int(aligned.sum())} aligned and {int((~aligned).sum())} conflicting test rows",
            expected="test rows of both kinds: their difference is what is measured",
            remedy="give a test split in which the attribute says less about the class (decoct bias make does)",
        )
