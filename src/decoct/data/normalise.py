"""Fitting the transform of a data set on its training rows: standardisation, and ZCA whitening after it."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float64
from numpy.typing import NDArray

from decoct.data.blocks import row_blocks
from decoct.data.transform import Standardise, Zca
from decoct.errors import ConfigError

ZCA_REG = 0.1
ZCA_WIDEST = 3072


def fit_standardise(x: NDArray[np.generic]) -> Standardise:
    """Mean and standard deviation over training rows: per channel of images (in units of 255), per feature of tables.

    `x` is uint8 `[n, c, h, w]` or float32 `[n, d]`; deviations are those of the population (divided by n). What is
    constant gets deviation 1, so that it becomes 0. Images are counted exactly, by histogram; features are summed in
    float64 block by block.
    """
    mean, std = _image_moments(x) if x.ndim == 4 else _feature_moments(x)
    return Standardise(torch.from_numpy(mean).float(), torch.from_numpy(std).float())


def fit_zca(x: NDArray[np.generic], reg: float = ZCA_REG) -> Zca:
    """ZCA whitening of standardised training rows: `W = V (L + reg)^(-1/2) V^T` with `V L V^T` their covariance.

    `x` is uint8 `[n, c, h, w]` or float32 `[n, d]`. `reg` is added to every eigenvalue of the covariance (divided by
    n) of the standardised rows, whose mean eigenvalue is about 1. Cost: n d^2 for the covariance, d^3 for the
    eigenvectors in float64; d is at most 3072. Raises `ConfigError` for more.
    """
    width = int(np.prod(x.shape[1:]))
    if width > ZCA_WIDEST:
        raise ConfigError(
            "whitening a data set",
            received=f"rows of {width} values",
            expected=f"at most {ZCA_WIDEST} values, as in images of 3x32x32",
            remedy="open the source with a smaller size, or without whiten",
        )
    first = fit_standardise(x)
    centre, covariance = _covariance(x, first)
    values, vectors = torch.linalg.eigh(covariance)
    roots = (values.clamp(min=0) + reg).sqrt()
    matrix = (vectors / roots) @ vectors.T
    unwhiten = (vectors * roots) @ vectors.T
    return Zca(first, centre.float(), matrix.float(), unwhiten.float())


def _covariance(
    x: NDArray[np.generic], first: Standardise
) -> tuple[Float64[torch.Tensor, " d"], Float64[torch.Tensor, "d d"]]:
    width = int(np.prod(x.shape[1:]))
    total = torch.zeros(width, dtype=torch.float64)
    products = torch.zeros(width, width, dtype=torch.float64)
    for block in row_blocks(x):
        rows = first(torch.from_numpy(np.array(block))).flatten(1)
        total += rows.sum(0, dtype=torch.float64)
        # Products of one block in float32 are exact enough beside reg, and twice as fast; the sum is kept in float64.
        products += (rows.T @ rows).double()
    centre = total / len(x)
    return centre, products / len(x) - torch.outer(centre, centre)


def _image_moments(x: NDArray[np.generic]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    counts = np.zeros((x.shape[1], 256), np.int64)
    for block in row_blocks(x, 1 << 21):
        for channel in range(x.shape[1]):
            counts[channel] += np.bincount(block[:, channel].ravel(), minlength=256)
    levels = np.arange(256) / 255
    share = counts / counts.sum(1, keepdims=True)
    mean = share @ levels
    variance = (share * (levels - mean[:, None]) ** 2).sum(1)
    constant = (counts > 0).sum(1) == 1
    return mean, np.where(constant, 1.0, np.sqrt(variance))


def _feature_moments(x: NDArray[np.generic]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    mean, squares, seen = np.zeros(x.shape[1]), np.zeros(x.shape[1]), 0
    low, high = np.array(x[0]), np.array(x[0])
    for block in row_blocks(x):
        rows = block.astype(np.float64)
        here, count = rows.mean(0), len(rows)
        # Chan's rule: sums of squares around the mean add up, plus what the means are apart.
        apart = here - mean
        squares += ((rows - here) ** 2).sum(0) + apart**2 * (seen * count / (seen + count))
        mean, seen = mean + apart * (count / (seen + count)), seen + count
        low, high = np.minimum(low, block.min(0)), np.maximum(high, block.max(0))
    std = np.sqrt(squares / seen)
    return mean, np.where((low == high) | (std.astype(np.float32) == 0), 1.0, std)
