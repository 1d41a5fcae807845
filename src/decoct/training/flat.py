"""A network whose weights are one flat vector, and optimisers that are pure functions of it."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from decoct.errors import ConfigError, MismatchError
from decoct.networks.dropout import without_noise

_TINY = 1e-24
"""Added to Adam's second moment below the root: without it the derivative of the root at zero is infinite."""


class FlatNetwork:
    """`module` as a function of one vector `theta` `[P]` of all its trainable weights, in the order of their names.

    The module itself is copied once and never changed. It is run in training mode: BatchNorm normalises with the
    statistics of the batch, its running statistics are never written. Dropout is off, so that a second pass over a
    step sees what the first one saw. Weights that do not require gradients keep the values they have.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = without_noise(copy.deepcopy(module).train())
        trained = [(name, weight) for name, weight in self.module.named_parameters() if weight.requires_grad]
        self._shapes = {name: weight.shape for name, weight in trained}
        self._sizes = [weight.numel() for _, weight in trained]
        self._buffers = dict(self.module.named_buffers())
        self.layers = _layers(self._shapes)
        """Numbers of weights by layer, in the order of the vector: each matrix or kernel with the vectors after it."""
        self.count = sum(self._sizes)
        """Number of weights P."""
        if not trained:
            raise ConfigError(
                f"flattening the weights of a {type(module).__name__}",
                received="a module without weights that require gradients",
                expected="a module with at least one trainable weight",
                remedy="call requires_grad_(True) on the weights to train",
            )

    def require_same_rest(self, module: nn.Module, called: str) -> None:
        """Raise `ConfigError` where frozen weights or buffers differ from those that are kept here.

        A vector of `module` would be read with others than its own.
        """
        frozen = {name: weight for name, weight in self.module.named_parameters() if name not in self._shapes}
        theirs = dict((*module.named_parameters(), *module.named_buffers()))
        for name, value in (frozen | self._buffers).items():
            if name not in theirs or not torch.equal(value.detach().cpu(), theirs[name].detach().cpu()):
                raise ConfigError(
                    called,
                    received=f"frozen weights or buffers that differ between two seeds: {name}",
                    expected="the same ones under every seed: networks of all seeds are read with those of one",
                    remedy="let the factory load them, or draw them from a generator of its own, or call "
                    "requires_grad_(True) on them",
                )

    def flatten(self, weights: nn.Module | Mapping[str, Tensor]) -> Float[Tensor, " P"]:
        """The vector of a module of the same structure, or of its state dict; a copy, without a graph.

        Raises `MismatchError` where names or shapes differ.
        """
        named = dict(weights.named_parameters()) if isinstance(weights, nn.Module) else weights
        for name, shape in self._shapes.items():
            found = named[name].shape if name in named else None
            if found != shape:
                raise MismatchError(
                    "flattening the weights of a network",
                    received=f"{name} {'is missing' if found is None else f'of shape {tuple(found)}'}",
                    expected=f"{name} of shape {tuple(shape)}",
                    remedy="give the weights of a network of the same name, input shape and number of classes",
                )
        return torch.cat([named[name].detach().flatten() for name in self._shapes])

    def unflatten(self, theta: Float[Tensor, " P"]) -> dict[str, Tensor]:
        """Views of the vector by name, each in its shape; gradients flow to `theta`."""
        pieces = zip(self._shapes.items(), theta.split(self._sizes), strict=True)
        return {name: piece.view(shape) for (name, shape), piece in pieces}

    def logits(self, theta: Float[Tensor, " P"], inputs: Float[Tensor, "n ..."]) -> Float[Tensor, "n classes"]:
        """The network's output with these weights, differentiable any number of times in both arguments."""
        buffers = {
            name: buffer.to(theta.dtype, copy=True) if buffer.is_floating_point() else buffer.clone()
            for name, buffer in self._buffers.items()
        }
        return functional_call(self.module, {**self.unflatten(theta), **buffers}, (inputs,))


def _layers(shapes: Mapping[str, torch.Size]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, shape in shapes.items():
        if len(shape) > 1 or not found:
            found[name] = 0
        found[next(reversed(found))] += shape.numel()
    return found


class InnerOptimizer(ABC):
    """One step of training as a pure function, differentiable in all that it is given."""

    @property
    @abstractmethod
    def slots(self) -> int:
        """Vectors of state that it keeps beside the weights, S."""

    @abstractmethod
    def step(
        self,
        theta: Float[Tensor, " P"],
        state: Float[Tensor, "S P"],
        gradient: Float[Tensor, " P"],
        lr: Float[Tensor, ""],
        number: int | Float[Tensor, ""],
    ) -> tuple[Float[Tensor, " P"], Float[Tensor, "S P"]]:
        """Weights and state after step `number` (from 1; a tensor where the step is compiled for all numbers)."""

    def start(self, theta: Float[Tensor, " P"]) -> Float[Tensor, "S P"]:
        """The state before the first step: zeros."""
        return theta.new_zeros(self.slots, len(theta))


@dataclass(frozen=True)
class SGD(InnerOptimizer):
    """`v <- momentum v + g + weight_decay theta`, `theta <- theta - lr v`, as `torch.optim.SGD`."""

    momentum: float | int = 0.0
    """Share of the last step that is kept, [0, 1)."""
    weight_decay: float | int = 0.0
    """Decay of the weights, added to their gradient, 0 or more."""

    @property
    def slots(self) -> int:
        return 1 if self.momentum else 0

    def step(
        self,
        theta: Float[Tensor, " P"],
        state: Float[Tensor, "S P"],
        gradient: Float[Tensor, " P"],
        lr: Float[Tensor, ""],
        number: int | Float[Tensor, ""],
    ) -> tuple[Float[Tensor, " P"], Float[Tensor, "S P"]]:
        if self.weight_decay:
            gradient = gradient + self.weight_decay * theta
        if not self.momentum:
            return theta - lr * gradient, state
        velocity = self.momentum * state[0] + gradient
        return theta - lr * velocity, velocity[None]


@dataclass(frozen=True)
class Adam(InnerOptimizer):
    """`theta <- theta - lr m^ / (sqrt(v^) + eps)` with corrected moments `m^`, `v^` of the gradient, as
    `torch.optim.Adam`.

    1e-24 is added to `v^` below the root, so that weights without any gradient (dead units) give a derivative of 0
    where the plain formula gives NaN.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    """Decays of the first and the second moment, each in [0, 1)."""
    eps: float = 1e-8
    """Added to the root of the second moment, above 0."""

    @property
    def slots(self) -> int:
        return 2

    def step(
        self,
        theta: Float[Tensor, " P"],
        state: Float[Tensor, "S P"],
        gradient: Float[Tensor, " P"],
        lr: Float[Tensor, ""],
        number: int | Float[Tensor, ""],
    ) -> tuple[Float[Tensor, " P"], Float[Tensor, "S P"]]:
        first, second = self.betas
        mean = first * state[0] + (1 - first) * gradient
        square = second * state[1] + (1 - second) * gradient.square()
        root = (square / (1 - second**number) + _TINY).sqrt()
        moved = theta - lr * (mean / (1 - first**number)) / (root + self.eps)
        return moved, torch.stack([mean, square])
