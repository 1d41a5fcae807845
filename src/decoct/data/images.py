"""One picture: from the bytes of a file to uint8 `[c, h, w]`, upright, opaque, of the size and mode asked for."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

UNREADABLE = (
    OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, AttributeError, OverflowError,
    MemoryError, RuntimeError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow raises for bytes that are not a whole picture, depending on the format and on where they break."""

KEEP_SIDE = 256
_GRAY = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"}
_SIDEWAYS = {5, 6, 7, 8}
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Look:
    """What the header of a picture says: height and width in pixels, upright, and whether it is gray."""

    height: int
    width: int
    gray: bool


def look(picture: Path | bytes) -> Look:
    """Read the header of a picture; raises one of `UNREADABLE`."""
    with Image.open(_stream(picture)) as image:
        width, height = image.size
        # Of a TIFF Pillow already gives the size that it has upright.
        if image.format != "TIFF" and image.getexif().get(_ORIENTATION) in _SIDEWAYS:
            width, height = height, width
        return Look(height, width, image.mode in _GRAY)


def decode(picture: Path | bytes, size: tuple[int, int], mode: str) -> NDArray[np.uint8]:
    """The picture as uint8 `[c, height, width]`; raises one of `UNREADABLE`.

    It is turned upright (EXIF), laid over white where transparent, and, where its size differs, scaled to cover
    `size` and cropped at the centre, so that proportions are kept.
    """
    with Image.open(_stream(picture)) as image:
        if image.format in ("JPEG", "MPO"):
            side = 2 * max(size)
            image.draft(None, (side, side))
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return to_array(image, size, mode)


def to_array(image: Image.Image, size: tuple[int, int], mode: str) -> NDArray[np.uint8]:
    """A Pillow image as uint8 `[c, height, width]`."""
    flat = _flat(image, mode)
    height, width = size
    if flat.size != (width, height):
        flat = ImageOps.fit(flat, (width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(flat)
    return pixels[None].copy() if mode == "gray" else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def refit(rows: NDArray[np.uint8], size: tuple[int, int], mode: str) -> NDArray[np.uint8]:
    """Images `[n, c, h, w]` already decoded, brought to another size or mode: `[n, c', height, width]`."""
    flat = (row[0] if len(row) == 1 else np.ascontiguousarray(row.transpose(1, 2, 0)) for row in rows)
    return np.stack([to_array(Image.fromarray(row), size, mode) for row in flat])


def common_look(
    looks: list[Look], size: tuple[int, int] | None, mode: str | None
) -> tuple[tuple[int, int], str, list[str]]:
    """Size, mode and notices for pictures that look so, where the caller left `size` or `mode` open.

    Equal sizes up to 256 pixels are kept. Otherwise a square is chosen: 64 where the median of the shorter sides is
    at least 64, else 32; a notice says so. Colour is kept as soon as one picture has it.
    """
    notices = []
    if mode is None:
        grays = sum(one.gray for one in looks)
        mode = "gray" if grays == len(looks) else "rgb"
        if mode == "rgb" and grays:
            notices.append(
                f"{grays} of {len(looks)} images are gray and were turned to colour (mode='gray' for all gray)"
            )
    if size is None:
        sizes = Counter((one.height, one.width) for one in looks)
        size, usual = sizes.most_common(1)[0][0], sizes.most_common(1)[0][0]
        if len(sizes) > 1 or max(size) > KEEP_SIDE:
            side = 64 if median(min(pair) for pair in sizes.elements()) >= 64 else 32
            size = (side, side)
            what = f"have {len(sizes)} different sizes" if len(sizes) > 1 else "are large"
            notices.append(
                f"images {what} (most often {usual[0]}x{usual[1]}) and were scaled and cropped to {side}x{side}; "
                "choose another with size"
            )
    return size, mode, notices


def _stream(picture: Path | bytes) -> Path | BytesIO:
    return BytesIO(picture) if isinstance(picture, bytes) else picture


def _flat(image: Image.Image, mode: str) -> Image.Image:
    """`image` as Pillow's "L" or "RGB", eight bits, opaque."""
    if image.mode == "F":
        raise ValueError("pixels are floating-point numbers of unknown range")
    if image.mode.startswith("I"):
        # Pillow clips 16-bit gray at 255 when it converts; the high byte is meant.
        wide = np.asarray(image).astype(np.int64).clip(0, 65535)
        image = Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    elif image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        clear = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
    return image.convert("L" if mode == "gray" else "RGB")
