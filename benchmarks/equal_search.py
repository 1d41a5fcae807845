"""What a search of the step size is worth to sets and to baselines, all of them with the same number of trials.

Sets of Fashion-MNIST at 10 images per class (the folders of `recipe_table.py`, made where they are missing) and rows
of the same bytes are judged twice: with the protocol's own step size, and with the one that five trainings each chose
on validation data. Test data are read once for each student whose accuracy is told, never for a trial; the scorecard
counts the reads. Every trial and student is a cell that is never trained twice.

    python benchmarks/equal_search.py
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

from decoct.evaluation.judge import Bench
from decoct.evaluation.scorecard import Scorecard, entry_to_json
from decoct.evaluation.search import Search

BASELINES = ("random", "random+teacher", "herding")


@dataclass(frozen=True)
class Options:
    """Which cells, and where their work is kept."""

    source: str = "fashion-mnist"
    """Data set."""
    ipc: int = 10
    """Images per class."""
    recipes: tuple[str, ...] = ("dm", "ncfm")
    """Which sets."""
    trials: int = 5
    """Step sizes that every set and every baseline tries."""
    seeds: int = 3
    """Students for each set."""
    work: Path = Path("runs/benchmarks")
    """Folder of sets and finished students."""


def main(options: Options) -> None:
    """Judge set by set, without the search and with it; the result is written after each set."""
    data = real_set(options.source, options.work)
    out = options.work / "equal_search"
    judges = {
        name: Bench.of(data, PROTOCOL, [HOME], options.seeds, baselines=BASELINES, search=search, out=out, device="cpu")
        for name, search in (("fixed", None), ("searched", Search.of(options.trials)))
    }
    found: dict[str, Any] = {}
    for recipe in options.recipes:
        small = made(Cell(options.source, options.ipc, recipe, 0), Table(work=options.work / "recipes"), data)
        found[recipe] = {name: told(bench.judge(small, recipe)) for name, bench in judges.items()}
        save(
            "equal_search",
            {"source": options.source, "ipc": options.ipc, "seeds": options.seeds, "trials": options.trials,
             "network": HOME, "protocol": PROTOCOL.facts(), "sets": found},
        )  # fmt: skip


def told(card: Scorecard) -> dict[str, Any]:
    """Entries and the count of reads of test data so far."""
    return {"entries": [entry_to_json(entry) for entry in card.entries], "test_reads": card.provenance["test_reads"]}


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
