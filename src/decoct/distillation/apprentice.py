"""A network that is trained between the steps of a distillation, and drawn anew when it is old."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from decoct.augment.mixing import cutmix
from decoct.augment.siamese import Siamese
from decoct.distillation.axes import Tensors
from decoct.distillation.checkpoint import load_optimizer, optimizer_tensors, prefixed, under
from decoct.distillation.problem import Problem, RealSource
from decoct.networks.build import network
from decoct.streams import Streams, derive_seed, seeded
from decoct.training.config import FitConfig
from decoct.training.fast import FastGradient
from decoct.training.graphs import draws_noise
from decoct.training.optimise import optimizer_for, trained

Batches = Iterator[tuple[Tensor, Tensor]]
_SCHEDULE = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10), 100: (100, 2)}


def loops(ipc: int) -> tuple[int, int]:
    """Outer loops of a network and its epochs between two of them, by the images per class.

    The authors' table for 1, 10, 20, 30, 40 and 50, their advice for 100 (100 and 2), straight lines between these,
    and the last pair beyond.
    """
    known = sorted(_SCHEDULE)
    if ipc >= known[-1]:
        return _SCHEDULE[known[-1]]
    below = max(size for size in known if size <= ipc)
    above = min(size for size in known if size > ipc)
    share = (ipc - below) / (above - below)
    outer, inner = (round(a + share * (b - a)) for a, b in zip(_SCHEDULE[below], _SCHEDULE[above], strict=True))
    return outer, inner


class Apprentice:
    """One network with its optimiser; every network is a function of the run's seed and the number of its draw.

    `age` counts the trainings since the network was drawn, `drawn` the networks so far. `fit` gives optimiser and
    batch size, `siamese` the changes of the pictures it is trained on, one after another, `mix` how often a batch is
    mixed by CutMix.
    """

    def __init__(
        self, problem: Problem, streams: Streams, fit: FitConfig, siamese: Sequence[Siamese], mix: float, work: float
    ) -> None:
        self._problem, self._streams, self._fit = problem, streams, fit
        self._siamese, self._mix = list(siamese), mix
        self.drawn, self.age, self._updates = 0, 0, 0
        self.module, self._optimizer = self._fresh(0)
        self._gradient = FastGradient(self.module, "ce", planned_flops=work, rows=fit.batch_size)

    def _fresh(self, number: int) -> tuple[nn.Module, torch.optim.Optimizer]:
        problem = self._problem
        seed = derive_seed(self._streams.seed, "apprentice", number)
        module = network(problem.network, problem.shape, problem.class_count, seed).to(problem.device).train()
        return module, optimizer_for(self._fit, trained(module).values())

    def renew(self) -> None:
        """Draw the next network."""
        self.drawn += 1
        self.age = 0
        self.module, self._optimizer = self._fresh(self.drawn)

    def learn(self, images: Float[Tensor, "m ..."], targets: Float[Tensor, "m classes"], epochs: int) -> None:
        """Train for `epochs` passes over these rows, in batches of nearly equal size."""
        self._steps(self._passes(images, targets, epochs))
        self.age += 1

    def study(self, real: RealSource, rows: int) -> None:
        """Train on `rows` real rows, classes in equal shares."""
        self._steps(self._real(real, rows))
        self.age += 1

    def warm_up(self, real: RealSource, rows: int) -> None:
        """Train on `rows` real rows before the first use; the network counts as new still."""
        self._steps(self._real(real, rows))

    def _passes(self, images: Tensor, targets: Tensor, epochs: int) -> Batches:
        for _ in range(epochs):
            order = torch.randperm(len(images), generator=self._streams("apprentice"))
            for rows in order.tensor_split(self._count(len(images))):
                picked = rows.to(images.device)
                yield images[picked], targets[picked]

    def _real(self, real: RealSource, rows: int) -> Batches:
        for batch in torch.arange(rows).tensor_split(self._count(rows)):
            images, labels = real.batch(len(batch))
            yield images, F.one_hot(labels, self._problem.class_count).float()

    def _count(self, rows: int) -> int:
        return -(-rows // (self._fit.batch_size or rows)) if rows else 1

    def _steps(self, batches: Batches) -> None:
        noisy = draws_noise(self.module)
        for images, targets in batches:
            if len(images) == 0:
                continue
            seed = derive_seed(self._streams.seed, "apprentice-noise", self._updates)
            with seeded(seed) if noisy else nullcontext():
                self._gradient(self.module, *self._changed(images, targets))
            self._optimizer.step()
            self._updates += 1

    def _changed(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        generator = self._streams("apprentice")
        for siamese in self._siamese:
            images = siamese(images, generator)
        if self._mix > 0 and len(images) > 1:
            return cutmix(images, targets, generator, probability=self._mix)
        return images, targets

    def state_dict(self) -> Tensors:
        """Weights, moments and counts."""
        return {
            **prefixed("weights", self.module.state_dict()),
            **prefixed("moments", optimizer_tensors(self._optimizer)),
            "counts": torch.tensor([self.drawn, self.age, self._updates]),
        }

    def load_state_dict(self, state: Tensors) -> None:
        """Take back what `state_dict` gave."""
        self.drawn, self.age, self._updates = (int(value) for value in state["counts"])
        self.module, self._optimizer = self._fresh(self.drawn)
        self.module.load_state_dict(under("weights", state))
        load_optimizer(self._optimizer, under("moments", state))
