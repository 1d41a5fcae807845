"""`multiformation`: every stored image is a grid of smaller images, enlarged when decoded (IDC)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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

    `t["pixels"]` is `[C ipc, c, h, w]`; decoded rows are `[C ipc factor^2, c, h, w]`, the cells of one stored image
    next to each other. Cells are cropped along the lines of an even tiling and enlarged bilinearly
    (`align_corners=False`), so sides that `factor` does not divide work too. Cost: factor^2 times the images in every
    forward pass for the bytes of one. Unlike the official code it decodes all images at once, and any subset of them.
    """

    factor: int = 2
    """Cells along each side of a stored image, 2 or more."""
    init_from: Init = "real"
    """Start from random training images (shrunk into the cells), from noise, or from the medoids of each class."""
    bits: Literal[8, 16, 32] = 8
    """Bits a stored value: 8, 16 (half floats) or 32."""

    def init(self, problem: Problem, streams: Streams) -> Tensors:
        if not problem.spec.is_image or min(problem.shape[1:]) < 2 * self.factor or self.factor < 2:
            raise ConfigError(
                "starting the multiformation storage",
                received=f"rows of shape {problem.shape} and factor {self.factor}",
                expected="images whose sides are at least twice the factor, and a factor of 2 or more",
                remedy="use the storage 'pixels', or a smaller factor",
            )
        small = initial_rows(self.init_from, problem, problem.ipc * self.factor**2, streams)
        stored = small.new_zeros(problem.class_count * problem.ipc, *problem.shape)
        for cell in range(self.factor**2):
            down, across = (
                slice(place * size // self.factor, (place + 1) * size // self.factor)
                for place, size in zip(divmod(cell, self.factor), problem.shape[1:], strict=True)
            )
            part = stored[:, :, down, across]
            part.copy_(F.interpolate(small[cell :: self.factor**2], size=part.shape[2:], mode="area"))
        return {"pixels": stored.to(problem.device)}

    def classes(self, problem: Problem) -> Int[Tensor, " m"]:
        return torch.arange(problem.class_count).repeat_interleave(problem.ipc * self.factor**2)

    def decode(self, tensors: Tensors, rows: Int[Tensor, " k"] | None = None) -> Float[Tensor, "k ..."]:
        return multiformation(tensors, {"factor": self.factor}, rows)

    def pack(self, tensors: Tensors, problem: Problem) -> tuple[str, Tensors, dict[str, int]]:
        return "multiformation", quantise(tensors["pixels"].detach().cpu(), self.bits), {"factor": self.factor}
