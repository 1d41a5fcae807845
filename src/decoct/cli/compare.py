"""`decoct compare SOURCE`: several methods at several sizes, judged alike, with a report."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from decoct.cli.opening import Opening, Output, Source, left_out

if TYPE_CHECKING:
    from decoct.evaluation.comparison import Comparison


@dataclass(frozen=True, kw_only=True)
class Options:
    """Make sets with several methods, judge them alike, and write a report. The same command again goes on."""

    source: Source
    """digits, npz:PATH, imagefolder:PATH, parquet:PATH, csv:PATH, hub:NAME or a bare path."""
    methods: Annotated[tuple[str, ...], arg(metavar="NAME...")] = ("random", "herding", "k-means", "auto")
    """Selectors and recipes; `decoct methods` lists them. Rows are compared by their principal components here."""
    ipc: Annotated[tuple[int, ...], arg(metavar="N...")] = (1, 10)
    """Sizes, in images per class."""
    budget: Annotated[str | None, left_out("TIME")] = None
    """Time for each distillation, such as 20min; not together with --steps."""
    steps: Annotated[int | None, left_out("N")] = None
    """Steps of each distillation."""
    protocol: str = "quick"
    """How networks are trained and measured: quick, dc-300, dsa-1000, soft-300 or soft-1000."""
    networks: Annotated[tuple[str, ...], left_out("NAME...")] = ()
    """Networks to judge with; without it, the field's ConvNet for the size of the images."""
    seeds: int = 5
    """Networks of each kind; the interval is over them."""
    baselines: Annotated[tuple[str, ...], arg(metavar="NAME...")] = ("random", "herding", "random+teacher", "full")
    """What every set is compared with, in its own bytes; full is all of the data."""
    seed: int = 0
    """Seed of the makers."""
    search: Annotated[int | None, left_out("N")] = None
    """Try N step sizes for every method and every baseline on validation data."""
    out: Path = Path("decoct-compare")
    """Folder of sets, finished runs, comparison.json and report.html."""
    device: Annotated[str | None, left_out("NAME")] = None
    """cpu, cuda or cuda:1; without it, the fastest there is."""
    opening: Opening = field(default_factory=Opening)
    output: Output = field(default_factory=Output)


def run(options: Options) -> dict[str, Any]:
    """Compare and report."""
    from decoct.evaluation.compare import compare
    from decoct.evaluation.protocol import protocol_from
    from decoct.evaluation.search import Search
    from decoct.report.html import write_report

    protocol = protocol_from(options.protocol)
    data = options.opening.open(options.source)
    result: Comparison = compare(
        data,
        options.methods,
        options.ipc,
        budget=options.budget,
        steps=options.steps,
        protocol=protocol,
        networks=options.networks or None,
        seeds=options.seeds,
        baselines=options.baselines,
        seed=options.seed,
        search=None if options.search is None else Search.of(options.search),
        out=options.out,
        device=options.device,
    )
    report = write_report(options.out / "report.html", result, data, commands=[command_line(options)])
    return {**result.to_json(), "out": str(options.out), "report": str(report)}


def show(result: dict[str, Any]) -> str:
    """The table, and where the report is."""
    from decoct.evaluation.scorecard import entry_from_json
    from decoct.evaluation.shown import footer, table_of

    entries = [entry_from_json(entry) for entry in result["entries"]]
    notes = [note for contest in result["contests"] for note in contest["scorecard"]["notes"]]
    notes = [*result["refused"], *notes]
    table = table_of(entries) + footer(result["protocol"], result["data"], entries, notes)
    return f"{table}\nreport: {Path(result['report']).resolve()}"


def command_line(options: Options) -> str:
    """The command that does the same again, with every choice that changes the result."""
    words = ["decoct", "compare", options.source, "--methods", *options.methods]
    words += ["--ipc", *map(str, options.ipc), "--protocol", options.protocol]
    words += ["--seeds", str(options.seeds), "--baselines", *options.baselines, "--seed", str(options.seed)]
    for name in ("budget", "steps", "search"):
        if (value := getattr(options, name)) is not None:
            words += [f"--{name}", str(value)]
    if options.networks:
        words += ["--networks", *options.networks]
    return shlex.join([*words, *options.opening.words(), "--out", str(options.out)])
