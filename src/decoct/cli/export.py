"""`decoct export DIR --to FORM PATH`: a set in a form that anything can read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from decoct.cli.opening import Folder, Output


@dataclass(frozen=True, kw_only=True)
class Options:
    """Write a set as an image folder, parquet or npz."""

    folder: Folder
    """Folder of the set."""
    path: Annotated[Positional[Path], arg(metavar="PATH")]
    """The folder or file to write."""
    to: Literal["imagefolder", "parquet", "npz"]
    """The form to write."""
    output: Output = field(default_factory=Output)


def run(options: Options) -> dict[str, Any]:
    """Read the set, checking every hash, and write it."""
    from decoct.compact.export import export
    from decoct.compact.load import load

    small = load(options.folder)
    export(small, options.to, options.path)
    return {"from": str(options.folder), "to": options.to, "path": str(options.path), "rows": len(small)}


def show(result: dict[str, Any]) -> str:
    """What was written where."""
    return f"{result['path']}: {result['rows']} rows as {result['to']}"
