"""What workers of a cluster do in tests: they find it by this module's name."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from decoct.engine import Rows
from decoct.errors import DataError


@dataclass(frozen=True)
class Slow:
    """A unit that writes its process number, and waits to be killed the first time."""

    folder: str
    number: int


def squared(unit: Slow) -> int:
    mark = Path(unit.folder) / f"{unit.number}.pid"
    first = not mark.exists()
    mark.write_text(str(os.getpid()))
    if first and unit.number == 2:
        time.sleep(30)
    return unit.number**2


def refused(unit: int) -> int:
    raise DataError("doing a unit", received=f"unit {unit}", expected="another", remedy="ask for another")


class OddError(Exception):
    """One that is not made again from its parts."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__(f"{one} and {other}")


def unmade(amount: float) -> Callable[[Rows], Rows]:
    raise DataError("making the function", received=f"{amount}", expected="less", remedy="ask for less")


def failing(kind: str) -> Callable[[Rows], Rows]:
    def over(rows: Rows) -> Rows:
        if kind == "odd":
            raise OddError(1, 2)
        if kind == "plain":
            raise ValueError("the user's own words")
        raise DataError("looking at rows", received=f"{len(rows)} rows", expected="fewer", remedy="give fewer")

    return over


def adding(amount: float) -> Callable[[Rows], Rows]:
    return lambda rows: np.stack([rows.sum(1) + amount, np.full(len(rows), len(rows))], 1)
