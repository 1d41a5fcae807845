"""A picture of a set: one row of images for each class."""

from __future__ import annotations

import io

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import Image
from torch import Tensor

PER_CLASS = 10
MAX_CLASSES = 100
_SIDE = 48
_GAP = 2
_BACKGROUND = 255


def preview_png(pictures: UInt8[Tensor, "m h w c"], classes: Int64[Tensor, " m"]) -> bytes:
    """PNG of a grid: class rows in label order (at most the first 100 present), the first 10 images of each.

    Small images are enlarged by a whole factor to about 48 pixels, without smoothing, so that every stored pixel
    shows; of images above 96 pixels every k-th pixel is shown, so that the file stays small.
    """
    thin = -(-max(pictures.shape[1:3]) // (2 * _SIDE))
    pictures = pictures[:, ::thin, ::thin]
    present = torch.unique(classes).tolist()[:MAX_CLASSES]
    rows = [torch.nonzero(classes == label).flatten()[:PER_CLASS].tolist() for label in present]
    factor = max(1, _SIDE // max(pictures.shape[1:3]))
    height, width = (factor * int(side) for side in pictures.shape[1:3])
    across = max(len(row) for row in rows)
    shape = (len(rows) * (height + _GAP) + _GAP, across * (width + _GAP) + _GAP, int(pictures.shape[3]))
    grid = np.full(shape, _BACKGROUND, dtype=np.uint8)
    for line, row in enumerate(rows):
        for column, index in enumerate(row):
            top, left = _GAP + line * (height + _GAP), _GAP + column * (width + _GAP)
            tile = pictures[index].numpy().repeat(factor, axis=0).repeat(factor, axis=1)
            grid[top : top + height, left : left + width] = tile
    return png_bytes(torch.from_numpy(grid))


def png_bytes(picture: UInt8[Tensor, "h w c"]) -> bytes:
    """One picture as PNG: grey for one channel, RGB for three; other counts show the mean of the channels."""
    pixels = picture.numpy()
    if pixels.shape[2] not in (1, 3):
        pixels = pixels.mean(axis=2, keepdims=True).round().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(buffer, format="PNG")
    return buffer.getvalue()
