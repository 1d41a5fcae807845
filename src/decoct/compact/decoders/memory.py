"""The storage `bases`: every row is a weighted sum of a few images that all rows share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from decoct.compact.decoders.cells import MAX_ENLARGEMENT, upsampling
from decoct.compact.decoders.values import FLOAT_TYPES, LEVELS, check_pixels, dequantise
from decoct.errors import ConfigError, DataError


def bases(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any], rows: Integer[Tensor, " r"] | None = None
) -> Float[Tensor, "r ..."]:
    """`x_j = sum_k coefficients[j, k] U(bases[k])`: `bases` `[K, c, h', w']` (or `[K, d]`), `coefficients` `[m, K]`.

    `U` enlarges to `config["size"]` = `[h, w]` by bilinear interpolation with half pixel centres
    (`align_corners=False`) and the border repeated, sides apart; features are not enlarged. Because `U` is linear the
    bases are enlarged instead of the rows. Numbers of 8 bits: `low[c] + step[c] * q` for the bases, and
    `coefficient_low[k] + coefficient_step[k] * q` for the coefficients.

    Deng, Russakovsky, "Remember the Past: Distilling Datasets into Addressable Memories for Neural Networks",
    NeurIPS 2022, https://arxiv.org/abs/2206.02916,
    https://github.com/princetonvisualai/RememberThePast-DatasetDistillation.
    Cost: O(K c h w (h' + w') + r K c h w).
    """
    images = enlarged_bases(tensors, config)
    weights = coefficients(tensors, None if rows is None else rows.to(images.device))
    return (weights @ images.flatten(1)).reshape(len(weights), *images.shape[1:])


def query_bases(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any], vector: Float[Tensor, " classes"]
) -> Float[Tensor, "r ..."]:
    """The rows that any vector over the classes addresses: `x_i = vector^T A_i U(bases)`, one for each row of a class.

    `A_i = coefficients[i::r]` `[C, K]`, the i-th row of every class; rows are grouped by class, `r` of each. Raises
    `ConfigError` for a vector that is not as long as there are classes.
    """
    given, width = coefficients(tensors), len(vector)
    if width == 0 or len(given) % width:
        raise ConfigError(
            "querying bases",
            received=f"a vector of {width} entries for {len(given)} rows of coefficients",
            expected="one entry for each class",
            remedy="pass a vector as long as there are classes",
        )
    mixed = torch.einsum("c,crk->rk", vector.to(given), given.reshape(width, -1, given.shape[1]))
    images = enlarged_bases(tensors, config)
    return (mixed @ images.flatten(1)).reshape(len(mixed), *images.shape[1:])


def enlarged_bases(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> Float[Tensor, "k ..."]:
    """The bases as float32 at the size of the rows."""
    names = {"bases": "pixels", "low": "low", "step": "step"}
    small = dequantise({to: tensors[name] for name, to in names.items() if name in tensors})
    if small.ndim == 2:
        return small
    down, across = (
        upsampling(source, int(target)).to(small.device)
        for source, target in zip(small.shape[2:], config["size"], strict=True)
    )
    return down @ small @ across.T


def coefficients(tensors: Mapping[str, Tensor], rows: Integer[Tensor, " r"] | None = None) -> Float[Tensor, "r k"]:
    """The coefficients as float32, of `rows` or of all."""
    stored = tensors["coefficients"] if rows is None else tensors["coefficients"][rows]
    if "coefficient_low" not in tensors:
        return stored.float()
    return tensors["coefficient_low"] + tensors["coefficient_step"] * stored.float()


def quantise_columns(values: Float[Tensor, "m k"], bits: int) -> dict[str, Tensor]:
    """The stored tensors of coefficients in 8, 16 or 32 bits a value.

    16 and 32 are float16 and float32. 8 bits: the range of each column in 255 equal steps, `coefficient_low` and
    `coefficient_step` `[k]` float32; the error is at most half a step. Raises `ConfigError` for other bits,
    `DataError` for values that are not finite as stored.
    """
    values = values.detach().float().cpu()
    if bits not in (8, *FLOAT_TYPES):
        raise ConfigError(
            "storing coefficients", received=f"{bits} bits", expected="8, 16 or 32 bits", remedy="choose 8 bits"
        )
    if bits == 8:
        low, high = values.amin(0), values.amax(0)
        step = (high - low) / LEVELS
        safe = torch.where(step > 0, step, torch.ones_like(step))
        levels = ((values - low) / safe).round().clamp(0, LEVELS).to(torch.uint8)
        stored = {"coefficients": levels, "coefficient_low": low, "coefficient_step": step}
    else:
        stored = {"coefficients": values.to(FLOAT_TYPES[bits])}
    if not all(bool(torch.isfinite(tensor).all()) for tensor in (values, *stored.values())):
        raise DataError(
            f"storing coefficients of shape {tuple(values.shape)} in {bits} bits",
            received="NaN, infinity, or a value too large for the type",
            expected="finite values" + (" of at most 65504 in size" if bits == 16 else ""),
            remedy="lower the learning rate, or choose 32 bits",
        )
    return stored


def bases_rows(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> int:
    """How many rows these make; raises `ConfigError` where they do not fit together."""
    of_rows = {name: tensor for name, tensor in tensors.items() if name.startswith("coefficient")}
    shared = {"pixels" if name == "bases" else name: tensor for name, tensor in tensors.items() if name not in of_rows}
    check_pixels("bases", shared)
    shape = tuple(shared["pixels"].shape)
    if not _fits_columns(of_rows, shape[0]) or not _fits_size(config, shape):
        listed = ", ".join(f"{name} {tensor.dtype} {tuple(tensor.shape)}" for name, tensor in sorted(tensors.items()))
        raise ConfigError(
            "reading a set stored as 'bases'",
            received=f"{listed}; size {config.get('size')!r}",
            expected=f"coefficients [m, {shape[0]}] in float16 or float32, or uint8 with coefficient_low and "
            f"coefficient_step [{shape[0]}]; for images a size [h, w] no smaller than the bases, of a usual size",
            remedy="check the tensors and the config of the set",
        )
    return len(of_rows["coefficients"])


def _fits_columns(tensors: Mapping[str, Tensor], count: int) -> bool:
    stored = tensors.get("coefficients")
    if stored is None or stored.ndim != 2 or stored.shape[1] != count or count < 1:
        return False
    if stored.dtype != torch.uint8:
        return set(tensors) == {"coefficients"} and stored.dtype in FLOAT_TYPES.values()
    scales = ("coefficient_low", "coefficient_step")
    return set(tensors) == {"coefficients", *scales} and all(
        tuple(tensors[name].shape) == (count,) and tensors[name].dtype == torch.float32 for name in scales
    )


def _fits_size(config: Mapping[str, Any], shape: tuple[int, ...]) -> bool:
    if len(shape) == 2:
        return "size" not in config
    size = config.get("size")
    if not isinstance(size, list | tuple) or len(size) != 2 or not all(type(side) is int for side in size):
        return False
    (count, channels, *small), (height, width) = shape, size
    grows = all(0 < source <= target for source, target in zip(small, size, strict=True))
    entries = count * channels * height * width + height * small[0] + width * small[1]
    return grows and entries <= MAX_ENLARGEMENT
