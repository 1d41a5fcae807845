"""The optimiser of a fit and the averaged weights beside it."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from decoct.errors import ConfigError
from decoct.training.checkpoint import prefixed, under
from decoct.training.config import FitConfig


def trained(module: nn.Module) -> dict[str, nn.Parameter]:
    """The weights of a network that its training moves, by name: those that require gradients.

    Raises `ConfigError` where all of them are frozen.
    """
    found = {name: weight for name, weight in module.named_parameters() if weight.requires_grad}
    if not found:
        raise ConfigError(
            f"training a {type(module).__name__}",
            received="a network without weights that require gradients",
            expected="a network with at least one trainable weight",
            remedy="call requires_grad_(True) on the weights to train",
        )
    return found


def optimizer_for(config: FitConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """torch's own SGD, Adam or AdamW with the values of `config`; weight decay applies to all that it is given."""
    listed = list(parameters)
    # Fused updates exist for these devices only, and change nothing but speed.
    fused = all(p.device.type in ("cpu", "cuda") and p.dtype in (torch.float32, torch.float64) for p in listed)
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            listed, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay, fused=fused
        )
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(listed, lr=config.lr, weight_decay=config.weight_decay, fused=fused)


@contextmanager
def uphill(parameters: Iterable[nn.Parameter], radius: float, adaptive: bool = False) -> Iterator[None]:
    """Inside, every parameter w is `w + radius g / ||g||`, g the gradient it has now; outside it is what it was.

    "Sharpness-Aware Minimization for Efficiently Improving Generalization", Foret, Kleiner, Mobahi, Neyshabur,
    ICLR 2021, https://arxiv.org/abs/2010.01412: a step takes the gradient found here. `adaptive` makes it
    `w + radius w^2 g / ||w g||`, the ball in units of each weight of "ASAM: Adaptive Sharpness-Aware Minimization for
    Scale-Invariant Learning of Deep Neural Networks", Kwon, Kim, Park, Choi, ICML 2021,
    https://arxiv.org/abs/2102.11600, without its constant below |w|.
    """
    moved = [p for p in parameters if p.grad is not None]
    before = [p.detach().clone() for p in moved]
    scales = before if adaptive else [1] * len(moved)
    slopes = [scale * p.grad.detach() for scale, p in zip(scales, moved, strict=True) if p.grad is not None]
    norm = torch.stack([slope.double().square().sum() for slope in slopes]).sum().sqrt().clamp_min(1e-12)
    with torch.no_grad():
        for parameter, scale, slope in zip(moved, scales, slopes, strict=True):
            parameter.add_(scale * slope * (radius / norm).to(slope.dtype))
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(moved, before, strict=True):
                parameter.copy_(value)


class Average:
    """Exponential moving average of the weights, `a <- d a + (1 - d) w` with `d = min(ema, (1 + t) / (10 + t))`.

    The growing decay lets the average forget the first weights; buffers are copied as they are.
    """

    def __init__(self, module: nn.Module, ema: float) -> None:
        self.module = copy.deepcopy(module).requires_grad_(False)
        self._ema, self._steps = ema, 0

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The averaged network and the number of updates."""
        return {**prefixed("module", self.module.state_dict()), "steps": torch.tensor(self._steps)}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Take back what `state_dict` gave."""
        self._steps = int(state["steps"])
        self.module.load_state_dict(under("module", state))

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        self._steps += 1
        decay = min(self._ema, (1 + self._steps) / (10 + self._steps))
        for own, weight in zip(self.module.parameters(), module.parameters(), strict=True):
            own.lerp_(weight, 1 - decay)
        for own, buffer in zip(self.module.buffers(), module.buffers(), strict=True):
            own.copy_(buffer)
