"""`pixels`: every stored image is one learnable array of network inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from decoct.compact.decoders import quantise
from decoct.data.sample_weights import random_order
from decoct.data.transform import Standardise
from decoct.distillation.axes import Storage, Tensors
from decoct.distillation.problem import Problem
from decoct.streams import Streams

Init = Literal["real", "noise", "unit-noise", "medoids"]


def initial_rows(init: Init, problem: Problem, per_class: int, streams: Streams) -> Float[Tensor, "n ..."]:
    """`per_class` network inputs of each class, grouped by class: the start of a storage.

    `real` draws training rows, `medoids` takes the k-means medoids of each class, `noise` draws standard normal
    values, `unit-noise` divides each row of them by its L2 norm. Where a class has fewer rows than asked, its rows are
    repeated. Where rows have weights, heavy ones are drawn first and count more as a medoid is chosen.
    """
    count = per_class * problem.class_count
    generator = streams("init")
    if init in ("noise", "unit-noise"):
        noise = torch.randn(count, *problem.shape, generator=generator)
        sizes = noise.flatten(1).norm(dim=1).reshape(-1, *[1] * len(problem.shape))
        return noise if init == "noise" else noise / sizes
    if init == "medoids":
        from decoct.selection.driver import select

        sizes = torch.bincount(problem.data.train.labels(), minlength=problem.class_count)
        core = select(problem.data, "k-means", count=int(sizes.clamp_max(per_class).sum()), seed=streams.seed)
        inputs, _, _ = core.materialize()
        members = [torch.nonzero(core.classes == label).flatten() for label in range(problem.class_count)]
        return inputs[torch.cat([own.repeat(-(-per_class // len(own)))[:per_class] for own in members])]
    rows = []
    for members in problem.data.train.class_rows(problem.class_count):
        order = random_order(len(members), problem.data.train.weight(members), generator)
        rows.append(torch.from_numpy(members)[order.repeat(-(-per_class // len(members)))[:per_class]])
    return problem.data.inputs(problem.data.train, torch.cat(rows))


@dataclass(frozen=True)
class Pixels(Storage):
    """The images themselves: `decode(t) = t["pixels"]`, `[C ipc, ...]` in network-input space.

    Stored with `bits` bits a value (8 bits: one affine scale for each channel), so that one synthetic image weighs
    what one real image weighs; features are stored with 16 bits at least. Cost: nothing beyond the images.
    """

    init_from: Init = "real"
    """Start from random training images, from noise (of unit deviation, or each image of unit L2 norm), or from the
    k-means medoids of each class."""
    bits: Literal[8, 16, 32] = 8
    """Bits a stored value: 8, 16 (half floats) or 32."""
    clamp: bool = False
    """Keep images inside the range of real ones after every step; features and whitened images have no such range."""

    def init(self, problem: Problem, streams: Streams) -> Tensors:
        return {"pixels": initial_rows(self.init_from, problem, problem.ipc, streams).to(problem.device)}

    def classes(self, problem: Problem) -> Int[Tensor, " m"]:
        return torch.arange(problem.class_count).repeat_interleave(problem.ipc)

    def decode(self, tensors: Tensors, rows: Int[Tensor, " k"] | None = None) -> Float[Tensor, "k ..."]:
        return tensors["pixels"] if rows is None else tensors["pixels"][rows.to(tensors["pixels"].device)]

    def project(self, tensors: Tensors, problem: Problem) -> None:
        transform = problem.spec.transform
        if self.clamp and problem.spec.is_image and isinstance(transform, Standardise):
            black = torch.zeros(1, problem.shape[0], 1, 1)
            low, high = (transform(raw).to(tensors["pixels"].device) for raw in (black, black + 1))
            tensors["pixels"].clamp_(low, high)

    def pack(self, tensors: Tensors, problem: Problem) -> tuple[str, Tensors, dict[str, int]]:
        bits = self.bits if problem.spec.is_image else max(self.bits, 16)
        return "pixels", quantise(tensors["pixels"].detach().cpu(), bits), {}
