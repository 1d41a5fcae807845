"""From stored tensors to network inputs: one plain function for each storage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Integer, Shaped
from torch import Tensor

from decoct.errors import ConfigError, DataError
from decoct.registry import Registry

DECODERS = Registry(
    "decoder",
    {
        "pixels": "decoct.compact.decoders:pixels",
        "multiformation": "decoct.compact.decoders:multiformation",
    },
)
"""name -> `function(tensors, config, rows=None) -> network inputs [r, ...]` float32, of all rows where `rows` is None.

A decoder is differentiable with respect to its float tensors, so that the same function serves learning and reading.
"""

DECODER_TENSORS = frozenset({"low", "step"})
"""Stored tensors that are no images: their bytes are counted as the decoder's."""

_FLOAT_TYPES = {16: torch.float16, 32: torch.float32}
_LEVELS = 255
_MAX_ENLARGEMENT = 1 << 28
"""Entries of the matrices that enlarge cells; far above any sensible image, so more is an attack."""


def pixels(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any], rows: Integer[Tensor, " r"] | None = None
) -> Float[Tensor, "r ..."]:
    """Rows kept as they are: `pixels` `[m, c, h, w]` or `[m, d]` in float16 or float32, or 8-bit images.

    8 bits: `x = low[c] + step[c] * q` for each channel.
    """
    return dequantise(tensors, rows)


