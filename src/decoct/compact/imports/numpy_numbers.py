"""Stand-ins for what makes a numpy number out of a pickle, since numpy follows whatever a pickle says.

`numpy.dtype.__setstate__` trusts its arguments: one altered byte there ends the process. Nothing of numpy is therefore
called with what stands in a file but `frombuffer`, and plain Python numbers come out.
"""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np

NUMBERS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")


class NumberType:
    """Stands for `numpy.dtype`; raises `pickle.UnpicklingError` for anything but a plain number."""

    def __init__(self, name: Any, *_: Any) -> None:
        if name not in NUMBERS:
            raise pickle.UnpicklingError(f"numpy.dtype {str(name)[:40]!r}, which is no plain number")
        self.dtype = np.dtype(name)

    def __setstate__(self, state: Any) -> None:
        """Take the byte order; a number has no fields, which numpy would look for in what stands at their places."""
        match state:
            case (int(), "<" | ">" | "|" | "=" as order, None, None, None, *_):
                self.dtype = self.dtype.newbyteorder(order)
            case _:
                raise pickle.UnpicklingError("numpy.dtype with parts, which is no plain number")


def scalar(kind: NumberType, raw: bytes | str) -> bool | int | float:
    """Stands for numpy's function of that name; raises `ValueError` where `raw` is not one number of that kind."""
    # Python 2 kept bytes as text.
    return np.frombuffer(raw.encode("latin1") if isinstance(raw, str) else raw, kind.dtype).item()


def stand_ins() -> list[Any]:
    """The names that a pickle calls them by. That of the module differs between numpy 1, with which most published
    files were written, and numpy 2."""
    names = [f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")]
    return [*((scalar, name) for name in names), (NumberType, "numpy.dtype")]
