"""The pictures of a `DetectionSet` at one size, proportions kept, with the boxes that go with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps
from torch import Tensor

from decoct.data.detection.detection_set import DetectionSet
from decoct.data.images import UNREADABLE
from decoct.errors import SourceError
from decoct.machine import require_memory
from decoct.progress import progress


@dataclass(frozen=True, eq=False)
class Pictures:
    """Every image scaled into the upper left of one canvas; what is left over is black."""

    pixels: UInt8[Tensor, "n 3 h w"]
    scale: Float[Tensor, " n"]
    """Pixels of the canvas for one of the image: boxes times this are boxes on the canvas."""


def load_pictures(data: DetectionSet, size: tuple[int, int]) -> Pictures:
    """Decode all images in colour into a canvas of `size` (height, width).

    A picture is turned only where the size in the json is that of the turned one: boxes count pixels as the json does.
    Raises `SourceError` naming images that are not whole, `MemoryEstimateError`.
    """
    height, width = size
    require_memory(
        f"decoding {len(data)} images to {height}x{width}",
        needed=3 * len(data) * height * width,
        remedy="choose a smaller size, such as --size 96x128",
    )
    scale = torch.tensor(size).div(data.sizes).amin(1)
    pixels = torch.zeros(len(data), 3, height, width, dtype=torch.uint8)
    bad = []
    with progress(f"decoding {len(data)} images", float(len(data))) as tick:
        for row, path in enumerate(data.images):
            own = [int(side) for side in data.sizes[row]]
            inner = [max(1, round(side * float(scale[row]))) for side in own]
            try:
                found = _decode(path, (own[0], own[1]), (min(inner[0], height), min(inner[1], width)))
                pixels[row, :, : found.shape[1], : found.shape[2]] = found
            except UNREADABLE as error:
                bad.append(f"{path.name} ({' '.join(str(error).split())[:80]})")
            tick(float(row + 1))
    if bad:
        raise SourceError(
            f"decoding the images of {data.source}",
            received=f"{len(bad)} of {len(data)} that are not whole: {', '.join(bad[:5])}",
            expected="whole image files",
            remedy="repair them, or remove them and pass skip_bad=True (--skip-bad)",
        )
    return Pictures(pixels, scale)


def _decode(path: Path, own: tuple[int, int], inner: tuple[int, int]) -> UInt8[Tensor, "3 _ _"]:
    with Image.open(path) as image:
        upright = image if (image.height, image.width) == own else ImageOps.exif_transpose(image)
        small = upright.convert("RGB").resize((inner[1], inner[0]), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return torch.from_numpy(np.asarray(small).transpose(2, 0, 1).copy())
