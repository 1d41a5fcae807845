"""`decoct data SOURCE`: what a source holds, and a picture of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from decoct.cli.opening import Opening, Output, Source


@dataclass(frozen=True, kw_only=True)
class Options:
    """Show what a source holds and draw a grid of its pictures."""

    source: Source
    """digits, npz:PATH, imagefolder:PATH, parquet:PATH, csv:PATH, hub:NAME or a bare path."""
    out: Path = Path("decoct-data.png")
    """Where the grid of pictures goes."""
    opening: Opening = field(default_factory=Opening)
    output: Output = field(default_factory=Output)


def run(options: Options) -> dict[str, Any]:
    """The summary of the source as plain JSON; writes the grid where the rows are images."""
    from decoct.data.summary import describe, summarise, write_grid

    data = options.opening.open(options.source, tell=False)
    if data.spec.is_image:
        write_grid(data, options.out)
    grid = str(options.out) if data.spec.is_image else None
    return {**summarise(data), "description": describe(data), "grid": grid}


def show(result: dict[str, Any]) -> str:
    """The summary, and where the grid is."""
    grid = f"\npictures     {result['grid']}" if result["grid"] else ""
    return result["description"] + grid
