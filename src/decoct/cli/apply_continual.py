"""`decoct apply continual SOURCE`: learn classes task by task with a memory of a few bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import arg

from decoct.cli.opening import Opening, Output, Source, left_out


@dataclass(frozen=True, kw_only=True)
class Options:
    """Learn classes task by task with a memory of a few bytes: what is left at the end, and what is forgotten."""

    source: Source
    """digits, npz:PATH, imagefolder:PATH, parquet:PATH, csv:PATH, hub:NAME or a bare path."""
    memories: Annotated[tuple[str, ...], arg(metavar="NAME...")] = ("random", "herding", "reservoir", "dm")
    """What is kept of old classes: reservoir, or selectors and recipes."""
    tasks: int = 5
    """Into how many tasks the classes are cut, in an order drawn from each seed."""
    bytes: int = 20_000
    """Bytes of the memory, images, labels and decoder together."""
    way: Literal["scratch", "continue"] = "scratch"
    """scratch: a new network on the memory after each task; continue: one network on the new task and the memory."""
    steps: Annotated[int | None, left_out("N")] = None
    """Steps of each distillation; without it, the recipe's own."""
    network: Annotated[str | None, left_out("NAME")] = None
    """Network; without it, the field's ConvNet for the size of the images."""
    seeds: int = 3
    """Orders of classes; the interval is over them, and there is none for one."""
    out: Path = Path("decoct-continual")
    """Folder of finished runs, the result and the report; the same command goes on."""
    device: Annotated[str | None, left_out("NAME")] = None
    """cpu, cuda or cuda:1; without it, the fastest there is."""
    opening: Opening = field(default_factory=Opening)
    output: Output = field(default_factory=Output)


def run(options: Options) -> dict[str, Any]:
    """Learn, measure and report."""
    from decoct.applications.continual import ContinualConfig, continual
    from decoct.cli.finding_report import write_finding
    from decoct.files import make_folder

    data = options.opening.open(options.source)
    config = ContinualConfig(
        tasks=options.tasks, nbytes=options.bytes, way=options.way, steps=options.steps, network=options.network
    )
    found = continual(
        data, options.memories, config, seeds=options.seeds, out=make_folder(options.out), device=options.device
    )
    return write_finding(options.out, "continual", found, data)


def show(result: dict[str, Any]) -> str:
    """The table, and where the report is."""
    return f"{result['table']}\nreport: {Path(result['report']).resolve()}"
