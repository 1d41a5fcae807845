"""`decoct select SOURCE`: pick a small training set out of the real rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from decoct.cli import made
from decoct.cli.opening import Opening, Output, Source, left_out


@dataclass(frozen=True, kw_only=True)
class Options:
    """Pick a small training set out of the real rows; give one of --ipc, --fraction and --count."""

    source: Source
    """digits, npz:PATH, imagefolder:PATH, parquet:PATH, hub:NAME or a bare path."""
    out: Path
    """Folder of the result."""
    method: str = "herding"
    """How to pick; `decoct methods` lists the selectors."""
    ipc: Annotated[int | None, left_out("N")] = None
    """Rows per class."""
    fraction: Annotated[float | None, left_out("SHARE")] = None
    """Share of the rows, above 0 and at most 1."""
    count: Annotated[int | None, left_out("N")] = None
    """Rows in all."""
    features: str = "auto"
    """What rows are compared by: auto, pixels, pca, network or network:NAME."""
    seed: int = 0
    """Everything random follows from this number."""
    device: str = "cpu"
    """Where the network for the features is trained."""
    opening: Opening = field(default_factory=Opening)
    output: Output = field(default_factory=Output)


def run(options: Options) -> dict[str, Any]:
    """Select, and say what was picked."""
    from decoct.compact.budget import Budget
    from decoct.selection.driver import select
    from decoct.selection.methods import METHODS

    # Wrong names and budgets are told before the data are read, which can take minutes.
    _ = METHODS[options.method]
    Budget(ipc=options.ipc, fraction=options.fraction, count=options.count)
    data = options.opening.open(options.source)
    picked = select(
        data,
        options.method,
        ipc=options.ipc,
        fraction=options.fraction,
        count=options.count,
        features=options.features,
        seed=options.seed,
        out=options.out,
        device=options.device,
    )
    return made.facts(picked, data, options.out, options.opening)


show = made.sentence
