"""The storage `multiformation`: a grid of small images in every stored one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from decoct.compact.decoders.values import check_pixels, dequantise
from decoct.errors import ConfigError

MAX_ENLARGEMENT = 1 << 28
"""Entries of the matrices that enlarge images; far above any sensible image, so more is an attack."""


def multiformation(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any], rows: Integer[Tensor, " r"] | None = None
) -> Float[Tensor, "r c h w"]:
    """Each stored image `[c, p, q]` is a grid of f x f smaller ones (`config["factor"]` = f), each seen enlarged.

    Row `r = s f^2 + i f + j` is cell (i, j) of stored image s: the rows of pixels from `floor(i p / f)` up to, not
    including, `floor((i + 1) p / f)`, the columns likewise, enlarged to `[h, w]` (`config["size"]`, by default that of
    the stored image) by bilinear interpolation with half pixel centres (`align_corners=False`) and the cell's own
    border repeated. The cells tile the image.

    Kim et al., "Dataset Condensation via Efficient Synthetic-Data Parameterization", ICML 2022,
    https://arxiv.org/abs/2205.14959, https://github.com/snu-mllab/efficient-dataset-condensation. There an image
    whose sides f does not divide is padded with 0.5 first, here cells differ in size by one pixel instead, so that
    no stored value is wasted. Interpolation is separable, so it is done as two products `A_i X B_j^T`: exact,
    batched over any rows, and the same bits in the backward pass on every run, also on a GPU.
    Cost: O(r c h w (h + w)).
    """
    factor = int(config["factor"])
    count, stored = len(tensors["pixels"]) * factor**2, tensors["pixels"].shape[2:]
    height, width = config.get("size", stored)
    device = tensors["pixels"].device
    row = torch.arange(count, device=device) if rows is None else rows.to(device)
    image, cell = row // factor**2, row % factor**2
    down = enlargement(stored[0], factor, height).to(device)[cell // factor]
    across = enlargement(stored[1], factor, width).to(device)[cell % factor]
    whole = dequantise(tensors, image)
    return down.unsqueeze(1) @ whole @ across.transpose(1, 2).unsqueeze(1)


def upsampling(source: int, target: int) -> Float[Tensor, "target source"]:
    """The matrix that enlarges a side of `source` pixels to `target`: bilinear, half pixel centres, border repeated."""
    matrix = torch.zeros(target, source)
    pixel = torch.arange(target)
    place = ((pixel + 0.5) * source / target - 0.5).clamp(0, source - 1)
    below = place.floor().long()
    above = (below + 1).clamp(max=source - 1)
    matrix[pixel, below] += 1 - (place - below)
    matrix[pixel, above] += place - below
    return matrix


def enlargement(stored: int, factor: int, size: int | None = None) -> Float[Tensor, "f size stored"]:
    """For each of the `factor` cells along a side of `stored` pixels, the matrix that enlarges the cell to `size`.

    Without a size, to the length of the whole side.
    """
    size = stored if size is None else size
    matrices = torch.zeros(factor, size, stored)
    for cell in range(factor):
        start, stop = cell * stored // factor, (cell + 1) * stored // factor
        matrices[cell, :, start:stop] = upsampling(stop - start, size)
    return matrices


def multiformation_rows(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> int:
    """How many rows these make; raises `ConfigError` where they do not fit together."""
    check_pixels("multiformation", tensors)
    count = len(tensors["pixels"])
    factor: Any = config.get("factor")
    shape = tuple(tensors["pixels"].shape)
    size: Any = config.get("size", list(shape[2:]))
    whole = type(factor) is int and len(shape) == 4
    sized = isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)
    if (
        not whole
        or not sized
        or not 1 <= factor <= min(shape[2:])
        or factor * (shape[2] * size[0] + shape[3] * size[1]) > MAX_ENLARGEMENT
    ):
        raise ConfigError(
            "reading a set stored as 'multiformation'",
            received=f"factor {factor!r} and size {size!r} for stored images of shape {shape}",
            expected="a factor from 1 to the shorter side, images [s, c, p, q] and a size [h, w] that are usual",
            remedy="check the config of the set",
        )
    return count * factor**2
