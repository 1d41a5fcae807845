"""How large a result may be, said in one of four ways, and how many rows of each class that makes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from jaxtyping import Int64
from torch import Tensor

from decoct.errors import BudgetError, ConfigError


@dataclass(frozen=True)
class Budget:
    """The size of a result; exactly one of the four is given. Raises `ConfigError` otherwise, `BudgetError` below 1."""

    ipc: int | None = None
    """Images (rows) per class."""
    fraction: float | None = None
    """Share of the rows there are, above 0 and at most 1; rounded down."""
    count: int | None = None
    """Rows in all."""
    nbytes: int | None = None
    """Bytes of stored rows in all; rounded down to whole rows."""

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if len(given) != 1:
            raise ConfigError(
                "setting a budget",
                received=", ".join(f"{name}={value}" for name, value in given.items()) or "no size",
                expected="exactly one of ipc, fraction, count and nbytes",
                remedy="keep one, for example ipc=10",
            )
        ((name, value),) = given.items()
        if not _is_number(value, whole=name != "fraction"):
            raise ConfigError(
                f"setting the budget {name}",
                received=repr(value),
                expected="a whole number" if name != "fraction" else "a number above 0 and at most 1",
                remedy=f"write {name}={'0.1' if name == 'fraction' else '10'}",
            )
        if value <= 0 or (name == "fraction" and value > 1):
            raise BudgetError(
                f"setting the budget {name}",
                received=f"{name}={value}",
                expected="a share above 0 and at most 1" if name == "fraction" else "at least one image",
                remedy="a share of 0.1 is ten percent" if name == "fraction" else f"raise {name} to 1 or more",
            )

    def __str__(self) -> str:
        if self.ipc is not None:
            return f"{self.ipc} per class"
        if self.fraction is not None:
            return f"{self.fraction:g} of the rows"
        return f"{self.count} rows" if self.count is not None else f"{self.nbytes} bytes"

    def quota(
        self,
        class_counts: Int64[Tensor, " C"],
        row_bytes: int,
        balanced: bool = True,
        class_names: Sequence[str] | None = None,
    ) -> Int64[Tensor, " C"]:
        """How many rows each class gets, `[C]`; never more than `class_counts` has, and in sum exactly the budget.

        `ipc` gives every class the same. The other three are turned into a total (nbytes: `nbytes // row_bytes`), and
        shared out: `balanced` equally (what is left over one each to the first classes; what a small class cannot
        take goes to the others in the same way), else in proportion to the class sizes by largest remainder (ties to
        the first class). `class_names` only make the errors readable.

        Raises `BudgetError` for an ipc above the size of a class, a total under one row or above what there is.
        """
        counts = [int(count) for count in class_counts]
        if self.ipc is not None:
            self._require_class_sizes(counts, class_names)
            return torch.full((len(counts),), self.ipc, dtype=torch.int64)
        total = self._total(sum(counts), row_bytes)
        share = _equal_shares if balanced else _proportional_shares
        return torch.tensor(share(total, counts), dtype=torch.int64)

    def _require_class_sizes(self, counts: list[int], class_names: Sequence[str] | None) -> None:
        assert self.ipc is not None
        small = [c for c, count in enumerate(counts) if count < self.ipc]
        if small:
            names = [f"{class_names[c]!r}" if class_names else f"number {c}" for c in small[:5]]
            listed = ", ".join(f"{name} has {counts[c]}" for name, c in zip(names, small, strict=False))
            raise BudgetError(
                f"taking {self.ipc} images per class",
                received=f"class {listed}" + (f" (and {len(small) - 5} more classes)" if len(small) > 5 else ""),
                expected=f"at least {self.ipc} images in every class",
                remedy=f"choose ipc={min(counts)} or less, or give a total with count=, which shares what there is",
            )

    def _total(self, available: int, row_bytes: int) -> int:
        if self.fraction is not None:
            # The decimal that the user wrote, not its binary neighbour: 0.29 of 100 is 29.
            total = int(Fraction(str(float(self.fraction))) * available)
        else:
            total = self.count if self.count is not None else (self.nbytes or 0) // row_bytes
        if total < 1:
            raise BudgetError(
                f"sharing out a budget of {self}",
                received=f"{total} rows of {row_bytes} bytes, out of {available}",
                expected="at least one image",
                remedy=f"raise the budget; one image is {row_bytes} bytes, one of {available} rows",
            )
        if total > available:
            raise BudgetError(
                f"sharing out a budget of {self}",
                received=f"{total} rows",
                expected=f"at most the {available} rows there are",
                remedy="lower the budget",
            )
        return total


def _is_number(value: object, whole: bool) -> bool:
    if isinstance(value, bool):
        return False
    if whole:
        return hasattr(value, "__index__")
    return isinstance(value, float | int) and math.isfinite(value)


def _equal_shares(total: int, sizes: list[int]) -> list[int]:
    shares = [0] * len(sizes)
    while total:
        unfilled = [c for c, size in enumerate(sizes) if shares[c] < size]
        each, left = divmod(total, len(unfilled))
        for rank, c in enumerate(unfilled):
            # The odd rows are given out last, when no class can be filled up by a whole share any more.
            wanted = each if each else int(rank < left)
            taken = min(wanted, sizes[c] - shares[c])
            shares[c] += taken
            total -= taken
    return shares


def _proportional_shares(total: int, sizes: list[int]) -> list[int]:
    available = sum(sizes)
    shares = [total * size // available for size in sizes]
    by_remainder = sorted(range(len(sizes)), key=lambda c: (-(total * sizes[c] % available), c))
    for c in by_remainder[: total - sum(shares)]:
        shares[c] += 1
    return shares
