"""How fast the preset `paper` of a recipe goes on this machine: time before the first step, time of a step, memory.

Each cell (a recipe at a number of images per class) has a process of its own that steps for `--seconds` after its
first step; one that fails, or is not ready after `--patience` seconds, says so and the others go on. With
`--at-once` several share the device, as they do where many cells are made in one turn. Nothing is judged.

    python benchmarks/paper_rates.py --source cifar10 --cells rtp:1 frepo:10 ncfm:50
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from real_sets import real_set
from record import save

from decoct.distillation.problem import Problem, default_strategy
from decoct.distillation.recipes.table import resolve
from decoct.distillation.recipes.task import Task
from decoct.distillation.run import Distillation
from decoct.machine import peak_memory
from decoct.networks.build import default_network

MARK = "rate: "


@dataclass(frozen=True)
class Options:
    """Which cells, where and for how long."""

    cells: tuple[str, ...] = (
        "ridge-grid:1", "rtp:1", "rat-bptt:10", "frepo:10", "rfad:10", "rcig:10", "ncfm:10", "idc:10", "dsa:10",
        "dm:50", "idm:50",
    )  # fmt: skip
    """`recipe:ipc` each."""
    source: str = "cifar10"
    """Data set: `mnist`, `fashion-mnist`, `cifar10` or `cifar10-10k`."""
    device: str = "cuda"
    """Where they run."""
    seconds: float = 12.0
    """Time of the steps that are counted."""
    patience: float = 90.0
    """Seconds until a cell that is not done is given up."""
    at_once: int = 1
    """Processes that share the device."""
    work: Path = Path("runs/benchmarks/paper_rates")
    """Folder of prepared data."""
    cell: str = ""
    """For the process of one cell: its name."""


def measured(options: Options) -> dict[str, Any]:
    """The rate of one cell, measured in this process."""
    recipe, _, ipc = options.cell.rpartition(":")
    began = time.perf_counter()
    data = real_set(options.source, options.work)
    opened = time.perf_counter()
    task = Task(data.spec, int(ipc), "paper")
    point = resolve(recipe, task)
    strategy = default_strategy(data.spec) if point.augment == "auto" else point.augment
    name = point.network or default_network(data.spec.shape)
    probe = Problem(data, int(ipc), name, options.device, strategy, work=0.0)
    work = point.steps * point.objective.flops(probe)
    run = Distillation(Problem(data, int(ipc), name, options.device, strategy, work=work), point, 0)
    run.prepare()
    run.advance(0.0)
    first, steps = time.perf_counter(), 0
    while time.perf_counter() - first < options.seconds:
        run.advance(0.0)  # reads the loss, which waits for the device
        steps += 1
    spent = time.perf_counter() - first
    on_gpu = options.device.startswith("cuda")
    return {
        "network": name, "steps_of_a_run": point.steps, "seconds_of_opening": opened - began,
        "seconds_before_second_step": first - opened, "steps": steps, "seconds_per_step": spent / steps,
        "peak_memory": torch.cuda.max_memory_allocated() if on_gpu else peak_memory(),
    }  # fmt: skip


def asked(cell: str, options: Options) -> dict[str, Any]:
    """What a process of its own finds out about a cell, or how it failed."""
    order = [sys.executable, __file__, "--cell", cell, "--source", options.source, "--device", options.device,
             "--seconds", str(options.seconds), "--work", str(options.work)]  # fmt: skip
    try:
        done = subprocess.run(order, capture_output=True, text=True, check=False, timeout=options.patience)
    except subprocess.TimeoutExpired:
        found: dict[str, Any] = {"failed": f"not done after {options.patience:g} seconds"}
    else:
        told = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
        found = json.loads(told[-1].removeprefix(MARK)) if told else {"failed": done.stderr.strip()[-600:]}
    print(cell, found, flush=True)
    return {"cell": cell, **found}


def main(options: Options) -> None:
    """Measure every cell and write what was found."""
    if options.cell:
        print(MARK + json.dumps(measured(options)), flush=True)
        return
    real_set(options.source, options.work)
    with ThreadPoolExecutor(options.at_once) as crew:
        lines = list(crew.map(lambda cell: asked(cell, options), options.cells))
    save("paper_rates", {
        "source": options.source, "device": options.device, "at_once": options.at_once, "seconds": options.seconds,
        "lines": lines,
    })  # fmt: skip


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
