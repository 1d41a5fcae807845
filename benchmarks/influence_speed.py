"""One hundred leave-one-out trainings as one stacked model, beside the same trainings one after the other.

Both start from the same weights and take the same steps; "in turn" is the plain loop (torch's fused SGD, the row that
is left out is not computed). Processor seconds of one thread for a few steps, the best of two runs, after a warm-up;
the largest difference of the final weights stands beside them. On an accelerator wall seconds are taken.

    python benchmarks/influence_speed.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import tyro
from record import save

from decoct.analysis.routine import Routine
from decoct.analysis.stacked import stack_pays, train_copies
from decoct.networks.build import network
from decoct.networks.count import flops_forward

CASES = (
    ("mlp2-w16", (64,), 10), ("mlp2-w16", (64,), 100), ("mlp-w16", (1, 14, 14), 10), ("mlp-w16", (1, 14, 14), 100),
    ("mlp-w64", (1, 14, 14), 10), ("mlp-w64", (1, 14, 14), 100), ("mlp-w128", (1, 28, 28), 10),
    ("mlp-w128", (1, 28, 28), 100), ("convnet2-w8", (1, 8, 8), 10), ("convnet2-w8", (1, 8, 8), 100),
    ("convnet3-w16", (1, 14, 14), 10), ("convnet3-w16", (1, 14, 14), 100), ("convnet3-w32", (3, 32, 32), 10),
)  # fmt: skip
"""Network, shape of the images, rows of the set."""
COPIES = 100
PLANNED = 2.0e9
"""Floating-point operations that a measurement takes at most, unless one step of all copies is more."""


@dataclass(frozen=True)
class Options:
    """Where it is measured."""

    device: str = "cpu"
    """cpu or cuda."""


def seconds(work: Callable[[], Any], device: str) -> float:
    """Of one call: processor seconds on a processor, wall seconds on an accelerator."""
    if device != "cpu":
        torch.cuda.synchronize()
    clock = time.process_time if device == "cpu" else time.perf_counter
    start = clock()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - start


def measure(name: str, shape: tuple[int, ...], rows: int, device: str) -> dict[str, Any]:
    """Both ways for one network and size."""
    module = network(name, shape, 10, 0).to(device)
    inputs = torch.randn(rows, *shape, generator=torch.Generator().manual_seed(0)).to(device)
    targets = (torch.arange(rows) % 10).to(device)
    weights = torch.ones(COPIES, rows)
    weights[torch.arange(COPIES), torch.arange(COPIES) % rows] = 0
    weights = weights.to(device)
    flops = 3.0 * flops_forward(module, shape) * rows
    steps = max(1, min(20, int(PLANNED / flops / COPIES)))
    found: dict[str, float] = {}
    ends: dict[str, torch.Tensor] = {}
    for way, stack in (("in turn", 0), ("25 at a time", 25), ("100 at a time", 100)):

        def work(taken: int = steps, stack: int = stack) -> torch.Tensor:
            return train_copies(module, inputs, targets, weights, Routine(steps=taken), stack=stack)

        ends[way] = work()
        found[way] = min(seconds(work, device) for _ in range(2))
    best = min(found["25 at a time"], found["100 at a time"])
    gap = float((ends["in turn"] - ends["100 at a time"]).abs().max())
    return {
        "network": name, "shape": list(shape), "rows": rows, "copies": COPIES, "steps": steps, "flops_a_step": flops,
        "seconds": {way: round(value, 4) for way, value in found.items()},
        "times_faster": round(found["in turn"] / best, 2), "largest_difference": gap,
        "chosen": "stacked" if stack_pays(module, shape, rows, device) else "in turn",
    }  # fmt: skip


def main(options: Options) -> None:
    """Measure every case."""
    torch.set_num_threads(1)
    cases = []
    for name, shape, rows in CASES:
        cases.append(measure(name, shape, rows, options.device))
        print(cases[-1], flush=True)
    save("influence_speed" + ("" if options.device == "cpu" else f"_{options.device}"), {"cases": cases})


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
