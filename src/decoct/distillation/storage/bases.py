"""`bases`: every decoded row is a weighted sum of a few small images that all classes share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from decoct.compact.decoders import bases, quantise, quantise_columns, query_bases
from decoct.distillation.axes import Storage, Tensors
from decoct.distillation.problem import Problem
from decoct.distillation.storage.pixels import initial_rows
from decoct.errors import BudgetError
from decoct.settings import require_at_least
from decoct.streams import Streams

FEWEST_ROWS = 8
"""Rows of a class that `count=None` leaves room for where the budget has it."""
REAL_ROWS = 2000
"""Real rows at most from which the first bases are computed."""


@dataclass(frozen=True)
class Bases(Storage):
    """`x_j = sum_k a_jk U(M_k)`: K bases `M`, shared by all classes, and a row of coefficients `a_j` for each image.

    Paper: "Remember the Past: Distilling Datasets into Addressable Memories for Neural Networks", Deng and
    Russakovsky, NeurIPS 2022, https://arxiv.org/abs/2206.02916; code of the authors:
    https://github.com/princetonvisualai/RememberThePast-DatasetDistillation.

    `bases` `[K, c, h', w']` with `h' = ceil(h / downsample)` (features: `[K, d]`), `coefficients` `[C r, K]` grouped
    by class; `U` enlarges bilinearly to `[h, w]`. `frame` `[0, h, w]` is empty: its shape says how far to enlarge.
    The paper's addressing matrices are `A_i = coefficients[i::r]` `[C, K]`, and `query` answers any vector `y`, as does
    `DistilledSet.query` of a finished set.

    Rows of a class, `r`: what is left of `ipc C row_bytes` after the bases and all scales, shared out in coefficients:
    `r = floor(left / (C K bytes))`, at most `max_per_class`. Everything is counted as stored, in bytes, where the
    paper counts values. Cost of decoding: `C r K` times the values of an image; what costs is the `r / ipc` times
    larger set in every step. Under `ridge`, rows about as many as the network has features make its default `reg` too
    small: the loss falls and students get worse; 1 is a good start.

    Differs from the official code: the regulariser is a term of the outer loss and moves the coefficients (there it is
    added to the inner loss, where its gradient with respect to the weights, hence its effect, is zero); the start is
    made from real rows; coefficients take one byte instead of four.
    """

    count: int | None = None
    """Bases K. None spends half of the bytes on bases, fewer where a class would get less than 8 rows, more where it
    would get more than `max_per_class`; never more than a base has values."""
    downsample: int = 2
    """Sides of an image over sides of a base, 1 or more; features are not shrunk."""
    bits: Literal[8, 16, 32] = 8
    """Bits a value of the bases; 8 has one scale for each channel, features take 16 at least."""
    bits_coefficients: Literal[8, 16, 32] = 8
    """Bits a coefficient; 8 has one scale for each base."""
    max_per_class: int = 64
    """Decoded rows of a class at most, whatever the bytes allow: compute grows with them."""
    init_from: Literal["real", "noise"] = "real"
    """Start from the principal axes of the real rows, with coefficients that fit real rows of each class; or from
    Xavier-uniform noise as in the official code."""
    l2: float = 0.0
    """Weight of the mean squared coefficient in the loss."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, "the storage 'bases'", l2=0)

    def init(self, problem: Problem, streams: Streams) -> Tensors:
        count, per_class = self.plan(problem)
        shape, size = self._base_shape(problem), problem.shape[1:] if problem.spec.is_image else ()
        tensors = {"frame": torch.zeros(0, *size)} if size else {}
        start = _from_noise if self.init_from == "noise" else _from_real
        return {
            name: tensor.to(problem.device)
            for name, tensor in {**tensors, **start(problem, streams, count, per_class, shape)}.items()
        }

    def classes(self, problem: Problem) -> Int[Tensor, " m"]:
        return torch.arange(problem.class_count).repeat_interleave(self.plan(problem)[1])

    def decode(self, tensors: Tensors, rows: Int[Tensor, " k"] | None = None) -> Float[Tensor, "k ..."]:
        return bases(tensors, _config(tensors), rows)

    def query(self, tensors: Tensors, vector: Float[Tensor, " classes"]) -> Float[Tensor, "r ..."]:
        """The images that any vector over the classes addresses: `x_i = vector^T A_i M`, one for each row of a class.

        A one-hot vector gives the rows of its class, a mixture of classes the mixture of their rows. `tensors` are
        those of a run; of a finished set `DistilledSet.query` answers.
        """
        return query_bases(tensors, _config(tensors), vector)

    def penalty(self, tensors: Tensors) -> Float[Tensor, ""] | None:
        return self.l2 * tensors["coefficients"].square().mean() if self.l2 > 0 else None

    def pack(self, tensors: Tensors, problem: Problem) -> tuple[str, Tensors, dict[str, Any]]:
        stored = quantise(tensors["bases"].detach().cpu(), self._bits(problem))
        stored["bases"] = stored.pop("pixels")
        return (
            "bases",
            {**stored, **quantise_columns(tensors["coefficients"], self.bits_coefficients)},
            _config(tensors),
        )

    def plan(self, problem: Problem) -> tuple[int, int]:
        """Bases and rows of a class that the bytes allow.

        Raises `ConfigError` for settings below 1, `BudgetError` where not even one row of a class fits.
        """
        require_at_least(self, "the storage 'bases'", downsample=1, max_per_class=1, count=1)
        count = self.count if self.count is not None else self._chosen(problem)
        rows = self._rows(problem, count)
        if rows < 1:
            raise self._too_many(problem, count)
        return count, min(rows, self.max_per_class)

    def _bits(self, problem: Problem) -> int:
        return self.bits if problem.spec.is_image else max(self.bits, 16)

    def _base_shape(self, problem: Problem) -> tuple[int, ...]:
        if not problem.spec.is_image:
            return problem.shape
        channels, *sides = problem.shape
        return (channels, *(-(-side // self.downsample) for side in sides))

    def _sizes(self, problem: Problem) -> tuple[int, int, int]:
        """Bytes for bases and coefficients together, of one base with its scale, of one row of every class a base."""
        values = torch.Size(self._base_shape(problem)).numel()
        channel_scales = 8 * problem.shape[0] if self._bits(problem) == 8 else 0
        base_scale = 8 if self.bits_coefficients == 8 else 0
        whole = problem.ipc * problem.class_count * problem.spec.row_bytes - channel_scales
        return (
            whole,
            values * self._bits(problem) // 8 + base_scale,
            problem.class_count * self.bits_coefficients // 8,
        )

    def _rows(self, problem: Problem, count: int) -> int:
        """Rows of a class beside `count` bases."""
        whole, base, row = self._sizes(problem)
        return (whole - count * base) // (count * row)

    def _most(self, problem: Problem, rows: int) -> int:
        """Bases beside which each class has room for so many rows."""
        whole, base, row = self._sizes(problem)
        return whole // (base + rows * row)

    def _chosen(self, problem: Problem) -> int:
        """The rule of `count=None`."""
        whole, base, _ = self._sizes(problem)
        wanted = max(whole // 2 // base, self._most(problem, self.max_per_class))
        roomy = min(wanted, self._most(problem, FEWEST_ROWS)) or self._most(problem, 1)
        return max(1, min(roomy, torch.Size(self._base_shape(problem)).numel()))

    def _too_many(self, problem: Problem, count: int) -> BudgetError:
        fits = self._most(problem, 1)
        remedy = f"use count={fits} or less" if fits else "raise downsample"
        return BudgetError(
            f"storing {problem.ipc} images a class of shape {problem.shape} as {count} bases",
            received=f"bases of shape {self._base_shape(problem)} in {self._bits(problem)} bits and "
            f"{problem.class_count} classes: no room for one row of each class",
            expected=f"at most {problem.ipc * problem.class_count * problem.spec.row_bytes} bytes in all",
            remedy=f"{remedy}, or raise the budget",
        )


def _config(tensors: Tensors) -> dict[str, Any]:
    return {"size": list(tensors["frame"].shape[1:])} if "frame" in tensors else {}


def _from_noise(
    problem: Problem, streams: Streams, count: int, per_class: int, shape: tuple[int, ...]
) -> dict[str, Tensor]:
    """Xavier-uniform tables `[K, values]` and `[C r, K]`."""
    generator = streams("init")
    values, rows = torch.Size(shape).numel(), problem.class_count * per_class
    tables = [
        (2 * torch.rand(high, wide, generator=generator) - 1) * (6 / (high + wide)) ** 0.5
        for high, wide in ((count, values), (rows, count))
    ]
    return {"bases": tables[0].reshape(count, *shape), "coefficients": tables[1]}


def _from_real(
    problem: Problem, streams: Streams, count: int, per_class: int, shape: tuple[int, ...]
) -> dict[str, Tensor]:
    """The K strongest principal axes (around zero) of shrunken real rows, and the projections of rows of each class.

    Axes beyond the rank of the rows start as noise with coefficients of 0. Worked out in float64, so that float32
    keeps no trace of how a library happened to order its sums.
    """
    many = max(per_class, min(REAL_ROWS, 4 * count) // problem.class_count)
    rows = initial_rows("real", problem, many, streams)
    small = F.interpolate(rows, size=shape[1:], mode="area") if len(shape) == 3 else rows
    flat = small.flatten(1).double()
    axes = torch.linalg.svd(flat, full_matrices=False).Vh[:count]
    members = torch.arange(len(flat)).reshape(problem.class_count, many)[:, :per_class].flatten()
    scale = flat.shape[1] ** 0.5
    weights = torch.zeros(len(members), count)
    weights[:, : len(axes)] = (flat[members] @ axes.T / scale).float()
    noise = torch.randn(count - len(axes), flat.shape[1], generator=streams("init"))
    found = torch.cat([(axes * scale).float(), noise])
    return {"bases": found.reshape(count, *shape), "coefficients": weights}
