"""Small sets of all of Fashion-MNIST, MNIST and CIFAR-10 beside honest baselines.

Distillation is bounded by the clock (minutes on this machine, validation looks included); then five students of
ConvNet-3 width 128 are trained on each set under one protocol, last epoch, test data read once. Every distillation
resumes, every student is a cell that is never trained twice: stop the script at any time and start it again.

    python benchmarks/small_sets.py --cell fashion-10       # or mnist-1, fashion-1-long, mnist-1-long, cifar-1-long
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import tyro
from real_sets import real_set
from record import save

import decoct
from decoct.evaluation.judge import Bench
from decoct.evaluation.protocol import PROTOCOLS
from decoct.evaluation.scorecard import entry_to_json

SOFT = PROTOCOLS["soft-1000"]
PROTOCOL = replace(SOFT, name="soft-1000-bf16", fit=replace(SOFT.fit, precision="bfloat16"), full_samples=300_000)
"""soft-1000 in bfloat16, with the teacher and the full-data line trained for 5 passes: what two cores finish."""


@dataclass(frozen=True)
class Cell:
    """What one cell makes."""

    source: str
    ipc: int
    minutes: dict[str, float]
    """Recipe -> minutes of distillation."""
    network: str = "convnet3-w64"
    """The network that distils: narrower than the students, so that the minutes buy more steps."""


CELLS = {
    "fashion-10": Cell("fashion-mnist", 10, {"ridge": 15.0, "dm": 20.0}),
    "mnist-1": Cell("mnist", 1, {"ridge": 5.0}, "convnet3-w32"),
    "fashion-1-long": Cell("fashion-mnist", 1, {"ridge-grid": 30.0}, "convnet3-w32"),
    "mnist-1-long": Cell("mnist", 1, {"ridge-grid": 10.0}, "convnet3-w32"),
    "cifar-1-long": Cell("cifar10", 1, {"ridge-grid": 20.0}),
}


@dataclass(frozen=True)
class Options:
    """Which cell, and where its work is kept."""

    cell: Literal["fashion-10", "mnist-1", "fashion-1-long", "mnist-1-long", "cifar-1-long"]
    """Data and images per class."""
    work: Path = Path("runs/benchmarks")
    """Folder of sets and finished students."""
    seeds: int = 5
    """Students for each set."""
    baseline_seeds: int = 3
    """Students, and draws of the rows, for each baseline; 0 leaves the baselines out."""
    full: bool = False
    """Also train on all the data, once."""
    teacher: bool = False
    """Also judge random images with a teacher's labels; the teacher takes 5 passes over all the data."""
    only: str | None = None
    """Only distil with this recipe and stop before judging, so that two can run side by side on one thread each."""


def main(options: Options) -> None:
    """Distil, judge, and write results/<cell>.json."""
    cell, work = CELLS[options.cell], options.work / options.cell
    data = real_set(cell.source, options.work)
    bench = Bench.of(data, PROTOCOL, ["convnet3"], options.seeds, baselines=(), out=work, device="cpu")
    entries, made = [], {}
    for recipe, minutes in cell.minutes.items():
        if options.only not in (None, recipe):
            continue
        small = decoct.distill(
            data, recipe, ipc=cell.ipc, budget=60 * minutes, network=cell.network, device="cpu",
            out=work / f"{recipe}-{minutes:g}min",
        )  # fmt: skip
        if options.only:
            return
        facts = ("steps_done", "seconds", "best_step", "best_val_accuracy", "validation", "settings")
        made[recipe] = {name: small.provenance[name] for name in facts}
        entries += bench.judge(small, recipe).entries
        _write(options, cell, bench, entries, made)
    if not options.baseline_seeds:
        return
    # Never less than the budget, of which sets may leave a little: so no baseline misses a class.
    budget = data.spec.classes * cell.ipc * (data.spec.row_bytes + 1)
    nbytes = max(budget, *(entry.nbytes for entry in entries))
    beside = Bench.of(data, PROTOCOL, ["convnet3"], options.baseline_seeds, baselines=(), out=work, device="cpu")
    for name in ("random", "herding", "random+teacher") if options.teacher else ("random", "herding"):
        entries += beside.judge_baseline(name, nbytes).entries
        _write(options, cell, bench, entries, made)
    if options.full:
        once = Bench.of(data, PROTOCOL, ["convnet3"], 1, baselines=(), out=work, device="cpu")
        entries += once.entries(once.contenders(["full"], nbytes)[0])
        _write(options, cell, bench, entries, made)


def _write(options: Options, cell: Cell, bench: Bench, entries: list, made: dict) -> None:
    save(
        options.cell,
        {
            "source": cell.source,
            "ipc": cell.ipc,
            "seeds": options.seeds,
            "protocol": PROTOCOL.facts(),
            "rows": {"train": len(bench.data.train), "val": len(bench.data.val), "test": len(bench.data.test)},
            "made": made,
            "entries": [entry_to_json(entry) for entry in entries],
        },
    )


if __name__ == "__main__":
    main(tyro.cli(Options))
