"""Which columns of a table are the rows and which the labels, and reading them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from decoct.data.checks import as_labels, renumbered
from decoct.data.found import Found, Wish
from decoct.data.sources.arrays import from_arrays
from decoct.data.sources.ids import NO_FEATURES, checked_ids, id_column
from decoct.errors import DataError, SourceError

if TYPE_CHECKING:
    from datasets import Dataset

LABEL_NAMES = ("label", "labels", "class", "target", "y", "fine_label", "category", "class_label")
IMAGE_NAMES = ("image", "img", "picture", "x")
BLOCK_ROWS = 4096


@dataclass(frozen=True)
class Columns:
    """The columns that are read: `image`, or else `features` (one of lists, or several of numbers); `ids` if any."""

    label: str
    image: str | None = None
    features: tuple[str, ...] = ()
    ids: str | None = None
    passed: tuple[str, ...] = ()
    """Columns of numbers that are called like a label, and are no features."""


def choose_columns(called: str, rows: Dataset, asked: Mapping[str, str]) -> Columns:
    """The columns named in `asked` ("image", "label", "id"), else those that their names and types tell.

    A column of groups ("group") is none of them.

    Raises `SourceError` listing the columns where that is not clear.
    """
    for name in filter(None, asked.values()):
        if name not in rows.features:
            raise _unclear(called, rows, f"no column {name!r}")
    ids = id_column({name: str(getattr(feature, "dtype", "")) for name, feature in rows.features.items()}, asked)
    label = asked.get("label") or _label(called, rows, ids)
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


def read_ids(called: str, parts: Mapping[str, Dataset], columns: Columns) -> dict[str, NDArray[Any]]:
    """The ids of every part that has a column of them, as `ids.checked_ids` takes them. Raises `DataError`."""
    name = columns.ids
    if name is None:
        return {}
    own = {part: list(rows.with_format(None)[name]) for part, rows in parts.items() if name in rows.features}
    return checked_ids(called, name, own)


def read_labels(
    called: str, parts: Mapping[str, Dataset], columns: Columns
) -> tuple[dict[str, NDArray[np.int64]], tuple[str, ...] | None]:
    """Labels by part and the class names: given order for ClassLabel, sorted for strings. Raises `DataError`."""
    from datasets import ClassLabel

    def told(rows: Dataset) -> tuple[str, ...] | None:
        feature = rows.features[columns.label]
        return tuple(feature.names) if isinstance(feature, ClassLabel) else None

    names, raw = told(next(iter(parts.values()))), {}
    for part, rows in parts.items():
        values = list(rows.with_format(None)[columns.label])
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
    parts: Mapping[str, Dataset],
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


def _label(called: str, rows: Dataset, ids: str | None) -> str:
    from datasets import ClassLabel

    named = [name for name in LABEL_NAMES if name in rows.features]
    typed = [name for name, feature in rows.features.items() if isinstance(feature, ClassLabel)]
    texts = [name for name, feature in rows.features.items() if _kind(feature) == "text" and name != ids]
    for candidates in (named[:1], typed, texts):
        if len(candidates) == 1:
            return candidates[0]
    raise _unclear(called, rows, "no column that is clearly the label")


def _kind(feature: Any) -> str:
    from datasets import Image

    dtype = str(getattr(feature, "dtype", ""))
    keys = set(feature) if isinstance(feature, dict) else set()
    if isinstance(feature, Image) or keys == {"bytes", "path"} or dtype in ("binary", "large_binary"):
        return "image"
    inner = getattr(feature, "feature", None)
    if type(feature).__name__.startswith("Array") or (inner is not None and _kind(inner) in ("number", "list")):
        return "list"
    if dtype in ("string", "large_string"):
        return "text"
    return "number" if dtype.startswith(("int", "uint", "float", "bool")) else "other"


def _numbers(called: str, part: str, rows: Dataset, names: tuple[str, ...]) -> NDArray[Any]:
    rows = rows.select_columns(list(names)).with_format("numpy")
    blocks = []
    for start in range(0, len(rows), BLOCK_ROWS):
        block = rows[start : start + BLOCK_ROWS]
        columns = [block[name] for name in names]
        try:
            values = np.stack(columns, 1) if len(names) > 1 else np.stack(list(columns[0]))
            blocks.append(values.astype(np.float32) if values.dtype.kind == "f" else values + 0)
        except (ValueError, TypeError) as error:
            raise DataError(
                called,
                received=f"rows {start} to {start + len(columns[0]) - 1} of {part!r} that make no table: {error}",
                expected=f"numbers, as many in every row, in {', '.join(names)}",
                remedy="fill in missing values and bring the lists to one length",
            ) from error
    table = np.concatenate(blocks) if blocks else np.empty((0, len(names)), np.float32)
    return table[:, None] if table.ndim == 1 else table


def _unclear(called: str, rows: Dataset, what: str) -> SourceError:
    listed = ", ".join(f"{name} ({_kind(feature)})" for name, feature in rows.features.items())
    return SourceError(
        called,
        received=f"{what}; the columns are {listed}",
        expected="a column of images (or columns of numbers) and a column of labels",
        remedy="name the columns: PATH?image=NAME&label=NAME (and &id=NAME)",
    )
