"""Seconds and memory of one outer step through T training steps, beside a textbook loop that autograd keeps whole.

1 gray 28 x 28 image of each of 10 classes, ConvNet-3 of width 32, SGD with momentum, CPU, made-up pixels (the cost does
not depend on them). Textbook: named weights, `create_graph=True` at every step, one backward at the end. Ours: the
modes of `decoct.training.unroll`, and `recompute` with compiled steps. Each cell is a process of its own, because the
memory that is measured is the highest of its life; what it had before the step is taken off.

    python benchmarks/unroll_cost.py [--rounds 3]
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import tyro
from record import save
from torch import Tensor, nn
from torch.func import functional_call

from decoct.machine import peak_memory
from decoct.networks.build import network
from decoct.training.compiled_steps import CompiledSteps
from decoct.training.flat import SGD, FlatNetwork
from decoct.training.unroll import unroll

STEPS, CLASSES, SHAPE, NETWORK, LR, MOMENTUM = (10, 20, 40, 80), 10, (1, 28, 28), "convnet3-w32", 0.01, 0.9
KINDS = ("textbook", "full", "recompute", "first-order", "compiled")


@dataclass(frozen=True)
class Options:
    """How long to measure; a kind and a number of steps make one cell."""

    rounds: int = 3
    """Timed outer steps of each cell, after one that is not."""
    kind: str = ""
    """Measure this kind only and print it."""
    steps: int = 0
    """Training steps of that cell."""


def textbook(module: nn.Module, images: Tensor, targets: Tensor, steps: int) -> Tensor:
    """The loop of every paper repository: all weights by name, every step's graph kept."""
    weights = {name: value.detach().requires_grad_() for name, value in module.named_parameters()}
    velocity = {name: torch.zeros_like(value) for name, value in weights.items()}
    for _ in range(steps):
        loss = nn.functional.cross_entropy(functional_call(module, weights, (images,)), targets)
        slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
        velocity = {name: MOMENTUM * velocity[name] + slope for name, slope in zip(weights, slopes, strict=True)}
        weights = {name: value - LR * velocity[name] for name, value in weights.items()}
    return torch.cat([value.flatten() for value in weights.values()])


def outer_step(kind: str, steps: int) -> tuple[Callable[[], Tensor], int]:
    """A function that gives the image gradient of one outer step, and the number of weights."""
    module = network(NETWORK, SHAPE, CLASSES, 0)
    net = FlatNetwork(module)
    images = torch.randn(CLASSES, *SHAPE, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    targets, rows = torch.eye(CLASSES), [torch.arange(CLASSES)] * steps
    compiled = CompiledSteps(compile=kind == "compiled")
    mode = "recompute" if kind == "compiled" else kind

    def step() -> Tensor:
        if kind == "textbook":
            theta = textbook(module, images, targets, steps)
        else:
            theta = unroll(net, net.flatten(module), images, targets, batches=rows, lr=torch.tensor(LR),
                           optimizer=SGD(momentum=MOMENTUM), mode=mode, compiled=compiled)  # type: ignore[arg-type]  # fmt: skip
        return torch.autograd.grad(theta.square().sum(), images)[0]

    return step, net.count


def measure(kind: str, steps: int, rounds: int) -> dict[str, float | list[float]]:
    """Seconds of wall clock and processor for each round, and megabytes that the step needs at its peak."""
    step, weights = outer_step(kind, steps)
    small, _ = outer_step(kind, 1)
    small()
    before = peak_memory()
    gradient = step()
    peak = peak_memory()
    wall, processor = [], []
    for _ in range(rounds):
        began, used = time.perf_counter(), time.process_time()
        step()
        wall.append(time.perf_counter() - began)
        processor.append(time.process_time() - used)
    return {
        "seconds": wall, "processor_seconds": processor, "median_processor_seconds": statistics.median(processor),
        "peak_mb": (peak - before) / 2**20, "buffer_mb": (steps + 1) * 2 * weights * 4 / 2**20,
        "gradient_norm": float(gradient.norm()),
    }  # fmt: skip


def cell(kind: str, steps: int, rounds: int) -> dict[str, float | list[float]]:
    """`measure` in a fresh process."""
    command = [sys.executable, __file__, "--kind", kind, "--steps", str(steps), "--rounds", str(rounds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(options: Options) -> None:
    """Measure and write results/unroll_cost.json."""
    if options.kind:
        print(json.dumps(measure(options.kind, options.steps, options.rounds)))
        return
    found = {kind: {str(steps): cell(kind, steps, options.rounds) for steps in STEPS} for kind in KINDS}
    setting = {"classes": CLASSES, "ipc": 1, "network": NETWORK, "shape": list(SHAPE), "optimizer": "sgd momentum 0.9"}
    save("unroll_cost", {"setting": setting, "rounds": options.rounds, "threads": torch.get_num_threads(), **found})
    for kind, cells in found.items():
        for steps, values in cells.items():
            print(f"{kind:12s} T={steps:3s} {values['median_processor_seconds']:7.3f} s {values['peak_mb']:8.1f} MB")


if __name__ == "__main__":
    main(tyro.cli(Options))
