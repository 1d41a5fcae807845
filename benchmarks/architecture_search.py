"""48 narrow ConvNets ranked by small sets and by training on 2,000 Fashion-MNIST images: is the ranking the same?

Sets of 10 images per class made from the same 2,000 rows: random (drawn afresh for each run), herding, distribution
matching and ridge with learned labels; beside them training on all rows, stopped early. Proxies rank by validation
accuracy (500 rows); the truth is accuracy on 2,000 test rows after full training. Every run is a cell that is never
done twice: stop the script at any time and start it again. About 20 minutes on two cores.

    python benchmarks/architecture_search.py
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import tyro
from pools import parts_of
from record import save

import decoct
from decoct.applications.architecture_search import PROTOCOL, Space, architecture_search

ROWS = {"train": 200, "val": 50, "test": 200}
"""Rows of each class."""
SPACE = Space(widths=(4, 8))
BENCH = replace(PROTOCOL, fit=replace(PROTOCOL.fit, epochs=40), full_epochs=10, full_samples=20_000, checks=2)
STEPS = {"dm": 300, "ridge": 150}
"""Distillation steps."""


@dataclass(frozen=True)
class Options:
    """Where the work is kept, and how much of it there is."""

    work: Path = Path("runs/benchmarks/architecture-search")
    """Folder of sets and finished runs."""
    seeds: int = 3
    """Runs of each network on each set."""
    sets: tuple[str, ...] = ("dm", "ridge")
    """Distilled sets to rank by."""


def main(options: Options) -> None:
    """Make the sets, rank, and write results/architecture_search.json."""
    data = parts_of("fashion-mnist", ROWS)
    sets = {
        name: decoct.distill(
            data, name, ipc=10, steps=STEPS[name], network="convnet3-w16", device="cpu", out=options.work / name
        )
        for name in options.sets
    }
    found = architecture_search(data, sets, SPACE, seeds=options.seeds, protocol=BENCH, out=options.work, device="cpu")
    print(found.table())
    made = {name: small.provenance["seconds"] for name, small in sets.items()}
    rows = {name: len(getattr(data, name)) for name in ROWS}
    save("architecture_search", {**found.to_json(), "made_seconds": made, "rows": rows})


if __name__ == "__main__":
    main(tyro.cli(Options))
