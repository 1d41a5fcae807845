"""A pool of networks of different ages, trained on the synthetic set a step at a time."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from decoct.distillation.axes import Tensors
from decoct.distillation.checkpoint import load_optimizer, optimizer_tensors, prefixed, under
from decoct.distillation.problem import Problem
from decoct.streams import Streams, derive_seed
from decoct.training.fast import FastGradient
from decoct.training.optimise import trained


class Pool:
    """`size` networks with their Adam states; a network that reaches `max_age` steps is drawn anew.

    The pool of "Dataset Distillation using Neural Feature Regression" (FRePo), Zhou, Nezhadarya, Ba, NeurIPS 2022,
    https://arxiv.org/abs/2206.00719, code of the authors: https://github.com/yongchaoz/FRePo. Ages are staggered at the
    start by as many virtual steps, so that renewals spread evenly. Every network is a function of the run's seed and
    the number of its draw.

    Differs from the official code: a network is renewed in the step in which it reaches `max_age`, there at the next
    visit once it is beyond that, in place of a step; it learns from all rows that it is given, there from at most 1000;
    pool and optimisers are checkpointed.
    """

    def __init__(self, problem: Problem, streams: Streams, size: int, max_age: int, lr: float) -> None:
        self._problem, self._streams, self._max_age, self._lr = problem, streams, max_age, lr
        self.drawn = 0
        self.ages = [(place * max_age) // size for place in range(size)]
        self.modules: list[nn.Module] = [self._network() for _ in range(size)]
        self._optimizers = [self._optimizer(module) for module in self.modules]
        self._gradient = FastGradient(self._network_at(0), "mse", planned_flops=problem.work)

    def _network_at(self, number: int) -> nn.Module:
        return self._problem.module(derive_seed(self._streams.seed, "pool", number))

    def _network(self) -> nn.Module:
        self.drawn += 1
        return self._network_at(self.drawn - 1)

    def _optimizer(self, module: nn.Module) -> torch.optim.Adam:
        return torch.optim.Adam(trained(module).values(), lr=self._lr)

    def pick(self) -> int:
        """The place of the network for this step."""
        return int(torch.randint(len(self.modules), (1,), generator=self._streams("pool")))

    def train(self, place: int, images: Float[Tensor, "m ..."], targets: Float[Tensor, "m classes"]) -> None:
        """One Adam step of the network at `place` on squared error; renew it when it is old enough."""
        self._gradient(self.modules[place], images, targets)
        self._optimizers[place].step()
        self.ages[place] += 1
        if self.ages[place] >= self._max_age:
            self.modules[place] = self._network()
            self._optimizers[place] = self._optimizer(self.modules[place])
            self.ages[place] = 0

    def state_dict(self) -> Tensors:
        """Weights and Adam moments of every network, ages, and the number of networks drawn."""
        found: Tensors = {"ages": torch.tensor([self.drawn, *self.ages])}
        for place, (module, optimizer) in enumerate(zip(self.modules, self._optimizers, strict=True)):
            found |= prefixed(f"{place}.weights", module.state_dict())
            found |= prefixed(f"{place}.adam", optimizer_tensors(optimizer))
        return found

    def load_state_dict(self, state: Tensors) -> None:
        self.drawn, *self.ages = (int(value) for value in state["ages"])
        for place, module in enumerate(self.modules):
            module.load_state_dict(under(f"{place}.weights", state))
            self._optimizers[place] = self._optimizer(module)
            load_optimizer(self._optimizers[place], under(f"{place}.adam", state))
