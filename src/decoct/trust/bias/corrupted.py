"""Corrupted images: the kind of damage of a picture goes with its class (as in corrupted CIFAR-10)."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from decoct.trust.bias.coloured import severity_of

Damage = Callable[[Tensor, float, torch.Generator], Tensor]
"""(images `[n, c, h, w]` in 0..1, how much, chance) -> images, still to be clamped."""


def _gaussian_noise(x: Tensor, much: float, chance: torch.Generator) -> Tensor:
    return x + much * torch.randn(x.shape, generator=chance)


def _impulse_noise(x: Tensor, much: float, chance: torch.Generator) -> Tensor:
    drawn = torch.rand(x.shape, generator=chance)
    return torch.where(drawn < much / 2, 0.0, torch.where(drawn > 1 - much / 2, 1.0, x))


def _gaussian_blur(x: Tensor, much: float, chance: torch.Generator) -> Tensor:
    from scipy.ndimage import gaussian_filter

    return torch.from_numpy(gaussian_filter(x.numpy(), (0, 0, much, much), mode="nearest"))


def _motion_blur(x: Tensor, much: float, chance: torch.Generator) -> Tensor:
    from scipy.ndimage import uniform_filter1d

    return torch.from_numpy(uniform_filter1d(x.numpy(), int(much), axis=3, mode="nearest"))


def _fog(x: Tensor, much: float, chance: torch.Generator) -> Tensor:
    """Clouds: noise of four sizes, the coarsest the strongest, laid over the picture."""
    clouds = torch.zeros(len(x), 1, *x.shape[2:])
    for octave in range(4):
        cells = torch.rand(len(x), 1, 2 ** (octave + 1), 2 ** (octave + 1), generator=chance)
        clouds += F.interpolate(cells, size=x.shape[2:], mode="bilinear", align_corners=True) / 2 ** (octave + 1)
    return x * (1 - much) + much * (0.4 + 0.6 * clouds / 0.9375)


def _snow(x: Tensor, much: float, chance: torch.Generator) -> Tensor:
    """Flakes, the same in all channels, drawn out along the diagonal, over a paler picture."""
    flakes = (torch.rand(len(x), 1, *x.shape[2:], generator=chance) < much).float()
    flakes = torch.maximum(flakes, 0.6 * flakes.roll((1, 1), (2, 3)))
    return torch.maximum(0.8 * x + 0.2 * x.mean(1, keepdim=True).clamp_min(0.3), flakes)


def _brightness(x: Tensor, much: float, chance: torch.Generator) -> Tensor:
    return x + much


def _contrast(x: Tensor, much: float, chance: torch.Generator) -> Tensor:
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + much * (x - mean)


def _pixelate(x: Tensor, much: float, chance: torch.Generator) -> Tensor:
    small = [max(1, round(side * much)) for side in x.shape[2:]]
    return F.interpolate(F.interpolate(x, size=small, mode="area"), size=x.shape[2:], mode="nearest")


def _jpeg(x: Tensor, much: float, chance: torch.Generator) -> Tensor:
    found = []
    for picture in (x * 255).round().byte().numpy():
        buffer = io.BytesIO()
        flat = picture[0] if len(picture) == 1 else picture.transpose(1, 2, 0)
        Image.fromarray(np.ascontiguousarray(flat)).save(buffer, "JPEG", quality=int(much))
        again = np.asarray(Image.open(buffer), np.float32) / 255
        found.append(again[None] if again.ndim == 2 else again.transpose(2, 0, 1))
    return torch.from_numpy(np.stack(found))


CORRUPTIONS: dict[str, tuple[Damage, tuple[float, float, float, float]]] = {
    "gaussian-noise": (_gaussian_noise, (0.06, 0.1, 0.15, 0.22)),
    "impulse-noise": (_impulse_noise, (0.03, 0.07, 0.12, 0.2)),
    "gaussian-blur": (_gaussian_blur, (0.6, 0.9, 1.2, 1.6)),
    "motion-blur": (_motion_blur, (3.0, 5.0, 7.0, 9.0)),
    "fog": (_fog, (0.3, 0.45, 0.6, 0.75)),
    "snow": (_snow, (0.03, 0.06, 0.1, 0.15)),
    "brightness": (_brightness, (0.12, 0.2, 0.3, 0.4)),
    "contrast": (_contrast, (0.7, 0.5, 0.35, 0.2)),
    "pixelate": (_pixelate, (0.7, 0.55, 0.4, 0.3)),
    "jpeg": (_jpeg, (40.0, 25.0, 12.0, 6.0)),
}
"""Ten kinds of damage, two of noise, two of blur, two like weather, four digital, and how much of it there is at
severities 1 to 4: shares of full brightness (noise, brightness), share of pixels (impulse noise, snow), pixels (blur),
share of the picture (fog, contrast, pixelate), quality (jpeg)."""
BLOCK = 512
"""Images damaged together."""


def corrupted(
    images: NDArray[np.uint8], attributes: NDArray[np.int64], count: int, severity: int, generator: torch.Generator
) -> NDArray[np.uint8]:
    """Each picture of `images` `[n, c, h, w]` with the damage of its attribute, `attributes` `[n]` below `count`.

    Kinds of damage follow "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations",
    Hendrycks and Dietterich, 2019, https://arxiv.org/abs/1903.12261, in a few lines each instead of ImageMagick: the
    published CCIFAR10-DD (https://arxiv.org/abs/2403.16028) takes snow, frost, fog, brightness, contrast, spatter,
    elastic, jpeg, pixelate and saturate, of which frost needs picture files that its repository lacks. Numbers are
    therefore comparable in kind, not digit by digit. Raises `ConfigError` for a severity that does not exist.
    """
    place = severity_of(severity, 4)
    out = np.array(images, copy=True)
    for attribute, (damage, much) in enumerate(list(CORRUPTIONS.values())[:count]):
        rows = np.flatnonzero(attributes == attribute)
        for some in np.array_split(rows, max(1, -(-len(rows) // BLOCK))):
            if len(some):
                x = torch.from_numpy(np.asarray(images[some], np.float32) / 255)
                out[some] = (damage(x, much[place], generator).clamp(0, 1) * 255).round().byte().numpy()
    return out
