"""What the bytes of labels buy: 10 images per class of Fashion-MNIST, their labels kept in eleven ways.

Random real rows and those of DM with hard labels and with those of a teacher, those of DATM with hard labels and with
the ones it learned: all entries or the k largest, in fp16 or 8 bits. Every student is a cell that is never trained
twice.

    python benchmarks/label_bytes.py
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from cross_architecture import HOME, PROTOCOL
from real_sets import real_set
from recipe_table import Cell, made
from recipe_table import Options as Table
from record import save

import decoct
from decoct.evaluation.judge import Bench
from decoct.evaluation.label_bytes import label_bytes, ways
from decoct.evaluation.scorecard import entry_to_json

SETS = {"random": "teacher", "dm": "teacher", "datm": "own"}
"""Whose labels each set of rows is judged with, beside hard ones."""


@dataclass(frozen=True)
class Options:
    """Which cells, and where their work is kept."""

    source: str = "fashion-mnist"
    """Data set."""
    ipc: int = 10
    """Images per class."""
    seeds: int = 3
    """Students for each way."""
    work: Path = Path("runs/benchmarks")
    """Folder of sets and finished students."""


def main(options: Options) -> None:
    """Judge the sets; the result is written after each."""
    data = real_set(options.source, options.work)
    bench = Bench.of(
        data, PROTOCOL, [HOME], options.seeds, baselines=(), out=options.work / "label_bytes", device="cpu"
    )
    found: dict[str, Any] = {}
    for name, labels in SETS.items():
        if name == "random":
            small: Any = decoct.select(data, "random", ipc=options.ipc, seed=0)
        else:
            small = made(Cell(options.source, options.ipc, name, 0), Table(work=options.work / "recipes"), data)
        card = label_bytes(small, bench, ways(data.spec.classes, (labels,)))
        found[name] = [entry_to_json(entry) for entry in card.entries]
        save(
            "label_bytes",
            {"source": options.source, "ipc": options.ipc, "seeds": options.seeds, "protocol": PROTOCOL.facts(),
             "network": HOME, "teacher": bench.teacher.key, "passes_chosen": dict(bench.teacher.chosen), "sets": found},
        )  # fmt: skip


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
