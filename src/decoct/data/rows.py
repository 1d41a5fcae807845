"""Arrays of any usual layout and number type, turned into raw rows: uint8 `[n, c, h, w]` or float32 `[n, d]`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decoct.data.blocks import row_blocks
from decoct.data.checks import require_finite
from decoct.data.found import MODES, Wish
from decoct.data.images import refit
from decoct.errors import ConfigError, DataError
from decoct.machine import require_memory

CHANNELS = (1, 3)


@dataclass(frozen=True)
class Layout:
    """How images lie in an array: where the channels are, and what the values are multiplied by to reach 0..255."""

    channels: str
    """"none" `[n, h, w]`, "first" `[n, c, h, w]` or "last" `[n, h, w, c]`."""
    scale: float


def raw_parts(
    called: str, parts: Mapping[str, NDArray[Any]], wish: Wish
) -> tuple[dict[str, NDArray[np.generic]], list[str]]:
    """Raw rows of each part, all in one layout, and notices.

    Two axes are features; three or four are images, values 0..255, or 0..1 as floats. Images that already are uint8
    are not copied. Raises `DataError` for other shapes, types, ranges and for NaN, `ConfigError` for `size` or `mode`
    on features.
    """
    _require_alike(called, parts)
    for part, x in parts.items():
        require_finite(called, part, x)
    if next(iter(parts.values())).ndim == 2:
        if wish.size is not None or wish.mode is not None:
            raise ConfigError(
                called, received=f"size={wish.size} and mode={wish.mode!r} for a table of features",
                expected="images, or neither size nor mode", remedy="leave size and mode out",
            )  # fmt: skip
        return {part: _features(called, part, x) for part, x in parts.items()}, []
    layout, notices = _layout(called, parts)
    return {part: _images(x, layout, wish) for part, x in parts.items()}, notices


def _require_alike(called: str, parts: Mapping[str, NDArray[Any]]) -> None:
    first = next(iter(parts.values()))
    shapes = ", ".join(f"{part} {list(x.shape)}" for part, x in parts.items())
    kinds = ", ".join(f"{part} {x.dtype}" for part, x in parts.items())
    if first.ndim not in (2, 3, 4) or any(x.shape[1:] != first.shape[1:] for x in parts.values()) or not first[:1].size:
        raise DataError(
            called,
            received=f"rows of shape {shapes}",
            expected="images [n, h, w], [n, h, w, c], [n, c, h, w] or features [n, d], alike in every part",
            remedy="bring all rows to one shape; other shapes can be flattened to [n, d]",
        )
    if any(x.dtype.kind not in "iubf" for x in parts.values()):
        raise DataError(
            called, received=f"rows of type {kinds}", expected="numbers: integers, floats or booleans",
            remedy="convert the rows with .astype(np.float32)",
        )  # fmt: skip


def _features(called: str, part: str, x: NDArray[Any]) -> NDArray[np.float32]:
    if x.dtype != np.float32 or not x.flags.c_contiguous:
        require_memory(
            f"{called}: {part!r} as float32", needed=4 * x.size,
            remedy="save the table row after row as float32, which can stay on disk",
        )  # fmt: skip
    with np.errstate(over="ignore"):
        rows = np.ascontiguousarray(x, dtype=np.float32)
    if rows.dtype != x.dtype:
        require_finite(called, f"{part} as float32", rows)
    return rows


def _layout(called: str, parts: Mapping[str, NDArray[Any]]) -> tuple[Layout, list[str]]:
    first = next(iter(parts.values()))
    channels, notices = _channels(called, first.shape)
    if all(x.dtype == np.uint8 for x in parts.values()):
        return Layout(channels, 1.0), notices
    if all(x.dtype == np.bool_ for x in parts.values()):
        return Layout(channels, 255.0), notices
    low = min(float(block.min()) for x in parts.values() for block in row_blocks(x))
    high = max(float(block.max()) for x in parts.values() for block in row_blocks(x))
    if low < 0 or high > 255:
        raise DataError(
            called,
            received=f"image values from {low:g} to {high:g}",
            expected="values from 0 to 255, or from 0 to 1 as floats",
            remedy="undo any normalisation (decoct fits its own on the training images), or give features [n, d]",
        )
    floats = any(x.dtype.kind == "f" for x in parts.values())
    if len({"f" if x.dtype.kind == "f" else "b" if x.dtype.kind == "b" else "i" for x in parts.values()}) > 1:
        raise DataError(
            called,
            received="images of " + ", ".join(f"{part} {x.dtype} up to {x.max():g}" for part, x in parts.items()),
            expected="numbers of one kind and one range in every part",
            remedy="convert one part, such as np.rint(255 * x).astype(np.uint8) for floats from 0 to 1",
        )
    unit = floats and high <= 1
    if floats:
        notices.append(f"image values {low:g}..{high:g} were rounded to 256 steps{' of 1/255' if unit else ''}")
    return Layout(channels, 255.0 if unit else 1.0), notices


def _channels(called: str, shape: tuple[int, ...]) -> tuple[str, list[str]]:
    if len(shape) == 3:
        return "none", []
    first, last = shape[1] in CHANNELS, shape[3] in CHANNELS
    if first and last:
        return "first", [f"rows of shape {list(shape[1:])} were read as [channels, height, width]"]
    if first or last:
        return "first" if first else "last", []
    raise DataError(
        called,
        received=f"images of shape {list(shape[1:])}",
        expected="1 or 3 channels, first [c, h, w] or last [h, w, c]",
        remedy="drop the alpha channel or choose three bands; other data can be flattened to features [n, d]",
    )


def _images(x: NDArray[Any], layout: Layout, wish: Wish) -> NDArray[np.uint8]:
    rows = _channels_first(x, layout)
    size = wish.size or (rows.shape[2], rows.shape[3])
    mode = wish.mode or ("gray" if rows.shape[1] == 1 else "rgb")
    shape = (MODES[mode], *size)
    if rows.dtype == np.uint8 and rows.shape[1:] == shape:
        return rows
    require_memory(
        f"bringing {len(rows)} images to {size[0]}x{size[1]}",
        needed=len(rows) * math.prod(shape),
        remedy="choose a smaller size, such as --size 64, or convert the rows to uint8 beforehand",
    )
    out = np.empty((len(rows), *shape), np.uint8)
    start = 0
    for block in row_blocks(rows):
        whole = _rounded(block, layout.scale)
        out[start : start + len(block)] = whole if whole.shape[1:] == shape else refit(whole, size, mode)
        start += len(block)
    return out


def _channels_first(x: NDArray[Any], layout: Layout) -> NDArray[Any]:
    if layout.channels == "none":
        return x[:, None]
    return x if layout.channels == "first" else np.moveaxis(x, 3, 1)


def _rounded(block: NDArray[Any], scale: float) -> NDArray[np.uint8]:
    return np.asarray(block if block.dtype == np.uint8 else np.rint(block.astype(np.float32) * scale), np.uint8)
