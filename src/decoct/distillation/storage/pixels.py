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
from decoct.distillation.axes import ObjectiveState, Storage, Tensors
from decoct.distillation.problem import Problem
from decoct.streams import Streams

Init = Literal["real", "noise", "unit-noise", "medoids"]
BLOCK = 256
"""Rows of a class that an expert is asked about at a time, in search of those that it classifies right."""


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


def correct_rows(
    problem: Problem, per_class: int, objective: ObjectiveState, streams: Streams
) -> Float[Tensor, "n ..."]:
    """`per_class` network inputs of each class, grouped by class, that the objective's first expert classifies right.

    The rows of a class come in random order, heavy ones first where rows have weights, and the first ones that are
    right are taken. Where a class has too few of them, those follow that the expert gives the largest probability of
    the class, and where it has too few rows, its rows are repeated.
    """
    data, rows = problem.data, []
    for label, members in enumerate(data.train.class_rows(problem.class_count)):
        order = random_order(len(members), data.train.weight(members), streams("init"))
        right, wrong, likely = list[Tensor](), list[Tensor](), list[Tensor]()
        for block in torch.from_numpy(members)[order].split(BLOCK):
            said = next(objective.said_by_experts(data.inputs(data.train, block, problem.device))).softmax(1).cpu()
            hit = said.argmax(1) == label
            right, wrong, likely = [*right, block[hit]], [*wrong, block[~hit]], [*likely, said[~hit, label]]
            if sum(map(len, right)) >= per_class:
                break
        others = torch.cat(wrong)[torch.cat(likely).argsort(descending=True, stable=True)]
        found = torch.cat([*right, others])
        rows.append(found.repeat(-(-per_class // len(found)))[:per_class])
    return data.inputs(data.train, torch.cat(rows))


@dataclass(frozen=True)
class Pixels(Storage):
    """The images themselves: `decode(t) = t["pixels"]`, `[C ipc, ...]` in network-input space.

    Stored with `bits` bits a value (8 bits: one affine scale for each channel), so that one synthetic image weighs
    what one real image weighs; features are stored with 16 bits at least. Cost: nothing beyond the images.

    `init_from="correct"` is the start of DATM ("Towards Lossless Dataset Distillation via Difficulty-Aligned Trajectory
    Matching", Guo et al., ICLR 2024, https://arxiv.org/abs/2310.05773, https://github.com/NUS-HPC-AI-Lab/DATM): random
    training images that an expert of the objective classifies right after its last pass, so it wants an objective that
    trains experts. Cost: forward passes of about `ipc` rows a class. Where the official code goes on to the next expert
    when all rows of a class are seen, this one takes the likeliest of the others (`correct_rows`).
    """

    init_from: Init | Literal["correct"] = "real"
    """Start from random training images, from noise (of unit deviation, or each image of unit L2 norm), from the
    k-means medoids of each class, or from random training images that an expert of the objective classifies right."""
    bits: Literal[8, 16, 32] = 8
    """Bits a stored value: 8, 16 (half floats) or 32."""
    clamp: bool = False
    """Keep images inside the range of real ones after every step; features and whitened images have no such range."""

    def init(self, problem: Problem, streams: Streams) -> Tensors:
        # Before there are experts, any images hold the place of those that they will choose.
        init = "real" if self.init_from == "correct" else self.init_from
        return {"pixels": initial_rows(init, problem, problem.ipc, streams).to(problem.device)}

    @property
    def asks_experts(self) -> bool:
        return self.init_from == "correct"

    def begin(self, tensors: Tensors, problem: Problem, objective: ObjectiveState, streams: Streams) -> None:
        if self.asks_experts:
            tensors["pixels"].copy_(correct_rows(problem, problem.ipc, objective, streams))

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
