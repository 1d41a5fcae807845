"""A queue of networks of different ages, trained on the real data a little at a time."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from decoct.distillation.axes import Tensors
from decoct.distillation.checkpoint import load_optimizer, optimizer_tensors, prefixed, under
from decoct.distillation.problem import Problem, RealSource
from decoct.networks.build import network
from decoct.networks.count import flops_forward
from decoct.progress import progress
from decoct.settings import require_above, require_at_least, require_share
from decoct.streams import Streams, derive_seed
from decoct.training.fast import FastGradient
from decoct.training.fast_embed import FastEmbed
from decoct.training.optimise import trained


@dataclass(frozen=True)
class QueueConfig:
    """How many networks a queue holds, and how much they are trained.

    The defaults are IDM's ("Improved Distribution Matching for Dataset Condensation", Zhao et al., CVPR 2023,
    https://arxiv.org/abs/2307.09742): a long queue, twenty SGD steps of training in every outer step.
    """

    size: int = 100
    """Networks kept at most; where the queue is full, the oldest leaves as a fresh one enters."""
    start: int = 3
    """Networks at the start, `size` at most."""
    renew_every: int = 30
    """Outer steps after which a fresh network enters."""
    trained_per_step: int = 2
    """Networks, chosen at random, that are trained where training is due."""
    train_every: int = 1
    """Outer steps after which training is due; more than one makes training rarer and cheaper."""
    train_steps: int = 10
    """SGD steps that a chosen network gets."""
    warm_steps: int = 0
    """SGD steps of the oldest network before the first outer step; younger ones get evenly fewer."""
    batch: int = 256
    """Real rows of one SGD step, classes in equal shares."""
    lr: float = 0.01
    """Step size of SGD."""
    momentum: float = 0.9
    """Momentum of SGD."""
    weight_decay: float = 5e-4
    """Weight decay of SGD."""

    def __post_init__(self) -> None:
        where, ones = "a queue of networks", dict.fromkeys(("size", "start", "renew_every", "train_every", "batch"), 1)
        zeros = dict.fromkeys(("trained_per_step", "train_steps", "warm_steps", "weight_decay"), 0)
        require_at_least(self, where, **ones, **zeros)
        require_above(self, where, lr=0)
        require_share(self, where, "momentum")

    def flops(self, problem: Problem) -> float:
        """Floating-point operations of the training that falls to one outer step, roughly."""
        probe = network(problem.network, problem.shape, problem.class_count, 0)
        rows = self.trained_per_step * self.train_steps * self.batch / self.train_every
        return 3.0 * rows * flops_forward(probe, problem.shape)


@dataclass(eq=False)
class Member:
    """One network of a queue."""

    number: int
    """The number of its draw, which with the run's seed gives its first weights."""
    module: nn.Module
    optimizer: torch.optim.Optimizer
    age: int = 0
    """SGD steps done."""
    accuracy: float = 0.0
    """Running accuracy (fraction) on real training batches, each seen before the step on it; 0 before training."""
    kept: Tensors = field(default_factory=dict)
    """What an objective computed of the real data under these weights; dropped when they change."""


class Queue:
    """Networks trained on real data, of different ages.

    A member's accuracy is measured on the batches it is about to be trained on: validation and test data are never
    read. Every fresh network is a function of the run's seed and the number of its draw.

    Cost: `trained_per_step train_steps / train_every` SGD steps of `batch` rows in every outer step. Memory: weights
    and momentum of every member, and what objectives keep with it. Networks stay in train mode, so BatchNorm uses
    the statistics of the batch at hand; its running statistics are saved with the weights.
    """

    def __init__(self, problem: Problem, streams: Streams, config: QueueConfig) -> None:
        self._problem, self._streams, self._config = problem, streams, config
        self._drawn, self._steps, self._warm = 0, 0, False
        self.members: list[Member] = []
        for _ in range(min(config.start, config.size)):
            self._enter()
        self._gradient = FastGradient(self._network_at(0), "ce", planned_flops=problem.work)
        self._predict = FastEmbed(self._network_at(0), lambda module, inputs: module(inputs))

    def _network_at(self, number: int) -> nn.Module:
        return self._problem.module(derive_seed(self._streams.seed, "queue", number))

    def _member_at(self, number: int) -> Member:
        module, config = self._network_at(number), self._config
        optimizer = torch.optim.SGD(
            trained(module).values(), lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
        )
        return Member(number, module, optimizer)

    def _enter(self) -> None:
        if len(self.members) == self._config.size:
            self.members.pop(0)
        self.members.append(self._member_at(self._drawn))
        self._drawn += 1

    def pick(self) -> Member:
        """The member of this step, any with the same chance."""
        place = int(torch.randint(len(self.members), (1,), generator=self._streams("queue")))
        return self.members[place]

    def warm(self, real: RealSource) -> None:
        """Train the first members, the oldest longest; does nothing when it was done before."""
        count, steps = len(self.members), self._config.warm_steps
        if not self._warm and steps:
            with progress(f"training {count} networks", float(count)) as tick:
                for place, member in enumerate(self.members):
                    self._train(member, real, -(-steps * (count - place) // count))
                    tick(place + 1)
        self._warm = True

    def step(self, real: RealSource) -> None:
        """What falls to one outer step: training where it is due, a fresh network where one is due."""
        self._steps += 1
        if self._steps % self._config.train_every == 0:
            order = torch.randperm(len(self.members), generator=self._streams("queue"))
            for place in order[: self._config.trained_per_step].tolist():
                self._train(self.members[place], real, self._config.train_steps)
        if self._steps % self._config.renew_every == 0:
            self._enter()

    def _train(self, member: Member, real: RealSource, steps: int) -> None:
        for left in range(steps, 0, -1):
            images, labels = real.batch(self._config.batch)
            if left == 1:
                hit = (self._predict(images, member.module).argmax(1) == labels).double().mean().item()
                member.accuracy = hit if member.age < steps else 0.5 * (member.accuracy + hit)
            self._gradient(member.module, images, labels)
            member.optimizer.step()
            member.age += 1
            member.kept = {}

    def state_dict(self) -> Tensors:
        """Weights, momentum, age, accuracy and keepsakes of every member, and the counters."""
        counts = [self._drawn, self._steps, int(self._warm)]
        found: Tensors = {
            "counts": torch.tensor(counts),
            "numbers": torch.tensor([member.number for member in self.members]),
            "ages": torch.tensor([member.age for member in self.members]),
            "accuracy": torch.tensor([member.accuracy for member in self.members], dtype=torch.float64),
        }
        for member in self.members:
            found |= prefixed(f"{member.number}.weights", member.module.state_dict())
            found |= prefixed(f"{member.number}.momentum", optimizer_tensors(member.optimizer))
            found |= prefixed(f"{member.number}.kept", member.kept)
        return found

    def load_state_dict(self, state: Tensors) -> None:
        self._drawn, self._steps, warm = (int(value) for value in state["counts"])
        self._warm = bool(warm)
        self.members = [self._restored(int(number), state) for number in state["numbers"]]
        for member, age, accuracy in zip(self.members, state["ages"], state["accuracy"], strict=True):
            member.age, member.accuracy = int(age), float(accuracy)

    def _restored(self, number: int, state: Tensors) -> Member:
        member = self._member_at(number)
        member.module.load_state_dict(under(f"{number}.weights", state))
        load_optimizer(member.optimizer, under(f"{number}.momentum", state))
        member.kept = {name: self._placed(value) for name, value in under(f"{number}.kept", state).items()}
        return member

    def _placed(self, value: Tensor) -> Tensor:
        return value.to(self._problem.device)
