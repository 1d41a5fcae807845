"""Kinds of hyper-parameters that the loss of a training is differentiable in: continuous ones and mixtures."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from decoct.errors import ConfigError
from decoct.training.flat import FlatNetwork

SHARPNESS = 5.0
"""A mixture at a corner of its cube gives its choice exp(5) times the weight of any other."""


def require(good: bool, name: str, value: object, expected: str) -> None:
    """Raise `ConfigError` for a setting out of its range."""
    if not good:
        raise ConfigError(f"setting {name}", received=repr(value), expected=expected, remedy="give another value")


class Knobs(ABC):
    """Some hyper-parameters of one kind. Every one is a number in [0, 1]; what it means is said by its kind."""

    @abstractmethod
    def names(self, net: FlatNetwork) -> tuple[str, ...]:
        """One name for each."""

    def inputs(self, x: Float[Tensor, "n ..."], u: Float[Tensor, " k"]) -> Float[Tensor, "n ..."]:
        """What training rows become."""
        return x

    def targets(self, y: Float[Tensor, "n classes"], u: Float[Tensor, " k"]) -> Float[Tensor, "n classes"]:
        """What training targets become."""
        return y

    def penalty(
        self, theta: Float[Tensor, " P"], start: Float[Tensor, " P"], u: Float[Tensor, " k"], net: FlatNetwork
    ) -> Float[Tensor, ""]:
        """What is added to the training loss; `start` are the weights at the beginning of the training."""
        return theta.new_zeros(())

    def corners(self, net: FlatNetwork) -> list[list[float]]:
        """Values at which searches start: low and high ends, or one for each discrete choice."""
        count = len(self.names(net))
        return [[0.25] * count, [0.75] * count]

    def grid(self, net: FlatNetwork, generator: torch.Generator) -> list[float]:
        """One candidate of a search: uniform, or a pure choice where the space is discrete."""
        return torch.rand(len(self.names(net)), generator=generator).tolist()


@dataclass(frozen=True)
class WeightDecay(Knobs):
    """`d / 2 |theta|^2` with `log d` from `log low` to `log high`, one for all weights or one for each layer."""

    low: float = 1e-4
    high: float = 0.1
    per_layer: bool = True
    """One for each matrix or kernel together with the vectors after it; else one for all."""

    def __post_init__(self) -> None:
        require(0 < self.low < self.high, "low and high of WeightDecay", (self.low, self.high), "0 < low < high")

    def names(self, net: FlatNetwork) -> tuple[str, ...]:
        return tuple(f"weight decay of {layer}" for layer in net.layers) if self.per_layer else ("weight decay",)

    def penalty(
        self, theta: Float[Tensor, " P"], start: Float[Tensor, " P"], u: Float[Tensor, " k"], net: FlatNetwork
    ) -> Float[Tensor, ""]:
        decay = torch.exp(math.log(self.low) + u * math.log(self.high / self.low))
        if not self.per_layer:
            return decay[0] * theta.square().sum() / 2
        groups = theta.split(list(net.layers.values()))
        return (decay * torch.stack([group.square().sum() for group in groups])).sum() / 2


@dataclass(frozen=True)
class LearningRate(Knobs):
    """A surrogate: `|theta - theta_0|^2 / (2 lr steps)` with `log lr` from `log low` to `log high`.

    A minimum does not depend on the step size that found it, so its hypergradient would be zero. What a small step
    size does in a given number of steps is to stay near the start, as this penalty does; on a quadratic loss the two
    agree to first order in `lr steps` (gradient flow for the time `lr steps` against that proximal point).
    """

    low: float = 1e-3
    high: float = 1.0
    steps: int = 100

    def __post_init__(self) -> None:
        good = 0 < self.low < self.high and self.steps >= 1
        require(good, "LearningRate", (self.low, self.high, self.steps), "0 < low < high and 1 step or more")

    def names(self, net: FlatNetwork) -> tuple[str, ...]:
        return ("learning rate",)

    def penalty(
        self, theta: Float[Tensor, " P"], start: Float[Tensor, " P"], u: Float[Tensor, " k"], net: FlatNetwork
    ) -> Float[Tensor, ""]:
        rate = torch.exp(math.log(self.low) + u[0] * math.log(self.high / self.low))
        return (theta - start).square().sum() / (2 * rate * self.steps)


@dataclass(frozen=True)
class LabelSmoothing(Knobs):
    """Targets `(1 - s) y + s / classes` with `s` from 0 to `high`."""

    high: float = 0.5

    def __post_init__(self) -> None:
        require(0 < self.high < 1, "high of LabelSmoothing", self.high, "a number in (0, 1)")

    def names(self, net: FlatNetwork) -> tuple[str, ...]:
        return ("label smoothing",)

    def targets(self, y: Float[Tensor, "n classes"], u: Float[Tensor, " k"]) -> Float[Tensor, "n classes"]:
        return (1 - self.high * u) * y + self.high * u / y.shape[1]


@dataclass(frozen=True)
class Noise(Knobs):
    """Training rows `x + m e`, with the magnitude m from 0 to `high` and one fixed draw `e` of normal noise.

    The simplest augmentation whose magnitude a loss is differentiable in; the draw is fixed so that a minimum exists.
    """

    high: float = 1.0
    """In units of network inputs, whose standard deviation is about 1."""

    def __post_init__(self) -> None:
        require(self.high > 0, "high of Noise", self.high, "a number above 0")

    def names(self, net: FlatNetwork) -> tuple[str, ...]:
        return ("noise",)

    def inputs(self, x: Float[Tensor, "n ..."], u: Float[Tensor, " k"]) -> Float[Tensor, "n ..."]:
        generator = torch.Generator().manual_seed(0)
        return x + self.high * u * torch.randn(x.shape, generator=generator).to(x)


def _blur(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


OPERATIONS = {
    "identity": lambda x: x,
    "blur": _blur,
    "sharpen": lambda x: 2 * x - _blur(x),
    "mirror": lambda x: x.flip(-1),
    "edges": lambda x: x - _blur(x),
    "invert": lambda x: -x,
}
"""Changes of images `[n, c, h, w]` in network-input space."""


@dataclass(frozen=True)
class OperationMixture(Knobs):
    """A discrete choice between operations on training images, as the mixture `sum_i softmax(5 u)_i op_i(x)`.

    A corner of the cube (one u at 1, the others at 0) is a choice, nearly pure; a search over the discrete space starts
    at each of them, as the paper's trajectories do, and a candidate is always a corner.
    """

    operations: tuple[str, ...] = ("identity", "blur", "edges")

    def __post_init__(self) -> None:
        good = len(self.operations) > 1 and set(self.operations) <= set(OPERATIONS)
        require(good, "operations of a mixture", self.operations, f"two or more of {', '.join(OPERATIONS)}")

    def names(self, net: FlatNetwork) -> tuple[str, ...]:
        return tuple(f"operation {name}" for name in self.operations)

    def inputs(self, x: Float[Tensor, "n ..."], u: Float[Tensor, " k"]) -> Float[Tensor, "n ..."]:
        if x.ndim != 4:
            raise ConfigError(
                "mixing operations on images",
                received=f"rows of shape {list(x.shape[1:])}",
                expected="images [channels, height, width]",
                remedy="leave OperationMixture out of the space",
            )
        weights = torch.softmax(SHARPNESS * u, 0)
        changed = [weight * OPERATIONS[name](x) for weight, name in zip(weights, self.operations, strict=True)]
        return torch.stack(changed).sum(0)

    def corners(self, net: FlatNetwork) -> list[list[float]]:
        return torch.eye(len(self.operations)).tolist()

    def grid(self, net: FlatNetwork, generator: torch.Generator) -> list[float]:
        choice = int(torch.randint(len(self.operations), (1,), generator=generator))
        return torch.eye(len(self.operations))[choice].tolist()