def multiformation(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any], rows: Integer[Tensor, " r"] | None = None
) -> Float[Tensor, "r c h w"]:
    """Each stored image `[c, h, w]` is a grid of f x f smaller ones (`config["factor"]` = f), each seen enlarged.

    Row `r = s f^2 + i f + j` is cell (i, j) of stored image s: the rows of pixels from `floor(i h / f)` up to, not
    including, `floor((i + 1) h / f)`, the columns likewise, enlarged to `[h, w]` by bilinear interpolation with half
    pixel centres (`align_corners=False`) and the cell's own border repeated. The cells tile the image.

    Kim et al., "Dataset Condensation via Efficient Synthetic-Data Parameterization", ICML 2022,
    https://arxiv.org/abs/2205.14959, https://github.com/snu-mllab/efficient-dataset-condensation. There an image
    whose sides f does not divide is padded with 0.5 first, here cells differ in size by one pixel instead, so that
    no stored value is wasted. Interpolation is separable, so it is done as two products `A_i X B_j^T`: exact,
    batched over any rows, and the same bits in the backward pass on every run, also on a GPU.
    Cost: O(r c h w (h + w)).
    """
    factor = int(config["factor"])
    count, (height, width) = len(tensors["pixels"]) * factor**2, tensors["pixels"].shape[2:]
    device = tensors["pixels"].device
    row = torch.arange(count, device=device) if rows is None else rows.to(device)
    image, cell = row // factor**2, row % factor**2
    down = enlargement(height, factor).to(device)[cell // factor]
    across = enlargement(width, factor).to(device)[cell % factor]
    whole = dequantise(tensors, image)
    return down.unsqueeze(1) @ whole @ across.transpose(1, 2).unsqueeze(1)


def enlargement(size: int, factor: int) -> Float[Tensor, "f size size"]:
    """For each of the `factor` cells along a side of `size` pixels, the matrix that enlarges the cell to that side."""
    matrices = torch.zeros(factor, size, size)
    target = torch.arange(size)
    for cell in range(factor):
        start, stop = cell * size // factor, (cell + 1) * size // factor
        place = ((target + 0.5) * (stop - start) / size - 0.5).clamp(0, stop - start - 1)
        below = place.floor().long()
        above = (below + 1).clamp(max=stop - start - 1)
        share = place - below
        matrices[cell, target, start + below] += 1 - share
        matrices[cell, target, start + above] += share
    return matrices


def quantise(values: Float[Tensor, "m ..."], bits: int) -> dict[str, Tensor]:
    """The stored tensors of network inputs `[m, ...]`: `pixels` in 8, 16 or 32 bits a value.

    16 and 32 are float16 and float32. 8 is for images `[m, c, h, w]` only: each channel's range in 255 equal steps,
    `q = round((x - low) / step)` with `low = min` and `step = (max - min) / 255`, all `[c]` float32; the error is at
    most `step / 2`. Raises `ConfigError` for other bits, `DataError` for values that are not finite as stored.
    """
    values = values.detach().float().cpu()
    if bits not in (8, *_FLOAT_TYPES) or (bits == 8 and values.ndim != 4):
        raise ConfigError(
            f"storing rows of shape {tuple(values.shape)} in {bits} bits",
            received=f"{bits} bits for {'images' if values.ndim == 4 else 'features'}",
            expected="8, 16 or 32 bits for images [m, c, h, w]; 16 or 32 for features [m, d]",
            remedy="choose 16 bits",
        )
    if bits == 8:
        low, high = values.amin((0, 2, 3)), values.amax((0, 2, 3))
        step = (high - low) / _LEVELS
        safe = torch.where(step > 0, step, torch.ones_like(step)).reshape(1, -1, 1, 1)
        levels = ((values - low.reshape(1, -1, 1, 1)) / safe).round()
        stored = {"pixels": levels.clamp(0, _LEVELS).to(torch.uint8), "low": low, "step": step}
    else:
        stored = {"pixels": values.to(_FLOAT_TYPES[bits])}
    if not all(bool(torch.isfinite(tensor).all()) for tensor in (values, *stored.values())):
        raise DataError(
            f"storing rows of shape {tuple(values.shape)} in {bits} bits",
            received="NaN, infinity, or a value too large for the type",
            expected="finite values" + (" of at most 65504 in size" if bits == 16 else ""),
            remedy="lower the learning rate, or choose 32 bits",
        )
    return stored


def dequantise(tensors: Mapping[str, Tensor], rows: Integer[Tensor, " r"] | None = None) -> Float[Tensor, "r ..."]:
    """Stored values as float32, of `rows` or of all."""
    stored: Shaped[Tensor, "r ..."] = tensors["pixels"]
    if rows is not None:
        stored = stored[rows.to(stored.device)]
    if "low" not in tensors:
        return stored.float()
    low, step = (tensors[name].reshape(1, -1, 1, 1) for name in ("low", "step"))
    return low + step * stored.float()


def row_count(storage: str, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> int | None:
    """How many rows the stored tensors decode to; None for a storage of another package.

    Raises `ConfigError` where tensors and config do not make a set of that storage.
    """
    if storage not in ("pixels", "multiformation"):
        return None
    _check_pixels(storage, tensors)
    count = len(tensors["pixels"])
    if storage == "pixels":
        return count
    factor: Any = config.get("factor")
    shape = tuple(tensors["pixels"].shape)
    whole = type(factor) is int and len(shape) == 4
    if not whole or not 1 <= factor <= min(shape[2:]) or factor * (shape[2] ** 2 + shape[3] ** 2) > _MAX_ENLARGEMENT:
        raise ConfigError(
            "reading a set stored as 'multiformation'",
            received=f"factor {factor!r} for stored images of shape {shape}",
            expected="a whole number from 1 to the shorter side, and images [s, c, h, w] of a usual size",
            remedy="check the config of the set",
        )
    return count * factor**2


def _check_pixels(storage: str, tensors: Mapping[str, Tensor]) -> None:
    stored = tensors.get("pixels")
    names = {"pixels", "low", "step"} if stored is not None and stored.dtype == torch.uint8 else {"pixels"}
    fits = stored is not None and set(tensors) == names and stored.ndim in (2, 4)
    if fits and stored is not None and stored.dtype == torch.uint8:
        channels = (stored.shape[1],)
        fits = stored.ndim == 4 and all(
            tuple(tensors[name].shape) == channels and tensors[name].dtype == torch.float32 for name in ("low", "step")
        )
    elif fits and stored is not None:
        fits = stored.dtype in _FLOAT_TYPES.values()
    if not fits:
        listed = ", ".join(f"{name} {tensor.dtype} {tuple(tensor.shape)}" for name, tensor in sorted(tensors.items()))
        raise ConfigError(
            f"reading a set stored as {storage!r}",
            received=listed or "no tensors",
            expected="pixels in float16 or float32 [m, c, h, w] or [m, d]; or uint8 [m, c, h, w] with low and step [c]",
            remedy="make the tensors with decoct.compact.decoders.quantise",
        )
