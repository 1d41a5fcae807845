"""Which columns of a table are the rows and which the labels, and reading them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from decoct.data.checks import as_labels, renumbered
from decoct.data.found import Found, Wish, numbered_ids
from decoct.data.sources.arrays import from_arrays
from decoct.data.sources.ids import NO_FEATURES, checked_ids, id_column
from decoct.errors import DataError, SourceError

LABEL_NAMES = ("label", "labels", "class", "target", "y", "fine_label", "category", "class_label")
IMAGE_NAMES = ("image", "img", "picture", "x")
BLOCK_ROWS = 4096


@runtime_checkable
class Rows(Protocol):
    """One part of a table: files that Arrow reads, or a data set of Hugging Face `datasets`."""

    @property
    def features(self) -> Mapping[str, Any]:
        """What each column holds, in the words of that library: `dtype`, `names` of classes, `feature` of lists."""
        ...

    def __len__(self) -> int: ...

    def values(self, name: str) -> list[Any]:
        """A column as Python values, None where there is none."""
        ...

    def numbers(self, names: Sequence[str]) -> Iterator[list[NDArray[Any]]]:
        """Columns of numbers or of lists of them, `BLOCK_ROWS` rows or fewer at a time."""
        ...

    def pictures(self, name: str) -> Iterator[Any]:
        """The rows of a column of images, undecoded: bytes, or a mapping with `bytes` and `path`."""
        ...


@dataclass(frozen=True)
class Columns:
    """The columns that are read: `image`, or else `features` (one of lists, or several of numbers); `ids` if any."""

    label: str
    image: str | None = None
    features: tuple[str, ...] = ()
    ids: str | None = None
    passed: tuple[str, ...] = ()
    """Columns of numbers that are called like a label, and are no features."""


def choose_columns(called: str, rows: Rows, asked: Mapping[str, str]) -> Columns:
    """The columns named in `asked` ("image", "label", "id"), else those that their names and types tell.

    A column of groups ("group") is none of them.

    Raises `SourceError` listing the columns where that is not clear.
    """
    for name in filter(None, asked.values()):
        if name not in rows.features:
            raise _unclear(called, rows, f"no column {name!r}")
    ids = ids_among(rows.features, asked)
    label = label_among(rows.features, asked, ids)
    if label is None:
        raise _unclear(called, rows, "no column that is clearly the label")
    kinds = {
        name: _kind(feature) for name, feature in rows.features.items() if name not in (label, ids, asked.get("group"))
    }
    if "image" in asked:
        picture = kinds.get(asked["image"]) == "image"
        return Columns(label, asked["image"], (), ids) if picture else Columns(label, None, (asked["image"],), ids)
    images = [name for name, kind in kinds.items() if kind == "image"]
    if images:
        best = [name for name in IMAGE_NAMES if name in images] or images
        if len(images) > 1 and best is images:
            raise _unclear(called, rows, f"{len(images)} columns of images")
        return Columns(label, best[0], (), ids)
    lists = [name for name, kind in kinds.items() if kind == "list"]
    numbers = [name for name, kind in kinds.items() if kind == "number" and name not in NO_FEATURES]
    if len(lists) > 1 or not (lists or numbers):
        raise _unclear(called, rows, f"{len(lists)} columns of lists" if lists else "no column of images or numbers")
    if lists:
        return Columns(label, None, tuple(lists), ids)
    # A second label among the features would give the answer away; y beside x is a coordinate.
    passed = [name for name in numbers if name in LABEL_NAMES and not (name == "y" and "x" in numbers)]
    if len(passed) == len(numbers):
        raise _unclear(called, rows, f"no column of features beside those called like labels ({', '.join(passed)})")
    return Columns(label, None, tuple(name for name in numbers if name not in passed), ids, tuple(passed))


def ids_among(features: Mapping[str, Any], asked: Mapping[str, str]) -> str | None:
    """The column of ids as `id_column` chooses it, by what the columns hold."""
    return id_column({name: str(getattr(feature, "dtype", "")) for name, feature in features.items()}, asked)


def label_among(features: Mapping[str, Any], asked: Mapping[str, str], ids: str | None) -> str | None:
    """The column of labels, the one that is `asked` for first, never `ids` or the groups; None where none is clear."""
    if "label" in asked:
        return asked["label"]
    free = {name: feature for name, feature in features.items() if name not in (ids, asked.get("group"))}
    named = [name for name in LABEL_NAMES if name in free]
    typed = [name for name, feature in free.items() if _class_names(feature) is not None]
    texts = [name for name, feature in free.items() if _kind(feature) == "text"]
    return next((found[0] for found in (named[:1], typed, texts) if len(found) == 1), None)


def read_ids(called: str, parts: Mapping[str, Rows], columns: Columns) -> dict[str, NDArray[Any]]:
    """The ids of every part that has a column of them, as `ids.checked_ids` takes them. Raises `DataError`."""
    name = columns.ids
    if name is None:
        return {}
    own = {part: rows.values(name) for part, rows in parts.items() if name in rows.features}
    return checked_ids(called, name, own)


def column_by_id(called: str, parts: Mapping[str, Rows], name: str, asked: Mapping[str, str]) -> dict[str, str]:
    """The values of one column, as texts, by what the rows are called.

    Raises `SourceError` for a column that is not there, `DataError` for ids that cannot be used.
    """
    features = next(iter(parts.values())).features
    if name not in features:
        raise SourceError(
            called, received=f"no column {name!r}; the columns are {', '.join(features)}",
            expected="the name of a column of the table", remedy="check the name of the column",
        )  # fmt: skip
    own = ids_among(features, asked)
    named = {part: rows.values(own) for part, rows in parts.items() if own in rows.features} if own is not None else {}
    checked = checked_ids(called, own, named) if own is not None and named else {}
    found: dict[str, str] = {}
    for part, rows in parts.items():
        keys = checked.get(part, numbered_ids(part, len(rows)))
        found |= zip(keys.tolist(), map(str, rows.values(name)), strict=True)
    return found


def read_labels(
    called: str, parts: Mapping[str, Rows], columns: Columns
) -> tuple[dict[str, NDArray[np.int64]], tuple[str, ...] | None]:
    """Labels by part and the class names: given order for ClassLabel, sorted for strings. Raises `DataError`."""

    def told(rows: Rows) -> tuple[str, ...] | None:
        names = _class_names(rows.features.get(columns.label))
        return None if names is None else tuple(names)

    names, raw = told(next(iter(parts.values()))), {}
    for part, rows in parts.items():
        values = rows.values(columns.label)
        missing = [row for row, value in enumerate(values) if value is None]
        if missing:
            raise DataError(
                called,
                received=f"{len(missing)} rows of {part!r} without a label: rows {', '.join(map(str, missing[:10]))}",
                expected="a label in every row",
                remedy="remove these rows, or fill in their labels",
            )
        own = told(rows)
        raw[part] = np.asarray(values)
        if own is not None and names is not None:
            raw[part] = renumbered(called, part, raw[part], own, names)
    return as_labels(called, raw, names)


def read_features(
    called: str,
    parts: Mapping[str, Rows],
    columns: Columns,
    labels: Mapping[str, NDArray[np.int64]],
    names: tuple[str, ...] | None,
    ids: Mapping[str, NDArray[Any]],
    *,
    wish: Wish,
) -> Found:
    """The columns of numbers as a table `[n, d]` (or images, where a column holds arrays of two or three axes)."""
    xs = {part: _numbers(called, part, rows, columns.features) for part, rows in parts.items()}
    found = from_arrays(called, xs, labels, names, wish, ids)
    notices = [f"features are the columns {', '.join(columns.features)}"] if len(columns.features) > 1 else []
    if columns.passed:
        notices.append(f"columns called like a label are no features: {', '.join(columns.passed)}")
    return Found(found.parts, found.class_names, (*found.notices, *notices))


def _class_names(feature: Any) -> Sequence[str] | None:
    """The classes that the numbers of a column count, if it says some."""
    return getattr(feature, "names", None)


def _kind(feature: Any) -> str:
    dtype = str(getattr(feature, "dtype", ""))
    keys = set(feature) if isinstance(feature, dict) else set()
    if keys == {"bytes", "path"} or dtype in ("binary", "large_binary", "PIL.Image.Image"):
        return "image"
    inner = getattr(feature, "feature", None)
    if type(feature).__name__.startswith("Array") or (inner is not None and _kind(inner) in ("number", "list")):
        return "list"
    if dtype in ("string", "large_string"):
        return "text"
    return "number" if dtype.startswith(("int", "uint", "float", "bool")) else "other"


def _numbers(called: str, part: str, rows: Rows, names: tuple[str, ...]) -> NDArray[Any]:
    blocks: list[NDArray[Any]] = []
    try:
        for block in rows.numbers(names):
            values = np.stack(block, 1) if len(names) > 1 else np.stack(list(block[0]))
            if blocks and values.shape[1:] != blocks[0].shape[1:]:
                raise ValueError(f"rows of shape {list(blocks[0].shape[1:])} and {list(values.shape[1:])}")
            blocks.append(values.astype(np.float32) if values.dtype.kind == "f" else values + 0)
    except (ValueError, TypeError) as error:
        raise DataError(
            called,
            received=f"rows of {part!r}, from {sum(map(len, blocks))} on, that make no table: {error}",
            expected=f"numbers, as many in every row, in {', '.join(names)}",
            remedy="fill in missing values and bring the lists to one length",
        ) from error
    table = np.concatenate(blocks) if blocks else np.empty((0, len(names)), np.float32)
    return table[:, None] if table.ndim == 1 else table


def _unclear(called: str, rows: Rows, what: str) -> SourceError:
    listed = ", ".join(f"{name} ({_kind(feature)})" for name, feature in rows.features.items())
    return SourceError(
        called,
        received=f"{what}; the columns are {listed}",
        expected="a column of images (or columns of numbers) and a column of labels",
        remedy="name the columns: PATH?image=NAME&label=NAME (and &id=NAME)",
    )
