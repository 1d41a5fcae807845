"""Arrays by name, in an archive or in memory: which are rows, labels, ids and class names of which part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decoct.data.found import ID_NAMES, Found, Wish
from decoct.data.sources.arrays import as_array, from_arrays
from decoct.data.sources.ids import checked_ids
from decoct.errors import SourceError

_EXPECTED = "x_train, y_train, x_test, y_test (x_val, y_val, class_names if you like), or x and y"


@dataclass(frozen=True)
class Names:
    """What the arrays of one part are called."""

    x: str
    y: str
    ids: str | None = None


def find_named(source: Mapping[str, Any], wish: Wish) -> Found:
    """Arrays in memory by the names that an npz archive gives them, such as `{"x": ..., "y": ..., "id": ...}`.

    Raises `SourceError` for other names, `DataError` for what the arrays hold.
    """
    called = "opening arrays"
    return read_named(called, "arrays named", list(source), {}, lambda name: as_array(called, source[name]), wish)


def read_named(
    called: str, what: str, names: Sequence[str], asked: Mapping[str, str], read: Callable[[str], NDArray[Any]],
    wish: Wish,
) -> Found:  # fmt: skip
    """The parts in arrays of these `names`, each read when it is its turn. Raises `SourceError` and `DataError`."""
    chosen = choose_names(called, what, names, asked.get("id"))
    xs = {part: read(own.x) for part, own in chosen.items()}
    ys = {part: read(own.y) for part, own in chosen.items()}
    called_so = {part: (own.ids, read(own.ids)) for part, own in chosen.items() if own.ids is not None}
    classes = _class_names(called, read("class_names")) if "class_names" in names else None
    if not called_so:
        return from_arrays(called, xs, ys, classes, wish)
    name = next(iter(called_so.values()))[0]
    ids = checked_ids(called, name, {part: values for part, (_, values) in called_so.items()})
    found = from_arrays(called, xs, ys, classes, wish, ids)
    return Found(found.parts, found.class_names, (*found.notices, f"rows are called by the array {name}"))


def choose_names(called: str, what: str, names: Sequence[str], asked: str | None = None) -> dict[str, Names]:
    """For each part what its arrays are called; ids by the `asked` name, where "" asks for none."""
    pairs = _pairs(names)
    if not pairs:
        raise SourceError(
            called,
            received=f"{what} {', '.join(sorted(names)) or 'nothing'}",
            expected=_EXPECTED,
            remedy="save it with np.savez(path, x_train=..., y_train=..., x_test=..., y_test=...)",
        )
    ends = {part: "" if part == "all" else f"_{part}" for part in pairs}
    wanted = ID_NAMES if asked is None else [asked] * bool(asked)
    own = next((name for name in wanted if any(name + end in names for end in ends.values())), None)
    if asked and own is None:
        raise SourceError(
            called, received=f"{what} {', '.join(sorted(names))}, none of them {asked + next(iter(ends.values()))!r}",
            expected="an array of ids, one for each row", remedy="check the name after id=",
        )  # fmt: skip
    ids = {part: None if own is None or own + end not in names else own + end for part, end in ends.items()}
    return {part: Names(x, y, ids[part]) for part, (x, y) in pairs.items()}


def _pairs(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """For each part the names of its rows and of its labels; nothing where they are no whole pairs."""
    if "x_train" in names and "y_train" in names:
        parts = {part: (f"x_{part}", f"y_{part}") for part in ("train", "val", "test")}
        halves = [pair for pair in parts.values() if (pair[0] in names) != (pair[1] in names)]
        return {} if halves else {part: pair for part, pair in parts.items() if pair[0] in names}
    return {"all": ("x", "y")} if "x" in names and "y" in names else {}


def _class_names(called: str, names: NDArray[Any]) -> tuple[str, ...]:
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise SourceError(
            called,
            received=f"class_names with shape {list(names.shape)} and type {names.dtype}",
            expected="one string for each class, in label order",
            remedy="save class_names=np.array(['first', 'second', ...])",
        )
    text = np.char.decode(names, "utf-8", "replace") if names.dtype.kind == "S" else names
    return tuple(str(name) for name in text)
