"""`decoct export DIR --to FORM PATH`: a set in a form that anything can read."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from decoct.cli.opening import Folder, Output, left_out
from decoct.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Options:
    """Write a set in a form that other programs read."""

    folder: Folder
    """Folder of the set."""
    path: Annotated[Positional[Path], arg(metavar="PATH")]
    """The folder or file to write."""
    to: Literal["imagefolder", "parquet", "npz", "hub", "datacomp", "originals"]
    """The form to write: hub is a folder for `datasets.load_dataset`, datacomp the uids of a coreset's rows, originals
    the image files that they were read from, copied."""
    source: Annotated[Path | None, left_out("FOLDER")] = None
    """With --to originals: the folder that was selected from, where it is elsewhere now."""
    push: Annotated[str | None, left_out("USER/NAME")] = None
    """With --to hub: upload the folder as this data set."""
    public: bool = False
    """With --push: let everybody see it; without this only you can."""
    output: Output = field(default_factory=Output)


def run(options: Options) -> dict[str, Any]:
    """Read the set, checking every hash, and write it."""
    from decoct.compact.export import export
    from decoct.compact.load import load
    from decoct.data.feature_table import PREFIX

    if options.push is not None and options.to != "hub":
        raise ConfigError(
            "exporting a set", received=f"--push with --to {options.to}", expected="--push with --to hub",
            remedy="write --to hub, or leave --push out",
        )  # fmt: skip
    small = load(options.folder)
    export(small, options.to, options.path, source=options.source)
    if options.to == "datacomp" and small.spec.source.startswith(PREFIX):
        print(
            "note: rows of a table of features have no uids: what was written are hashes of their numbers, which no "
            "sample of DataComp has; look the row numbers (index in selection.parquet) up in your own list of uids",
            file=sys.stderr,
        )
    result = {"from": str(options.folder), "to": options.to, "path": str(options.path), "rows": len(small)}
    if options.push is None:
        return result
    from decoct.compact.hub import push_to_hub

    return {**result, "address": push_to_hub(options.path, options.push, private=not options.public)}


def show(result: dict[str, Any]) -> str:
    """What was written where."""
    where = f"\npushed to {result['address']}" if "address" in result else ""
    return f"{result['path']}: {result['rows']} rows as {result['to']}{where}"
