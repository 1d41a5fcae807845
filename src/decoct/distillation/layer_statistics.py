"""Means and variances of what the layers of a trained network are fed: of real data, and of images in the making."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from decoct.data.dataset import Dataset

Moments = tuple[Tensor, ...]
"""Mean and variance by turns, a vector each: by channel, then by patch where there are patches."""
Which = Literal["auto", "batchnorm", "convolution", "both"]
BLOCK = 256
"""Real rows measured at a time."""
PATCH = 4
"""Sides of the patches of a feature map, in values."""


def channel_moments(x: Float[Tensor, "n c ..."]) -> Moments:
    """Mean and biased variance of each channel `[c]` over rows and places."""
    others = [axis for axis in range(x.ndim) if axis != 1]
    return x.mean(others), x.var(others, correction=0)


def patch_moments(x: Float[Tensor, "n c h w"]) -> Moments:
    """Mean and biased variance of each patch of 4 x 4 places `[p]` over rows, channels and its places."""
    sides = [min(PATCH, side) for side in x.shape[2:]]
    mean, square = (
        F.avg_pool2d(power.mean((0, 1))[None], sides, ceil_mode=True).flatten() for power in (x, x.square())
    )
    return mean, (square - mean.square()).clamp_min(0)


def distance(found: Moments, wanted: Moments) -> Float[Tensor, ""]:
    """Sum of the Euclidean distances of the vectors."""
    return torch.stack([torch.linalg.vector_norm(a - b) for a, b in zip(found, wanted, strict=True)]).sum()


def batchnorms(module: nn.Module) -> dict[str, nn.Module]:
    """The layers that keep running statistics, by name."""
    found = {name: part for name, part in module.named_modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)}
    return {name: part for name, part in found.items() if part.running_mean is not None}


def _plain_layers(module: nn.Module) -> dict[str, nn.Module]:
    """Convolutions, or linear layers where there are none."""

    def layers(kind: type[nn.Module]) -> dict[str, nn.Module]:
        return {name: part for name, part in module.named_modules() if isinstance(part, kind)}

    return layers(nn.Conv2d) or layers(nn.Linear)


class WatchedNetwork:
    """A trained network in evaluation mode, frozen, with the real statistics of its watched layers in `wanted`.

    Batch normalisation has them already; the inputs of convolutions (of linear layers where there are none) wait for
    `measure`. `which` layers are watched: "auto" is batch normalisation if there is any.
    """

    def __init__(self, module: nn.Module, which: Which) -> None:
        self.module = module.eval().requires_grad_(False)
        norms = batchnorms(module) if which != "convolution" else {}
        plain = which in ("convolution", "both") or (which == "auto" and not norms)
        self.layers = {f"norm.{name}": part for name, part in norms.items()}
        self.wanted: dict[str, Moments] = {
            name: (part.get_buffer("running_mean"), part.get_buffer("running_var"))
            for name, part in self.layers.items()
        }
        if plain:
            self.layers |= {f"plain.{name}": part for name, part in _plain_layers(module).items()}

    @contextmanager
    def watched(self) -> Iterator[list[tuple[str, Moments]]]:
        """Collects the statistics of what every watched layer is fed, in the order in which layers run."""
        seen: list[tuple[str, Moments]] = []
        handles = [part.register_forward_pre_hook(_watch(name, seen)) for name, part in self.layers.items()]
        try:
            yield seen
        finally:
            for handle in handles:
                handle.remove()

    @torch.no_grad()
    def measure(self, data: Dataset, rows: Int[Tensor, " n"], device: str) -> None:
        """Fill `wanted` for the layers without running statistics, from these rows of the training split.

        Pooled over all rows, and over all that a layer is fed which runs more than once: the variance is that of the
        whole, not the mean of the variances of batches.
        """
        missing = [name for name in self.layers if name not in self.wanted]
        totals: dict[str, list[Tensor]] = {name: [] for name in missing}
        counts = dict.fromkeys(missing, 0)
        for block in rows.split(BLOCK) if missing else ():
            with self.watched() as seen:
                self.module(data.inputs(data.train, block, device))
            for name, moments in seen:
                if name in missing:
                    powers = [(len(block) * part).double() for part in _powers(moments)]
                    old = totals[name] or [torch.zeros_like(part) for part in powers]
                    totals[name] = [a + b for a, b in zip(old, powers, strict=True)]
                    counts[name] += len(block)
        for name, parts in totals.items():
            self.wanted[name] = _from_powers([part / counts[name] for part in parts])


def _watch(name: str, seen: list[tuple[str, Moments]]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def hook(_: nn.Module, fed: tuple[Tensor, ...]) -> None:
        patches = name.startswith("plain.") and fed[0].ndim == 4
        seen.append((name, (*channel_moments(fed[0]), *(patch_moments(fed[0]) if patches else ()))))

    return hook


def _powers(moments: Moments) -> list[Tensor]:
    """Mean and mean square by turns."""
    pairs = zip(moments[::2], moments[1::2], strict=True)
    return [part for mean, var in pairs for part in (mean, var + mean.square())]


def _from_powers(powers: list[Tensor]) -> Moments:
    pairs = zip(powers[::2], powers[1::2], strict=True)
    return tuple(part.float() for mean, square in pairs for part in (mean, square - mean.square()))
