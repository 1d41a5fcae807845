"""How large a result may be, said in one of four ways, and how many rows of each class that makes."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import torch
from jaxtyping import Int64
from torch import Tensor

from decoct.errors import BudgetError, ConfigError

CLASS, GLOBAL, FLOOR = "class", "global", "floor:"


def floor_of(balance: str) -> int | None:
    """N of the balance "floor:N"; None for "class" and "global". Raises `ConfigError` for anything else."""
    if balance in (CLASS, GLOBAL):
        return None
    number = balance.removeprefix(FLOOR)
    if number != balance and number.isascii() and number.isdecimal() and int(number) >= 1:
        return int(number)
    raise ConfigError(
        "choosing how classes share a budget",
        received=repr(balance),
        expected="'class' (equal shares), 'global' (classes as they come) or 'floor:N' (in proportion, none below N)",
        remedy="write balance='class', 'global' or, for five rows of every class at least, 'floor:5'",
    )


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
        if name != "fraction":
            # As a number of Python's: JSON holds none of numpy's.
            object.__setattr__(self, name, operator.index(value))
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
        balance: str = CLASS,
        class_names: Sequence[str] | None = None,
        *,
        takes_total: bool = False,
    ) -> Int64[Tensor, " C"]:
        """How many rows each class gets, `[C]`; never more than `class_counts` has, and in sum exactly the budget.

        `ipc` gives every class the same. The other three are turned into a total (nbytes: `nbytes // row_bytes`), and
        shared out by `balance`:

        - "class": equally. What is left over goes one each to the first classes; what a small class cannot take goes
          to the others in the same way.
        - "global": in proportion to the class sizes, by largest remainder (ties to the first class).
        - "floor:N": as "global", but no class below N rows; a class with fewer rows than N keeps all it has. The
          rows that this takes are missing from the classes above the floor, in proportion.

        `class_names` only make the errors readable; `takes_total` says that the caller takes a `count` in the place of
        an ipc, as selections do, so that the remedy may name it.

        Raises `BudgetError` for an ipc above the size of a class, a total under one row, above what there is or below
        what the floors take; `ConfigError` for another balance, and for an ipc with any but "class".
        """
        counts, floor = [int(count) for count in class_counts], floor_of(balance)
        if self.ipc is not None:
            self._require_equal(balance)
            self._require_class_sizes(counts, class_names, takes_total)
            return torch.full((len(counts),), self.ipc, dtype=torch.int64)
        total = self._total(sum(counts), row_bytes)
        if floor is not None:
            return torch.tensor(self._above_floor(total, counts, floor), dtype=torch.int64)
        share = _equal_shares if balance == CLASS else _proportional_shares
        return torch.tensor(share(total, counts), dtype=torch.int64)

    def _require_equal(self, balance: str) -> None:
        if balance != CLASS:
            raise ConfigError(
                f"taking {self.ipc} rows of every class",
                received=f"balance={balance!r}",
                expected="balance='class': as many rows of each class is what ipc says",
                remedy="leave the balance out, or give a total with count= or fraction=",
            )

    def _above_floor(self, total: int, sizes: list[int], floor: int) -> list[int]:
        least = [min(floor, size) for size in sizes]
        if sum(least) > total:
            raise BudgetError(
                f"sharing out a budget of {self} with at least {floor} rows of every class",
                received=f"{total} rows for {sum(size > 0 for size in sizes)} classes, whose floors take {sum(least)}",
                expected="a budget that holds the floor of every class",
                remedy=f"raise the budget to {sum(least)} rows, or lower the floor",
            )
        # Classes whose share in proportion would lie below their floor are given it and leave; that lowers the shares
        # of the others, so it is asked again until none lies below.
        below: set[int] = set()
        while True:
            others = [c for c in range(len(sizes)) if c not in below]
            rest, available = total - sum(least[c] for c in below), sum(sizes[c] for c in others)
            new = {c for c in others if rest * sizes[c] < least[c] * available}
            if not new:
                break
            below |= new
        shares = list(least)
        for c, share in zip(others, _proportional_shares(rest, [sizes[c] for c in others]), strict=True):
            shares[c] = share
        return shares

    def _require_class_sizes(self, counts: list[int], class_names: Sequence[str] | None, takes_total: bool) -> None:
        assert self.ipc is not None
        small = [c for c, count in enumerate(counts) if count < self.ipc]
        if small:
            names = [f"{class_names[c]!r}" if class_names else f"number {c}" for c in small[:5]]
            listed = ", ".join(f"{name} has {counts[c]}" for name, c in zip(names, small, strict=False))
            most = min(counts)
            fewer = f"choose ipc={most} or less (--ipc {most}), " if most else ""
            which = "that class" if len(small) == 1 else "these classes"
            total = "; or give a total with count= (--count), which shares what there is" if takes_total else ""
            raise BudgetError(
                f"taking {self.ipc} images per class",
                received=f"class {listed}" + (f" (and {len(small) - 5} more classes)" if len(small) > 5 else ""),
                expected=f"at least {self.ipc} images in every class",
                remedy=f"{fewer}leave out {which}, or add training images{total}",
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
        try:
            operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            return False
        return True
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
    available = max(1, sum(sizes))
    shares = [total * size // available for size in sizes]
    by_remainder = sorted(range(len(sizes)), key=lambda c: (-(total * sizes[c] % available), c))
    for c in by_remainder[: total - sum(shares)]:
        shares[c] += 1
    return shares
