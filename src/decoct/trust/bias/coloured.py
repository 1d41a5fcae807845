"""Coloured images: the colour of a picture goes with its class (CMNIST)."""

from __future__ import annotations

import colorsys

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from decoct.data.blocks import row_blocks
from decoct.errors import ConfigError

SPREAD = (0.05, 0.02, 0.01, 0.005)
"""Standard deviation of a picture's colour around that of its attribute, for severities 1 to 4, in shares of full
brightness: the higher the severity, the purer the colour and the stronger the cue."""
COLOURS = 10
"""Colours there are at most."""


def palette(count: int) -> Float[NDArray[np.float32], "count 3"]:
    """`count` full colours evenly round the circle of hues, from red on, as shares of red, green and blue.

    The paper's own ten colours lie in a file that does not come with its code; these are ours.
    """
    return np.array([colorsys.hsv_to_rgb(place / count, 1.0, 1.0) for place in range(count)], np.float32)


def severity_of(severity: int, count: int) -> int:
    """The place of a severity from 1 to `count` in a table; raises `ConfigError`."""
    if not (isinstance(severity, int) and 1 <= severity <= count):
        raise ConfigError(
            "making a biased set", received=f"severity {severity!r}", expected=f"a whole number from 1 to {count}",
            remedy="4 is the strongest cue, 1 the weakest",
        )  # fmt: skip
    return severity - 1


def coloured(
    images: NDArray[np.uint8], attributes: NDArray[np.int64], count: int, severity: int, generator: torch.Generator
) -> NDArray[np.uint8]:
    """`clamp(c_a + e, 0, 1) x` for gray pictures x, with `e ~ N(0, s^2)` drawn once for each picture and channel.

    `images` `[n, c, h, w]` (colour pictures are turned gray first), `attributes` `[n]` below `count`; the answer is
    `[n, 3, h, w]`. `s` is `SPREAD[severity - 1]`. Paper: "Exploring the Impact of Dataset Bias on Dataset
    Distillation" (2024), https://arxiv.org/abs/2403.16028, after "Learning from Failure", Nam et al., 2020,
    https://arxiv.org/abs/2007.02561. Raises `ConfigError` for a severity that does not exist.
    """
    spread = SPREAD[severity_of(severity, len(SPREAD))]
    noise = torch.randn(len(images), 3, generator=generator).numpy() * spread
    tints = np.clip(palette(count)[attributes] + noise, 0, 1)
    out = np.empty((len(images), 3, *images.shape[2:]), np.uint8)
    start = 0
    for block in row_blocks(images):
        gray = block.mean(1, keepdims=True, dtype=np.float32)
        rows = slice(start, start + len(block))
        out[rows] = np.rint(tints[rows, :, None, None] * gray)
        start += len(block)
    return out
