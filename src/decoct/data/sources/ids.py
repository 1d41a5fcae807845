"""What rows are called: the source's own ids, if it keeps any, each of them once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decoct.data.found import ID_NAMES
from decoct.errors import DataError

SHOWN = 5
NO_FEATURES = ("uid", "id", "__index_level_0__", "Unnamed: 0")
"""Columns that say which row it is, ours or that of a data frame, and so are never features of it."""


def id_column(types: Mapping[str, str], asked: Mapping[str, str]) -> str | None:
    """The column of ids among columns of these types, the one that is `asked` for first; None where there is none.

    `key` is a common name of numbers that describe rows, too: it must hold texts or whole numbers.
    """
    if "id" in asked:
        return asked["id"] or None
    free = [name for name in ID_NAMES if name in types and name not in asked.values()]
    return next((name for name in free if _can_name(types[name], floats=name != "key")), None)


def _can_name(kind: str, floats: bool) -> bool:
    # Floating-point ids are looked at, to be refused: a missing value has made floats of whole numbers.
    return kind.startswith(("int", "uint", "string", "large_string", *(("float", "double") if floats else ())))


def checked_ids(called: str, name: str, parts: Mapping[str, Sequence[Any] | NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The ids of each part as texts. Whole numbers that start anew in every part get its name in front: "test:7".

    Raises `DataError` for ids that are missing, neither texts nor whole numbers, or not each of them once.
    """
    found = {part: _texts(called, name, part, values) for part, values in parts.items()}
    for part, ids in found.items():
        _require_once(called, name, ids, f"in {part!r}")
    joined = np.concatenate(list(found.values()))
    if len(set(joined.tolist())) == len(joined):
        return found
    if all(own.isdecimal() for own in joined.tolist()):
        return {part: np.char.add(f"{part}:", ids) for part, ids in found.items()}
    _require_once(called, name, joined, "in two parts")
    return found


def _texts(called: str, name: str, part: str, values: Sequence[Any] | NDArray[Any]) -> NDArray[Any]:
    column = np.asarray(values)
    if column.ndim == 2 and column.shape[1] == 1:
        column = column[:, 0]
    missing = [row for row, own in enumerate(column.tolist()) if own in (None, "", b"") or _is_nan(own)]
    if missing:
        rows = ", ".join(map(str, missing[:SHOWN]))
        raise _unusable(called, f"{len(missing)} rows of {part!r} without a value of {name!r}: rows {rows}")
    mixed = column.dtype.kind == "O" and all(isinstance(own, (str, int)) for own in column.tolist())
    if column.ndim != 1 or not (column.dtype.kind in "USiu" or mixed):
        raise _unusable(called, f"{name!r} of type {column.dtype} and shape {list(column.shape)} in {part!r}")
    return np.char.decode(column, "utf-8", "replace") if column.dtype.kind == "S" else column.astype(np.str_)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _require_once(called: str, name: str, ids: NDArray[Any], where: str) -> None:
    twice = [(own, count) for own, count in Counter(ids.tolist()).most_common() if count > 1]
    if twice:
        shown = ", ".join(f"{own!r} ({count} times)" for own, count in twice[:SHOWN])
        raise _unusable(called, f"{len(twice)} values of {name!r} that occur more than once {where}, such as {shown}")


def _unusable(called: str, received: str) -> DataError:
    return DataError(
        called, received=received, expected="a text or a whole number for every row, each of them once",
        remedy="repair the ids, name another column of them (?id=NAME), or go by row numbers (?id= alone; of data in "
        "memory drop the column)",
    )  # fmt: skip
