"""One hundred leave-one-out trainings as one stacked model, beside the same trainings one after the other.

Both start from the same weights and take the same steps; "in turn" is the plain loop (torch's fused SGD, the row that
is left out is not computed). Processor seconds of one thread, from the time of a step over a few steps, the best of two
runs, and of what goes before the first, put together to 300 steps; the largest difference of weights after one step
stands beside them. On an accelerator wall seconds are taken. "times faster" is that of what the analysis chooses.

    python benchmarks/influence_speed.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import tyro
from record import save

from decoct.analysis.routine import Routine
from decoct.analysis.stacked import copies_at_once, train_copies
from decoct.networks.build import network
from decoct.networks.count import flops_forward

CASES = (
    ("mlp2-w16", (64,), 10, 200), ("mlp2-w16", (64,), 100, 100), ("mlp-w16", (1, 14, 14), 10, 100),
    ("mlp-w16", (1, 14, 14), 100, 40), ("mlp-w64", (1, 14, 14), 10, 60), ("mlp-w64", (1, 14, 14), 100, 10),
    ("mlp-w128", (1, 28, 28), 10, 10), ("mlp-w128", (1, 28, 28), 100, 4), ("convnet2-w8", (1, 8, 8), 10, 40),
    ("convnet2-w8", (1, 8, 8), 100, 6), ("convnet3-w8", (1, 14, 14), 10, 10), ("convnet3-w8", (1, 14, 14), 100, 3),
    ("convnet3-w16", (1, 14, 14), 10, 6), ("convnet3-w16", (1, 14, 14), 100, 2),
)  # fmt: skip
"""Network, shape of the images, rows of the set, steps that are measured."""
COPIES = 100
ASKED = 300
"""Steps of the training that is reported; a step costs the same from first to last."""


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


def measure(name: str, shape: tuple[int, ...], rows: int, steps: int, device: str) -> dict[str, Any]:
    """Both ways for one network and size: the time of a step, and what goes before the first one, apart."""
    module = network(name, shape, 10, 0).to(device)
    inputs = torch.randn(rows, *shape, generator=torch.Generator().manual_seed(0)).to(device)
    targets = (torch.arange(rows) % 10).to(device)
    weights = torch.ones(COPIES, rows)
    weights[torch.arange(COPIES), torch.arange(COPIES) % rows] = 0
    weights = weights.to(device)
    whole: dict[str, float] = {}
    ends: dict[str, torch.Tensor] = {}
    for way, stack in (("in turn", 0), ("25 at a time", 25), ("100 at a time", 100)):

        def work(taken: int, stack: int = stack) -> torch.Tensor:
            return train_copies(module, inputs, targets, weights, Routine(steps=taken), stack=stack)

        ends[way] = work(1)
        first = min(seconds(partial(work, 1), device) for _ in range(2))
        many = min(seconds(partial(work, 1 + steps), device) for _ in range(2))
        whole[way] = first + (ASKED - 1) * max(many - first, 1e-6) / steps
    at_once = copies_at_once(module, shape, rows, device, COPIES)
    chosen = f"{at_once} at a time" if at_once else "in turn"
    return {
        "network": name, "shape": list(shape), "rows": rows, "copies": COPIES, "steps": ASKED, "steps_measured": steps,
        "flops_a_step": 3.0 * flops_forward(module, shape) * rows,
        "seconds": {way: round(value, 2) for way, value in whole.items()},
        "times_faster": round(whole["in turn"] / whole[chosen], 2),
        "largest_difference": float((ends["in turn"] - ends["100 at a time"]).abs().max()),
        "chosen": chosen,
    }  # fmt: skip


def main(options: Options) -> None:
    """Measure every case."""
    torch.set_num_threads(1)
    cases = []
    for name, shape, rows, steps in CASES:
        cases.append(measure(name, shape, rows, steps, options.device))
        print(cases[-1], flush=True)
    save("influence_speed" + ("" if options.device == "cpu" else f"_{options.device}"), {"cases": cases})


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
