"""What must be true of rows and labels before anything is made of them; each breach is a typed error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decoct.data.blocks import row_blocks
from decoct.errors import DataError

SHOWN = 10


def require_lengths(called: str, part: str, x: NDArray[Any], y: NDArray[Any]) -> None:
    """Raises `DataError` unless there is one label for each row, and a row at all."""
    if len(x) != len(y):
        raise DataError(
            called,
            received=f"{len(x)} rows and {len(y)} labels in {part!r}",
            expected="one label for each row",
            remedy="check that x and y were cut and shuffled together",
        )
    if len(x) == 0:
        raise DataError(
            called,
            received=f"no rows in {part!r} (x has shape {list(x.shape)})",
            expected="at least one row in every part",
            remedy="give rows to train on"
            if part in ("all", "train")
            else f"leave {part!r} out, so that it is cut from the training rows, or fill it",
        )


def require_finite(called: str, part: str, x: NDArray[Any], offset: int = 0) -> None:
    """Raises `DataError` naming the first rows of `x`, counted from `offset`, that hold NaN or infinite values."""
    if x.dtype.kind not in "fc":
        return
    bad: list[int] = []
    values, count, start = 0, 0, offset
    for block in row_blocks(x):
        wrong = ~np.isfinite(block).reshape(len(block), -1)
        rows = np.flatnonzero(wrong.any(1))
        bad += (start + rows[: SHOWN - len(bad)]).tolist()
        values, count, start = values + int(wrong.sum()), count + len(rows), start + len(block)
    if count:
        more = f" and {count - len(bad)} more" if count > len(bad) else ""
        raise DataError(
            called,
            received=f"{values} NaN or infinite values in {count} of {len(x)} rows of {part!r}: "
            f"rows {', '.join(map(str, bad))}{more}",
            expected="finite numbers",
            remedy="remove these rows or fill in the missing values (np.nan_to_num, or the column's mean)",
        )


def as_labels(
    called: str, labels: Mapping[str, NDArray[Any]], names: Sequence[str] | None
) -> tuple[dict[str, NDArray[np.int64]], tuple[str, ...] | None]:
    """Labels of each part as whole numbers, and the class names; strings become classes in sorted order.

    Integers, booleans, whole floats and strings are understood, as `[n]` or `[n, 1]`. Raises `DataError` for anything
    else, and for a string that is not among `names` or not among the training labels.
    """
    flat = {part: _flat(called, part, values) for part, values in labels.items()}
    if any(values.dtype.kind in "US" for values in flat.values()):
        return _from_strings(called, flat, names)
    kept = tuple(names) if names is not None else None
    return {part: _whole(called, part, values) for part, values in flat.items()}, kept


def renumbered(called: str, part: str, values: NDArray[Any], own: Sequence[str], names: Sequence[str]) -> NDArray[Any]:
    """Whole numbers that count the classes `own`, as numbers that count `names`; strings as they are.

    Raises `DataError` for a number outside `own`, and for a class in use that is not among `names`.
    """
    values = _flat(called, part, values)
    if values.dtype.kind in "US" or tuple(own) == tuple(names):
        return values
    whole = _whole(called, part, values)
    _require_range(called, part, whole, len(own))
    number = {name: c for c, name in enumerate(names)}
    _require_known(called, part, [str(own[c]) for c in np.unique(whole)], number)
    return np.array([number.get(name, -1) for name in own], np.int64)[whole]


def require_classes(
    called: str, labels: Mapping[str, NDArray[np.int64]], names: tuple[str, ...] | None, base: str, cut: bool
) -> tuple[str, ...]:
    """The class names, after checking that labels are 0..C-1 and that every class can be trained on.

    `base` is the part that is trained on; a class needs one row there, or two where other parts are `cut` from it.
    Raises `DataError`.
    """
    names = names if names is not None else tuple(str(c) for c in range(_counted(called, labels[base], base)))
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DataError(
            called, received=f"class names that occur twice: {_quoted(twice)}", expected="different names",
            remedy="rename the classes so that each name stands for one",
        )  # fmt: skip
    for part, values in labels.items():
        _require_range(called, part, values, len(names))
    if len(names) < 2:
        raise DataError(
            called, received=f"one class only: {_quoted(names)}", expected="at least two classes",
            remedy="check that the labels, or the folders, tell classes apart",
        )  # fmt: skip
    needed = 2 if cut else 1
    counts = np.bincount(labels[base], minlength=len(names))
    short = np.flatnonzero(counts < needed)
    if len(short):
        shown = ", ".join(f"{names[c]!r} ({counts[c]})" for c in short[:SHOWN])
        more = f" and {len(short) - SHOWN} more" if len(short) > SHOWN else ""
        raise DataError(
            called,
            received=f"{len(short)} of {len(names)} classes with fewer than {needed} training rows: {shown}{more}",
            expected=f"at least {needed} rows in every class"
            + (", one to train on and one to validate on" if cut else ""),
            remedy="add rows to these classes, or leave the classes out (labels count from 0 without gaps)",
        )
    return names


def _flat(called: str, part: str, values: NDArray[Any]) -> NDArray[Any]:
    values = values.reshape(-1) if values.ndim == 2 and values.shape[1] == 1 else values
    if values.dtype.kind == "O" and all(isinstance(value, str) for value in values.flat):
        values = values.astype(str)
    if values.ndim != 1 or values.dtype.kind not in "iubfUS":
        hint = " (labels.argmax(1) turns one-hot rows into classes)" if values.ndim == 2 else ""
        raise DataError(
            called,
            received=f"labels of {part!r} with shape {list(values.shape)} and type {values.dtype}",
            expected="one whole number or one string for each row",
            remedy=f"give the class of each row as an integer from 0{hint}",
        )
    return values


def _whole(called: str, part: str, values: NDArray[Any]) -> NDArray[np.int64]:
    if values.dtype.kind == "f":
        wrong = np.flatnonzero(~np.isfinite(values) | (values != np.floor(values)) | (np.abs(values) > 2**53))
        if len(wrong):
            shown = ", ".join(f"{values[row]:g} (row {row})" for row in wrong[:SHOWN])
            raise DataError(
                called,
                received=f"{len(wrong)} labels of {part!r} that are not whole numbers: {shown}",
                expected="integers from 0 to the number of classes less one",
                remedy="relabel with np.unique(y, return_inverse=True)[1]; bin a number to predict into classes",
            )
    return values.astype(np.int64)


def _from_strings(
    called: str, labels: Mapping[str, NDArray[Any]], names: Sequence[str] | None
) -> tuple[dict[str, NDArray[np.int64]], tuple[str, ...]]:
    text = {part: _decoded(values) for part, values in labels.items()}
    base = text.get("train", text.get("all", next(iter(text.values()))))
    known = tuple(names) if names is not None else tuple(str(name) for name in np.unique(base))
    number = {name: c for c, name in enumerate(known)}
    numbered = {}
    for part, values in text.items():
        found, inverse = np.unique(values, return_inverse=True)
        _require_known(called, part, [str(name) for name in found], number)
        numbered[part] = np.array([number[str(name)] for name in found], np.int64)[inverse]
    return numbered, known


def _require_known(called: str, part: str, used: Sequence[str], known: Mapping[str, int]) -> None:
    foreign = [name for name in used if name not in known]
    if foreign:
        raise DataError(
            called,
            received=f"labels of {part!r} that are no class of the training rows: {_quoted(foreign)}",
            expected=f"one of {len(known)} classes: {_quoted(list(known))}",
            remedy="correct the spelling, add training rows of these classes, or remove the rows",
        )


def _decoded(values: NDArray[Any]) -> NDArray[Any]:
    return np.char.decode(values, "utf-8", "replace") if values.dtype.kind == "S" else values.astype(str)


def _counted(called: str, values: NDArray[np.int64], part: str) -> int:
    """Classes there are if labels count from 0: the largest label and one."""
    top = int(values.max())
    if top >= 2 * len(values) + 2:
        raise DataError(
            called,
            received=f"labels of {part!r} from {values.min()} to {top} for {len(values)} rows",
            expected="labels that count classes from 0",
            remedy="relabel with np.unique(y, return_inverse=True)[1]",
        )
    return top + 1


def _require_range(called: str, part: str, values: NDArray[np.int64], classes: int) -> None:
    wrong = np.flatnonzero((values < 0) | (values >= classes))
    if len(wrong):
        shown = ", ".join(f"{values[row]} (row {row})" for row in wrong[:SHOWN])
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise DataError(
            called,
            received=f"{len(wrong)} labels of {part!r} outside 0..{classes - 1}: {shown}{more}",
            expected=f"whole numbers from 0 to {classes - 1} ({classes} classes)",
            remedy="relabel with np.unique(y, return_inverse=True)[1], or correct class_names",
        )


def _quoted(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:SHOWN])
    return shown + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
