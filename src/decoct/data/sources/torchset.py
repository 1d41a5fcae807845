"""A torch `Dataset` whose items are `(x, y)`: x a tensor, an array or a Pillow image, y a class number."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from decoct.data.checks import renumbered, require_finite
from decoct.data.found import Found, Wish
from decoct.data.images import to_array
from decoct.data.sources.arrays import as_array, find_arrays, from_arrays
from decoct.errors import DataError, SourceError
from decoct.progress import progress

BLOCK_ROWS = 1024


def find_torch(source: Dataset[Any], wish: Wish) -> Found:
    """All items of `source` as one part, read once; its `classes`, if it has them, are the class names.

    Float images are turned to uint8 as they come, so that no float copy of the whole is made. Raises `SourceError`
    for items that are not `(x, y)`, `DataError` for what they hold.
    """
    called = f"opening the torch data set {type(source).__name__}"
    if isinstance(source, TensorDataset) and len(source.tensors) == 2:
        return find_arrays(source.tensors, wish)
    x, y = _read(called, source, wish)
    return from_arrays(called, {"all": x}, {"all": y}, _names(source), wish)


def find_torch_pair(train: Dataset[Any], test: Dataset[Any], wish: Wish) -> Found:
    """Two data sets as the parts "train" and "test"; where both name their `classes`, labels mean the same names.

    Raises what `find_torch` raises, `DataError` where they differ.
    """
    called = "opening two torch data sets"
    (x, y), (x_test, y_test) = (_read(called, source, wish) for source in (train, test))
    names, its = _names(train), _names(test)
    if names is not None and its is not None:
        y_test = renumbered(called, "test", y_test, its, names)
    return from_arrays(called, {"train": x, "test": x_test}, {"train": y, "test": y_test}, names, wish)


def _read(called: str, source: Dataset[Any], wish: Wish) -> tuple[NDArray[Any], NDArray[Any]]:
    """All rows and labels of `source`, as they come."""
    if isinstance(source, TensorDataset) and len(source.tensors) == 2:
        x, y = (as_array(called, tensor) for tensor in source.tensors)
        return x, y
    blocks, labels = [], []
    for x, y in _blocks(called, source, wish):
        if blocks and (x.shape[1:] != blocks[0].shape[1:] or x.dtype != blocks[0].dtype):
            raise DataError(
                called,
                received=f"items of shape {list(blocks[0].shape[1:])} and later of shape {list(x.shape[1:])} "
                f"({blocks[0].dtype}, {x.dtype})",
                expected="items of one shape and one range (0..255 or 0..1)",
                remedy="resize in the data set's transform, or pass size and mode where the items are Pillow images",
            )
        blocks.append(x)
        labels.append(y)
    if not blocks:
        raise SourceError(
            called, received="no items", expected="at least two items a class",
            remedy="check that the data set is not empty",
        )  # fmt: skip
    return np.concatenate(blocks), np.concatenate(labels)


def _blocks(called: str, source: Dataset[Any], wish: Wish) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    xs, ys = [], []
    total = len(cast(Sized, source)) if hasattr(source, "__len__") else 0
    with progress(called, float(total or 1)) as tick:
        row = -1
        for row, item in enumerate(_items(source)):
            if not isinstance(item, (tuple, list)) or len(item) != 2:
                raise SourceError(
                    called,
                    received=f"item {row} is a {type(item).__name__}"
                    + (f" of {len(item)}" if isinstance(item, (tuple, list)) else ""),
                    expected="items (x, y): a row and its class number",
                    remedy="wrap the data set so that it returns (x, y), or give arrays",
                )
            xs.append(_row(called, item[0], wish))
            ys.append(_label(called, item[1]))
            if len(xs) == BLOCK_ROWS:
                yield _stack(called, xs, row + 1 - len(xs)), np.asarray(ys)
                xs, ys = [], []
                tick(float(row))
        if xs:
            yield _stack(called, xs, row + 1 - len(xs)), np.asarray(ys)


def _items(source: Dataset[Any]) -> Iterator[Any]:
    if isinstance(source, IterableDataset):
        yield from source
    else:
        for row in range(len(cast(Sized, source))):
            yield source[row]


def _row(called: str, x: Any, wish: Wish) -> NDArray[Any]:
    if isinstance(x, Image.Image):
        mode = wish.mode or ("gray" if x.mode in ("1", "L", "LA", "I;16", "I") else "rgb")
        return to_array(x, wish.size or (x.height, x.width), mode)
    return as_array(called, x)


def _label(called: str, y: Any) -> Any:
    if not isinstance(y, torch.Tensor):
        return y
    return y.item() if y.numel() == 1 else as_array(called, y)


def _stack(called: str, rows: list[NDArray[Any]], start: int) -> NDArray[Any]:
    shapes = sorted({row.shape for row in rows})
    if len(shapes) > 1:
        raise DataError(
            called,
            received=f"items of {len(shapes)} shapes, such as {list(shapes[0])} and {list(shapes[-1])}",
            expected="items of one shape",
            remedy="resize in the data set's transform, or pass size and mode where the items are Pillow images",
        )
    block = np.stack(rows)
    require_finite(called, "all", block, start)
    unit = block.dtype.kind == "f" and block.ndim > 2 and block.min() >= 0 and block.max() <= 1
    return np.rint(block * 255).astype(np.uint8) if unit else block


def _names(source: Dataset[Any]) -> tuple[str, ...] | None:
    names = getattr(source, "classes", None)
    if isinstance(names, (list, tuple)) and names and all(isinstance(name, str) for name in names):
        return tuple(names)
    return None
