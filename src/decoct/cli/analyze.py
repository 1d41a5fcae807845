"""`decoct analyze WHAT DIR SOURCE`: ask one question about a set."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from decoct.cli.opening import Folder, Opening, Output, Source, left_out


@dataclass(frozen=True, kw_only=True)
class Options:
    """Ask one question about a set and keep the answer in DIR/analysis, where the report finds it.

    WHAT is mixing (does it stay good when real images are added?), substitutability (do networks of the one know the
    images of the other?), agreement (like early training, or like fewer images?), curvature (what can it still teach?),
    influence (what does each image teach?), scaling (images against soft labels), removed (is a class without images
    learned from labels?), or all.
    """

    what: Annotated[Positional[str], arg(metavar="WHAT")]
    """mixing, substitutability, agreement, curvature, influence, scaling, removed or all."""
    folder: Folder
    """Folder of the set."""
    source: Source
    """The source that the set was made from: digits, npz:PATH, imagefolder:PATH, ..."""
    network: Annotated[str | None, left_out("NAME")] = None
    """Network to train; without it, the field's ConvNet for the size of the images."""
    seeds: int = 5
    """Networks of each kind; the intervals are over them."""
    steps: int = 300
    """Steps that each network is trained for."""
    lr: float = 0.01
    """Step size of every training."""
    out: Annotated[Path | None, left_out("PATH")] = None
    """Where the findings and finished trainings go; without it, DIR/analysis."""
    device: Annotated[str | None, left_out("NAME")] = None
    """cpu, cuda or cuda:1; without it, the fastest there is."""
    opening: Opening = field(default_factory=Opening)
    output: Output = field(default_factory=Output)


def run(options: Options) -> dict[str, Any]:
    """Analyse the set and write what was found beside it."""
    from decoct.analysis.table import ANALYSES
    from decoct.registry import unknown_name

    if options.what not in ("all", *ANALYSES):
        raise unknown_name("analysis", options.what, [*sorted(ANALYSES), "all"])
    from decoct.analysis.analyze import analyze
    from decoct.analysis.routine import Routine
    from decoct.compact.load import load

    routine = Routine(steps=options.steps, lr=options.lr)
    small = load(options.folder)
    data = options.opening.open(options.source)
    out = options.out or options.folder / "analysis"
    names = sorted(ANALYSES) if options.what == "all" else [options.what]
    found = [
        analyze(
            ANALYSES.load(name)(routine=routine), small, data,
            network=options.network, seeds=options.seeds, out=out, device=options.device,
        )
        for name in names
    ]  # fmt: skip
    return {"findings": [one.to_json() for one in found], "out": str(out), "folder": str(options.folder)}


def show(result: dict[str, Any]) -> str:
    """Each finding as a table, and how to see it as a page."""
    from decoct.analysis.finding import Finding

    tables = [Finding.from_json(value).table() for value in result["findings"]]
    return "\n\n".join([*tables, f"findings: {result['out']} (decoct report {result['folder']} shows them)"])
