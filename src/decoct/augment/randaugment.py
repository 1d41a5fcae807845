"""RandAugment for network inputs: a few picture changes an image, drawn uniformly, at one strength."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from decoct.augment import families
from decoct.errors import ConfigError

CHANGES = (
    "identity", "rotate", "shear-x", "shear-y", "shift-x", "shift-y",
    "brightness", "contrast", "colour", "sharpness", "posterise", "solarise", "stretch",
)  # fmt: skip
RANDAUGMENT = "randaugment"
"""The name in place of a strategy of families."""
STRONGEST = 10
MAX_ANGLE = 30.0
"""Degrees at full strength."""
MAX_SHEAR = 0.3
MAX_SHIFT = 10 / 32
"""Part of a side at full strength; ten pixels of 32, as published."""
MAX_FACTOR = 0.9
"""Brightness, contrast, colour and sharpness are multiplied by a factor between 1 minus and 1 plus this."""
MAX_BITS_LOST = 4
"""Of 8, at full strength."""


@dataclass(frozen=True)
class RandAugment:
    """`changes` picture changes an image, each drawn uniformly from `CHANGES`, all at `strength` with a random sign.

    Cubuk, Zoph, Shlens & Le, "RandAugment: Practical automated data augmentation with a reduced search space" (2019,
    https://arxiv.org/abs/1909.13719); authors' code: tensorflow/tpu, models/official/efficientnet.

    Images `[n, c, h, w]` in, images of the same shape out, differentiable but for posterise. Cost O(changes n c h w);
    a change is computed on the images that drew it.

    Differences from the paper: inputs are normalised already, so black and white are the smallest and the largest
    value of each image; rows outside the picture are zero, the mean of the data, not gray 128; equalise is left out,
    since it needs whole grey levels; brightness and the like are drawn on both sides of 1 (there, too, in later code).
    """

    changes: int = 2
    """Changes an image, at least 1."""
    strength: float = 5.0
    """Between 0 (nothing) and 10."""

    def __post_init__(self) -> None:
        if self.changes < 1 or not 0 <= self.strength <= STRONGEST:
            raise ConfigError(
                "setting up RandAugment",
                received=f"{self.changes} changes of strength {self.strength}",
                expected=f"at least 1 change of a strength from 0 to {STRONGEST}",
                remedy="choose RandAugment(changes=2, strength=5)",
            )

    def __call__(self, images: Float[Tensor, "n ..."], generator: torch.Generator) -> Float[Tensor, "n ..."]:
        """Draw and apply; how much is drawn from `generator` depends on the number of images alone.

        Raises `ConfigError` for features.
        """
        if images.ndim != 4:
            raise ConfigError(
                "augmenting with RandAugment",
                received=f"inputs of shape {list(images.shape)}",
                expected="images [n, channels, height, width]",
                remedy='use "none" for features',
            )
        for _ in range(self.changes):
            picks = torch.randint(len(CHANGES), (len(images),), generator=generator)
            signs = torch.rand(len(images), generator=generator) < 0.5
            images = self._layer(images, picks, signs)
        return images

    def _layer(
        self, images: Float[Tensor, "n c h w"], picks: Int64[Tensor, " n"], signs: Bool[Tensor, " n"]
    ) -> Float[Tensor, "n c h w"]:
        pieces, order = [], []
        for pick in picks.unique().tolist():
            rows = (picks == pick).nonzero()[:, 0]
            own = images[rows.to(images.device)]
            pieces.append(change(own, CHANGES[pick], self.strength / STRONGEST, signs[rows]))
            order.append(rows)
        return torch.cat(pieces)[torch.cat(order).argsort().to(images.device)] if pieces else images


def change(
    images: Float[Tensor, "n c h w"], name: str, strength: float, negative: Bool[Tensor, " n"]
) -> Float[Tensor, "n c h w"]:
    """One of `CHANGES` on every image, at `strength` from 0 to 1, turned round where `negative`."""
    signed = torch.where(negative, -strength, strength).to(torch.float32)
    if name == "identity":
        return images
    if name == "rotate":
        return families.rotate(images, signed * math.radians(MAX_ANGLE))
    if name in ("shear-x", "shear-y", "shift-x", "shift-y"):
        return _moved(images, name, signed)
    if name in ("brightness", "contrast", "colour", "sharpness"):
        return _blended(images, name, 1 + MAX_FACTOR * signed)
    return _levels(images, name, strength)


def _levels(images: Float[Tensor, "n c h w"], name: str, strength: float) -> Float[Tensor, "n c h w"]:
    """Changes of the grey levels, between the smallest and the largest value of each image."""
    low, high = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    span = (high - low).clamp_min(1e-12)
    if name == "posterise":
        levels = 2 ** (8 - round(MAX_BITS_LOST * strength)) - 1
        return low + ((images - low) / span * levels).round() / levels * span
    if name == "solarise":
        threshold = high - strength * span
        return torch.where((images >= threshold) & (strength > 0), high + low - images, images)
    # stretch: each channel to the range of the whole image, as autocontrast does to 0..255
    least, most = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    return torch.where(most > least, (images - least) / (most - least).clamp_min(1e-12) * span + low, images)


def _moved(images: Float[Tensor, "n c h w"], name: str, signed: Float[Tensor, " n"]) -> Float[Tensor, "n c h w"]:
    height, width = images.shape[2:]
    if name.startswith("shift"):
        side = width if name == "shift-x" else height
        pixels = (signed * MAX_SHIFT * side).round().long()
        zero = torch.zeros_like(pixels)
        return families.crop(images, torch.stack([zero, pixels] if name == "shift-x" else [pixels, zero], 1))
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1
    across, down = (0, 1) if name == "shear-x" else (1, 0)
    # The grid runs from -1 to 1 along each side, so a shear in pixels is scaled by the ratio of the sides.
    theta[:, across, down] = signed * MAX_SHEAR * (height / width if across == 0 else width / height)
    grid = F.affine_grid(theta.to(images), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _blended(images: Float[Tensor, "n c h w"], name: str, factors: Float[Tensor, " n"]) -> Float[Tensor, "n c h w"]:
    """`other + factor (image - other)`, where `other` is black, the mean, gray, or the image smoothed."""
    shaped = factors.to(images)[:, None, None, None]
    if name == "brightness":
        other = images.amin((1, 2, 3), keepdim=True)
    elif name == "contrast":
        other = images.mean((1, 2, 3), keepdim=True)
    elif name == "colour":
        other = images.mean(1, keepdim=True)
    else:
        other = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return other + shaped * (images - other)
