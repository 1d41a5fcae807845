"""A textbook training loop and a small network, for tests of the engine."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from decoct.streams import Streams, derive_seed, seeded
from decoct.training.config import FitConfig


def small_network(seed: int, norm: str = "in", dtype: torch.dtype = torch.float32) -> nn.Module:
    """conv, norm, ReLU, pool, linear for inputs `[n, 1, 8, 8]` and 3 classes."""
    with seeded(seed):
        layers = nn.BatchNorm2d(6) if norm == "bn" else nn.GroupNorm(6, 6)
        return nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1), layers, nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(96, 3)
        ).to(dtype)


def problem(rows: int = 20, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    inputs = torch.randn(rows, 1, 8, 8, generator=generator, dtype=torch.float64)
    return inputs.to(dtype), torch.arange(rows) % 3


def textbook(module: nn.Module, inputs: Tensor, targets: Tensor, config: FitConfig, seed: int) -> nn.Module:
    """Training as it stands in tutorials, one batch after the other in the order of the seed."""
    if config.optimizer == "sgd":
        optimizer = torch.optim.SGD(module.parameters(), config.lr, config.momentum, weight_decay=config.weight_decay)
    else:
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimizer]
        optimizer = kind(module.parameters(), config.lr, weight_decay=config.weight_decay)
    size = min(config.batch_size or len(inputs), len(inputs))
    order = Streams(derive_seed(seed, "fit"))("order")
    steps, step = config.epochs * math.ceil(len(inputs) / size), 0
    for _ in range(config.epochs):
        rows = torch.arange(len(inputs)) if size == len(inputs) else torch.randperm(len(inputs), generator=order)
        for batch in rows.split(size):
            factor = 1.0
            if step < config.warmup_steps:
                factor = (step + 1) / config.warmup_steps
            elif config.schedule == "step" and 2 * step >= steps:
                factor = 0.1
            elif config.schedule == "cosine":
                left = steps - config.warmup_steps
                factor = (1 + math.cos(math.pi * (step - config.warmup_steps) / left)) / 2
            optimizer.param_groups[0]["lr"] = config.lr * factor
            optimizer.zero_grad()
            F.cross_entropy(module(inputs[batch]), targets[batch]).backward()
            optimizer.step()
            step += 1
    return module.eval()


def distance(a: nn.Module, b: nn.Module) -> float:
    """Largest absolute difference of two networks' weights."""
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return max(float((p.double() - q.double()).abs().max()) for p, q in pairs)
