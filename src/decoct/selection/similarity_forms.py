"""The forms in which similarities are kept: as a table, computed when asked, or between neighbours only.

Whoever selects asks four things of a `Similarity` (whole rows, some entries, sums, what lies above a level), and so
does not care which of the three forms it is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

ENTRIES = 1 << 20
"""Similarities computed at a time: 4 MB, which fit a cache."""


class Room:
    """Memory for one table at a time, taken once. Tables that come and go between small results that stay leave holes
    in the heap that the next table just fails to fit, and a long search grows by gigabytes."""

    def __init__(self, like: Tensor) -> None:
        self._memory = like.new_empty(0)

    def table(self, rows: int, columns: int) -> Float[Tensor, "rows columns"]:
        """A table to be filled, in the place of the last one."""
        if rows * columns > self._memory.numel():
            self._memory = self._memory.new_empty(rows * columns)
        return self._memory[: rows * columns].view(rows, columns)


class Similarity(ABC):
    """Similarities `s` of n rows, symmetric."""

    n: int
    diagonal: Float[Tensor, " n"]
    """Of every row with itself."""

    @abstractmethod
    def rows(self, rows: Int64[Tensor, " b"]) -> Float[Tensor, "b n"]:
        """Of these rows with all: the caller may write to it, and has it until the next call."""

    @abstractmethod
    def some(self, rows: Int64[Tensor, " b"], others: Int64[Tensor, "b m"]) -> Float[Tensor, "b m"]:
        """Of each of these rows with others of its own."""

    def sums(self, masses: Float[Tensor, " n"] | None = None) -> Float[Tensor, " n"]:
        """Of every row with all, summed, in double precision; row i counts `masses[i]` times, once where none are
        given."""
        parts = self.blocks(torch.arange(self.n, device=self.diagonal.device))
        if masses is not None:
            return torch.cat([self.rows(part).double() @ masses.double() for part in parts])
        return torch.cat([self.rows(part).sum(1, dtype=torch.float64) for part in parts])

    def above(
        self, rows: Int64[Tensor, " b"], level: Float[Tensor, " n"], masses: Float[Tensor, " n"] | None = None
    ) -> Float[Tensor, " b"]:
        """Sum over all i of `max(0, s_ri - level_i)`, times `masses[i]`; no level may lie below zero."""
        over = (self.rows(part).sub_(level).clamp_(min=0) for part in self.blocks(rows))
        parts = [part.sum(1) if masses is None else part @ masses for part in over]
        return torch.cat(parts) if parts else level[:0]

    def blocks(self, rows: Int64[Tensor, " b"]) -> tuple[Int64[Tensor, " p"], ...]:
        """The rows in pieces whose similarities with all rows fit a cache."""
        return rows.split(max(1, ENTRIES // self.n))


@dataclass(eq=False)
class Blocks(Similarity):
    """Computed when asked and not kept: O(n d) memory, O(n d) time a row."""

    points: Float[Tensor, "n d"]
    """Prepared rows, such that s is their inner product, or its exponential less both `half`."""
    half: Float[Tensor, " n"] | None
    """Half the squared lengths where s is "rbf"."""

    def __post_init__(self) -> None:
        self.n, self._room = len(self.points), Room(self.points)
        # The length of a difference is exactly zero, that of two products only nearly.
        self.diagonal = self.points.square().sum(1) if self.half is None else torch.ones_like(self.half)

    def rows(self, rows: Int64[Tensor, " b"]) -> Float[Tensor, "b n"]:
        products = torch.mm(self.points[rows], self.points.T, out=self._room.table(len(rows), self.n))
        if self.half is None:
            return products
        return products.sub_(self.half[rows, None]).sub_(self.half).clamp_(max=0).exp_()

    def some(self, rows: Int64[Tensor, " b"], others: Int64[Tensor, "b m"]) -> Float[Tensor, "b m"]:
        products = torch.bmm(self.points[others], self.points[rows, :, None])[:, :, 0]
        if self.half is None:
            return products
        return products.sub_(self.half[rows, None]).sub_(self.half[others]).clamp_(max=0).exp_()

    def sums(self, masses: Float[Tensor, " n"] | None = None) -> Float[Tensor, " n"]:
        if self.half is not None:
            return super().sums(masses)
        # Inner products sum like their vectors: O(n d) instead of O(n^2 d).
        points = self.points.double()
        return points @ (points.sum(0) if masses is None else masses.double() @ points)


@dataclass(eq=False)
class Dense(Similarity):
    """The whole table: O(n^2) memory, nothing left to compute."""

    table: Float[Tensor, "n n"]

    def __post_init__(self) -> None:
        self.n, self._room = len(self.table), Room(self.table)
        self.diagonal = self.table.diagonal().clone()

    def rows(self, rows: Int64[Tensor, " b"]) -> Float[Tensor, "b n"]:
        return torch.index_select(self.table, 0, rows, out=self._room.table(len(rows), self.n))

    def some(self, rows: Int64[Tensor, " b"], others: Int64[Tensor, "b m"]) -> Float[Tensor, "b m"]:
        return self.table[rows[:, None], others]


@dataclass(eq=False)
class Sparse(Similarity):
    """Between rows of which one is among the nearest of the other; 0 elsewhere. O(n k) memory, O(k) time a row.

    Entries of row i are `values[starts[i]:starts[i + 1]]`, with the rows `columns`.
    """

    starts: Int64[Tensor, " m"]
    columns: Int64[Tensor, " e"]
    values: Float[Tensor, " e"]
    diagonal: Float[Tensor, " n"]

    def __post_init__(self) -> None:
        self.n = len(self.diagonal)

    def rows(self, rows: Int64[Tensor, " b"]) -> Float[Tensor, "b n"]:
        place, entries = self._entries(rows)
        found = self.values.new_zeros(len(rows), self.n)
        found[place, self.columns[entries]] = self.values[entries]
        return found

    def some(self, rows: Int64[Tensor, " b"], others: Int64[Tensor, "b m"]) -> Float[Tensor, "b m"]:
        return self.rows(rows).gather(1, others)

    def sums(self, masses: Float[Tensor, " n"] | None = None) -> Float[Tensor, " n"]:
        place, _ = self._entries(torch.arange(self.n, device=self.values.device))
        values = self.values.double() if masses is None else self.values.double() * masses[self.columns].double()
        return values.new_zeros(self.n).index_add_(0, place, values)

    def above(
        self, rows: Int64[Tensor, " b"], level: Float[Tensor, " n"], masses: Float[Tensor, " n"] | None = None
    ) -> Float[Tensor, " b"]:
        place, entries = self._entries(rows)
        over = (self.values[entries] - level[self.columns[entries]]).clamp_(min=0)
        if masses is not None:
            over = over * masses[self.columns[entries]]
        return self.values.new_zeros(len(rows)).index_add_(0, place, over)

    def _entries(self, rows: Int64[Tensor, " b"]) -> tuple[Int64[Tensor, " m"], Int64[Tensor, " m"]]:
        """All entries of these rows: the place of the row in `rows`, and the number of the entry."""
        sizes = self.starts[rows + 1] - self.starts[rows]
        place = torch.repeat_interleave(sizes)
        before = sizes.cumsum(0) - sizes
        entries = torch.arange(len(place), device=place.device) - before[place] + self.starts[rows][place]
        return place, entries
