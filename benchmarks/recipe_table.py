"""Every recipe's `cpu` preset for a few minutes of distillation, judged alike: a table made of independent cells.

A cell is one recipe at one size on one data set. It is distilled for `--minutes` by the clock, then students of
ConvNet-3 width 32 are trained on it under one protocol, last epoch, test data read once; its JSON goes to
results/recipes/ as soon as it is done. A cell that has its JSON is never run again, and a distillation that was
stopped goes on, so the table may be made in any number of pieces. Baselines are cells too, at the bytes of the
same number of images per class with hard labels.

    python benchmarks/recipe_table.py [--source fashion-mnist --ipc 1 10 --recipes dm ridge] [--share 0 2]

Every set is made in a process of its own, so that none finds the machine warmed by another. Two such processes with
`--share 0 2` and `--share 1 2`, each held to one core, take every second cell each.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro
from real_sets import real_set
from record import RESULTS, save

import decoct
from decoct.compact.compact_set import CompactSet
from decoct.data.dataset import Dataset
from decoct.distillation.recipes.table import RECIPES
from decoct.errors import ConfigError
from decoct.evaluation.judge import Bench
from decoct.evaluation.protocol import PROTOCOLS
from decoct.evaluation.scorecard import entry_to_json

NOT_FOR_TRAINING = ("hcdc",)
"""It condenses a validation set; benchmarks/hcdc.py measures that."""
BASELINES = ("random", "herding", "random+teacher")
NETWORK = "convnet3-w32"
SOFT = PROTOCOLS["soft-1000"]
PROTOCOL = replace(SOFT, name="soft-1000-bf16", fit=replace(SOFT.fit, precision="bfloat16"), full_samples=300_000)


@dataclass(frozen=True)
class Options:
    """Which cells, and how long each."""

    source: str = "fashion-mnist"
    """Data set: `mnist`, `fashion-mnist`, `cifar10-10k` (10,000 training images) or `cifar10`."""
    ipc: tuple[int, ...] = (1, 10)
    """Images per class."""
    recipes: tuple[str, ...] = ()
    """Recipes and baselines; all of them by default."""
    minutes: float = 3.0
    """Minutes of distillation, experts and validation looks included."""
    seeds: int = 3
    """Students for each set."""
    work: Path = Path("runs/benchmarks/recipes")
    """Folder of sets and finished students."""
    draw: int = 0
    """Seed of the distillation: another draw of the set of every cell, with students of its own."""
    judge: bool = True
    """Train students; without, sets are only made, and another call judges them, on another core for instance."""
    made_only: bool = False
    """Leave out cells whose set is not whole yet."""
    here: bool = False
    """Make sets in this process; without, each in a process of its own."""
    share: tuple[int, int] = (0, 1)
    """(i, n): of all cells take i, i + n, i + 2 n, ..."""
    stop_after: float = 600.0
    """Start no cell when so many minutes have passed."""


@dataclass(frozen=True)
class Cell:
    """One line of the table."""

    source: str
    ipc: int
    method: str
    draw: int

    @property
    def name(self) -> str:
        again = f"-draw{self.draw}" if self.draw else ""
        return f"recipes/{self.source}-{self.ipc}-{self.method.replace('+', '-and-')}{again}"

    @property
    def done(self) -> bool:
        return (RESULTS / f"{self.name}.json").exists()


def cells(options: Options) -> Iterator[Cell]:
    """Baselines first, then recipes, size by size."""
    recipes = tuple(name for name in RECIPES if name not in NOT_FOR_TRAINING)
    for ipc in options.ipc:
        for method in options.recipes or (*BASELINES, *recipes):
            yield Cell(options.source, ipc, method, options.draw)


def set_folder(cell: Cell, options: Options) -> Path:
    return options.work / f"{cell.source}-{cell.ipc}" / f"{cell.method}-{options.minutes:g}min-{cell.draw}"


def made(cell: Cell, options: Options, data: Dataset) -> CompactSet:
    """The set of a cell, made where it is missing. Raises `ConfigError` where the recipe refuses the data."""
    return decoct.distill(
        data, cell.method, ipc=cell.ipc, budget=60 * options.minutes, seed=cell.draw, device="cpu",
        out=set_folder(cell, options),
    )  # fmt: skip


def make_apart(cell: Cell, options: Options) -> None:
    """Make the set in a process of its own: what one recipe compiled and warmed must not be a gift to the next."""
    order = [sys.executable, __file__, "--source", cell.source, "--ipc", str(cell.ipc), "--recipes", cell.method,
             "--minutes", str(options.minutes), "--work", str(options.work), "--draw", str(cell.draw), "--no-judge",
             "--here"]  # fmt: skip
    subprocess.run(order, check=False)


def run(cell: Cell, options: Options, data: Dataset) -> None:
    """Make, judge, write; a recipe that refuses these data leaves its words."""
    work = options.work / f"{cell.source}-{cell.ipc}"
    students = [options.seeds * cell.draw + seed for seed in range(options.seeds)]
    bench = Bench.of(data, PROTOCOL, [NETWORK], students, baselines=(), out=work, device="cpu")
    facts: dict[str, Any] = {
        "source": cell.source, "ipc": cell.ipc, "method": cell.method, "draw": cell.draw, "minutes": options.minutes,
        "threads": torch.get_num_threads(), "students": NETWORK, "seeds": options.seeds, "protocol": PROTOCOL.facts(),
    }  # fmt: skip
    if cell.method in BASELINES:
        if not options.judge:
            return
        nbytes = data.spec.classes * cell.ipc * (data.spec.row_bytes + 1)
        entries = bench.judge_baseline(cell.method, nbytes).entries
        save(cell.name, {**facts, "entries": [entry_to_json(entry) for entry in entries]})
        return
    if not (set_folder(cell, options) / "manifest.json").exists():
        if options.made_only:
            return
        if not options.here:
            make_apart(cell, options)
    try:
        small = made(cell, options, data)
    except ConfigError as error:
        save(cell.name, {**facts, "refused": str(error)})
        return
    if not options.judge:
        return
    keys = ("steps_done", "seconds", "best_step", "best_val_accuracy", "validation", "settings", "network")
    how = {key: small.provenance[key] for key in keys}
    entries = bench.judge(small, cell.method).entries
    save(cell.name, {**facts, "made": how, "entries": [entry_to_json(entry) for entry in entries]})


def main(options: Options) -> None:
    """Run the cells of this share that are not done."""
    (RESULTS / "recipes").mkdir(exist_ok=True)
    start = time.monotonic()
    data = real_set(options.source, options.work)
    first, every = options.share
    for cell in list(cells(options))[first::every]:
        if cell.done or time.monotonic() - start > 60 * options.stop_after:
            continue
        run(cell, options, data)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
