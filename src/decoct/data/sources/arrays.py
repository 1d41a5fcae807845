"""Rows and labels that are already in memory: NumPy arrays, torch tensors, lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from decoct.data.checks import as_labels, require_lengths
from decoct.data.dataset import Split
from decoct.data.found import Found, Wish, numbered_ids
from decoct.data.rows import raw_parts
from decoct.errors import DataError, SourceError


def find_arrays(source: Sequence[Any], wish: Wish) -> Found:
    """`(x, y)` or `(x, y, x_test, y_test)`; rows as `rows.raw_parts` reads them, labels as `checks.as_labels` does.

    Raises `SourceError` for another number of arrays, `DataError` for what the arrays hold.
    """
    called = "opening arrays"
    if len(source) not in (2, 4):
        kinds = ", ".join(type(item).__name__ for item in source)
        raise SourceError(
            called,
            received=f"{len(source)} items: {kinds}",
            expected="(x, y) or (x, y, x_test, y_test)",
            remedy="give rows and labels in pairs, such as decoct.open((x, y))",
        )
    names = ["all"] if len(source) == 2 else ["train", "test"]
    arrays = [as_array(called, item) for item in source]
    xs: dict[str, NDArray[Any]] = dict(zip(names, arrays[0::2], strict=True))
    ys: dict[str, NDArray[Any]] = dict(zip(names, arrays[1::2], strict=True))
    return from_arrays(called, xs, ys, None, wish)


def from_arrays(
    called: str,
    xs: Mapping[str, NDArray[Any]],
    ys: Mapping[str, NDArray[Any]],
    class_names: Sequence[str] | None,
    wish: Wish,
    ids: Mapping[str, NDArray[Any]] | None = None,
) -> Found:
    """Rows and labels by part, checked and brought to raw form; a part without `ids` has its row numbers for ids.

    Raises `DataError` and `ConfigError`.
    """
    for part, x in xs.items():
        if x.ndim == 0 or ys[part].ndim == 0:
            raise DataError(
                called, received=f"a single value for {part!r}", expected="rows [n, ...] and labels [n]",
                remedy="give arrays whose first axis counts the rows",
            )  # fmt: skip
        require_lengths(called, part, x, ys[part])
        if ids is not None and part in ids and len(ids[part]) != len(x):
            raise DataError(
                called, received=f"{len(x)} rows and {len(ids[part])} ids in {part!r}", expected="one id for each row",
                remedy="check that rows and ids were cut and shuffled together",
            )  # fmt: skip
    labels, names = as_labels(called, ys, class_names)
    rows, notices = raw_parts(called, xs, wish)
    own = {part: numbered_ids(part, len(x)) for part, x in rows.items()} | dict(ids or {})
    return Found({part: Split(x, labels[part], own[part]) for part, x in rows.items()}, names, tuple(notices))


def as_array(called: str, item: Any) -> NDArray[Any]:
    """One array of what is in memory; raises `DataError` where it is none."""
    try:
        if isinstance(item, torch.Tensor):
            tensor = item.detach().cpu()
            return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
        return item if isinstance(item, np.ndarray) else np.asarray(item)
    except (ValueError, TypeError) as error:
        raise DataError(
            called,
            received=f"a {type(item).__name__} that is not one array: {error}",
            expected="rows of equal shape",
            remedy="bring all rows to one shape first, or save them as image files and open the folder",
        ) from error
