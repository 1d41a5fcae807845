"""`multiformation`: every stored image is a grid of smaller images, enlarged when decoded (IDC)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from decoct.compact.decoders import multiformation, quantise
from decoct.distillation.axes import Storage, Tensors
from decoct.distillation.problem import Problem
from decoct.distillation.storage.pixels import Init, initial_rows
from decoct.errors import ConfigError
from decoct.streams import Streams


@dataclass(frozen=True)
class Multiformation(Storage):
    """A `factor` x `factor` grid in every stored image: `x_(s,g) = upsample(crop_g(t["pixels"]_s))`.

    Paper: "Dataset Condensation via Efficient Synthetic-Data Parameterization", Kim et al., ICML 2022,
    https://arxiv.org/abs/2205.14959; code of the authors: https://github.com/snu-mllab/Efficient-Dataset-Condensation.

    `t["pixels"]` is `[C ipc, c, h - shrink, w - shrink]`; decoded rows are `[C ipc factor^2, c, h, w]`, the cells of
    one stored image next to each other. `frame` `[0, h, w]`, where anything is shrunk, is empty: its shape says how far
    to enlarge. Cells are cropped along the lines of an even tiling and enlarged bilinearly (`align_corners=False`), so
    sides that `factor` does not divide work too. Cost: factor^2 times the images in every forward pass for the bytes of
    one. Unlike the official code it decodes all images at once, and any subset of them.
    """

    factor: int = 2
    """Cells along each side of a stored image, 2 or more."""
    init_from: Init = "real"
    """Start from random training images (shrunk into the cells), from noise, or from the medoids of each class."""
    bits: Literal[8, 16, 32] = 8
    """Bits a stored value: 8, 16 (half floats) or 32."""
    shrink: int = 0
    """Pixels by which stored images are lower and narrower than the rows, 0 or more: bytes left for learned labels."""

    def init(self, problem: Problem, streams: Streams) -> Tensors:
        sides = self.stored_shape(problem)[1:]
        if not problem.spec.is_image or min(sides) < 2 * self.factor or self.factor < 2 or self.shrink < 0:
            raise ConfigError(
                "starting the multiformation storage",
                received=f"rows of shape {problem.shape}, factor {self.factor} and shrink {self.shrink}",
                expected="images whose stored sides are at least twice the factor, a factor of 2 or more, no less than "
                "0 to shrink",
                remedy="use the storage 'pixels', or a smaller factor or shrink",
            )
        small = initial_rows(self.init_from, problem, problem.ipc * self.factor**2, streams)
        stored = small.new_zeros(problem.class_count * problem.ipc, *self.stored_shape(problem))
        for cell in range(self.factor**2):
            down, across = (
                slice(place * size // self.factor, (place + 1) * size // self.factor)
                for place, size in zip(divmod(cell, self.factor), sides, strict=True)
            )
            part = stored[:, :, down, across]
            part.copy_(F.interpolate(small[cell :: self.factor**2], size=part.shape[2:], mode="area"))
        return self.started(stored, problem)

    def stored_shape(self, problem: Problem) -> tuple[int, ...]:
        """Shape of a stored image."""
        return (*problem.shape[:1], *(side - self.shrink for side in problem.shape[1:]))

    def started(self, stored: Float[Tensor, "s c p q"], problem: Problem) -> Tensors:
        """The tensors of a storage that begins with these images."""
        frame = {"frame": torch.zeros(0, *problem.shape[1:])} if self.shrink else {}
        return {name: tensor.to(problem.device) for name, tensor in {"pixels": stored, **frame}.items()}

    def classes(self, problem: Problem) -> Int[Tensor, " m"]:
        return torch.arange(problem.class_count).repeat_interleave(problem.ipc * self.factor**2)

    def decode(self, tensors: Tensors, rows: Int[Tensor, " k"] | None = None) -> Float[Tensor, "k ..."]:
        return multiformation(tensors, self._config(tensors), rows)

    def pack(self, tensors: Tensors, problem: Problem) -> tuple[str, Tensors, dict[str, Any]]:
        return "multiformation", quantise(tensors["pixels"].detach().cpu(), self.bits), self._config(tensors)

    def _config(self, tensors: Tensors) -> dict[str, Any]:
        size = {"size": list(tensors["frame"].shape[1:])} if "frame" in tensors else {}
        return {"factor": self.factor, **size}
