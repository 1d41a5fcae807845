"""Every selector on a pool of 10,000 images at six fractions, clean and with planted label noise: independent cells.

A cell is one selector at one fraction of one pool. Students of ConvNet-3 width 32 are trained on what it picks, always
for the same number of images shown, last epoch, test data read once. The pool is drawn from the official training
rows, 2,000 more are for validation; under noise every label of both is replaced, with that probability, by one of the
other classes, as it would be for a person who does not know. `random` draws its rows anew for each student, the others
pick once. A cell writes its JSON to results/selection/ as soon as it is done and is never run again; students that are
finished are kept as well. Training dynamics are recorded once for each pool. Of `cifar10-10k`, which has 9,000
training rows, the pool is what is left beside validation: 7,000.

    python benchmarks/selection_table.py [--source fashion-mnist --fractions 0.01 0.1 --methods k-center] [--noise 0.2]
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from real_sets import real_set
from record import RESULTS, save

import decoct
from decoct.data.dataset import Dataset
from decoct.evaluation.bench import Bench
from decoct.evaluation.protocol import PROTOCOLS, Protocol
from decoct.evaluation.scorecard import entry_to_json
from decoct.selection.methods import METHODS
from decoct.streams import derive_seed

POOL, VALIDATION = 10_000, 2_000
SHOWN = 50_000
"""Images shown to every student, whatever the size of its set."""
NETWORK = "convnet3-w32"
FEATURES = "network"
"""What rows are compared by in every cell; the default of `select` is principal components."""


@dataclass(frozen=True)
class Options:
    """Which cells."""

    source: str = "fashion-mnist"
    """Data set: `mnist`, `fashion-mnist` or `cifar10-10k`."""
    fractions: tuple[float, ...] = (0.01, 0.05, 0.1, 0.3, 0.5, 0.7)
    """Shares of the pool."""
    methods: tuple[str, ...] = ()
    """Selectors; all of them by default, `random` first."""
    noise: float = 0.0
    """Share of labels that are replaced."""
    seeds: int = 5
    """Students for each set."""
    work: Path = Path("runs/benchmarks/selection")
    """Folder of recordings and finished students."""
    stop_after: float = 600.0
    """Start no cell when so many minutes have passed."""
    device: str = "cpu"
    """Where students, and networks that choose, are trained."""


@dataclass(frozen=True)
class Cell:
    """One entry of the table."""

    source: str
    noise: float
    fraction: float
    method: str

    @property
    def name(self) -> str:
        return f"selection/{self.source}-noise{self.noise:g}-{self.fraction:g}-{self.method}"

    @property
    def done(self) -> bool:
        return (RESULTS / f"{self.name}.json").exists()


def cells(options: Options) -> Iterator[Cell]:
    """Fraction by fraction, `random` first."""
    methods = options.methods or ("random", *(name for name in METHODS if name != "random"))
    for fraction in options.fractions:
        for method in methods:
            yield Cell(options.source, options.noise, fraction, method)


def pool(source: str, noise: float, work: Path, draw: int = 0) -> tuple[Dataset, dict[str, bool]]:
    """The pool as a data set of its own, and for each of its ids whether its label is the true one."""
    whole = real_set(source, work)
    chance = np.random.default_rng(derive_seed(draw, "selection-table", source))
    rows = chance.permutation(len(whole.train))[: POOL + VALIDATION]
    images, truth = whole.train.raw(rows).numpy(), whole.train.labels(rows).numpy()
    classes = whole.spec.classes
    wrong = chance.random(len(rows)) < noise
    labels = np.where(wrong, (truth + chance.integers(1, classes, len(rows))) % classes, truth)
    data = decoct.open(
        (images, labels, whole.test.raw().numpy(), whole.test.labels().numpy()),
        val_fraction=VALIDATION / len(rows), cache=work / "cache",
    )  # fmt: skip
    right = {str(row): not wrong[row] for row in range(len(rows))}
    return data, {own: right[own.rpartition("/")[2]] for own in data.train.ids.tolist()}


def protocol(rows: int) -> Protocol:
    """AdamW on batches of 64 for `SHOWN` images, no augmentation."""
    fit = replace(
        PROTOCOLS["soft-300"].fit, epochs=max(1, round(SHOWN / rows)), batch_size=64, augment="", precision="bfloat16"
    )
    return Protocol(f"shown-{SHOWN}", fit, full_epochs=1, full_samples=SHOWN, full_batch=64, checks=1)


def run(cell: Cell, options: Options, data: Dataset, right: dict[str, bool]) -> None:
    """Pick, judge, write."""
    count = round(cell.fraction * len(data.train))
    work = options.work / f"{cell.source}-noise{cell.noise:g}"
    judged = Bench.of(
        data, protocol(count), [NETWORK], options.seeds,
        baselines=(), out=work / f"{cell.fraction:g}", device=options.device,
    )  # fmt: skip
    facts: dict[str, Any] = {
        "source": cell.source, "noise": cell.noise, "fraction": cell.fraction, "method": cell.method, "rows": count,
        "students": NETWORK, "features": FEATURES, "device": options.device, "protocol": protocol(count).facts(),
        "pool": len(data.train),
    }  # fmt: skip
    if cell.method == "random":
        entries = judged.judge_baseline("random", count * (data.spec.row_bytes + 1)).entries
        save(cell.name, {**facts, "entries": [entry_to_json(entry) for entry in entries]})
        return
    began = time.process_time()
    core = decoct.select(
        data, cell.method, count=count, features=FEATURES, cache=work / "dynamics", device=options.device
    )
    seconds = time.process_time() - began
    wrong = sum(not right[own] for own in core.ids.tolist())
    entries = judged.judge(core, cell.method).entries
    save(cell.name, {
        **facts, "processor_seconds": seconds, "mislabelled_kept": wrong,
        "mislabelled_in_pool": sum(not good for good in right.values()),
        "entries": [entry_to_json(entry) for entry in entries],
    })  # fmt: skip


def main(options: Options) -> None:
    """Run the cells that are not done."""
    (RESULTS / "selection").mkdir(exist_ok=True)
    start = time.monotonic()
    data, right = pool(options.source, options.noise, options.work)
    for cell in cells(options):
        if cell.done or time.monotonic() - start > 60 * options.stop_after:
            continue
        run(cell, options, data, right)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
