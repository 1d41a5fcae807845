"""The sections of docs/results.md about selection at scale and its speed, with their figure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from record import RESULTS, machine

from decoct.durations import show_bytes, show_duration

FIGURE = "selection-scale.png"
ORDER = ("k-center", "facility-location", "graph-cut", "ccs", "semdedup")
HIGHER = ("value",)
"""Measures that are better the larger they are; all others are better the smaller."""


def scale_sections(docs: Path) -> list[str]:
    """Seconds and memory by rows, what sharding loses, and the selectors beside textbooks; nothing without results."""
    folder = RESULTS / "selection_scale"
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    cells, losses = [cell for cell in found if "ways" not in cell], [cell for cell in found if "ways" in cell]
    for own in (cells, losses):
        own.sort(key=lambda cell: (ORDER.index(cell["method"]), cell["rows"]))
    lines = [*(_cells(docs, cells) if cells else []), *(_losses(losses) if losses else [])]
    speed = RESULTS / "selection_speed.json"
    lines += _speed(json.loads(speed.read_text(encoding="utf-8"))) if speed.exists() else []
    price = RESULTS / "score_cost.json"
    return lines + (_price(json.loads(price.read_text(encoding="utf-8"))) if price.exists() else [])


def _cells(docs: Path, cells: list[dict[str, Any]]) -> list[str]:
    _figure(cells, docs / FIGURE)
    first = cells[0]
    return [
        "## Selection of 1 % from millions of rows", "",
        f"Made-up clusters, {first['width']} float16 features a row in a file, selected by `select_table` in one "
        "process on one thread: looking at the rows, cutting them into shards on disk, picking, joining, saving. "
        "Seconds of the processor (the machine had other work); peak resident memory of the process. "
        f"{first['hardware']['processor']}; lines of other commits were measured on other days.", "",
        "| method | rows | processor seconds | microseconds a row | peak memory | commit |",
        "|---|---|---|---|---|---|",
        *(
            f"| `{cell['method']}` | {cell['rows']:,} | {cell['processor_seconds']:.0f} "
            f"| {1e6 * cell['processor_seconds'] / cell['rows']:.0f} | {show_bytes(cell['peak_memory'])} "
            f"| `{cell['commit']}` |"
            for cell in cells
        ), "",
        f"![Processor seconds against rows]({FIGURE})", "",
    ]  # fmt: skip


def _figure(cells: list[dict[str, Any]], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xscale="log", yscale="log", xlabel="rows", ylabel="processor seconds")
    for method in ORDER:
        own = [cell for cell in cells if cell["method"] == method]
        if own:
            axes.plot([c["rows"] for c in own], [c["processor_seconds"] for c in own], marker="o", label=method)
    low = min(cells, key=lambda cell: cell["rows"])
    ends = [min(cell["rows"] for cell in cells), max(cell["rows"] for cell in cells)]
    axes.plot(ends, [low["processor_seconds"] * end / ends[0] for end in ends], "k:", label="linear")
    axes.legend(fontsize=8)
    axes.grid(True, which="both", alpha=0.2)
    figure.savefig(path)


def _losses(cells: list[dict[str, Any]]) -> list[str]:
    rows = [
        f"| `{cell['method']}` | {name} | {_short(cell, 'whole', name)} | {_short(cell, 'sharded', name)} "
        f"| {_short(cell, 'random', name)} | {_kept(cell, name)} "
        f"| {show_duration(cell['ways']['whole']['processor_seconds'])} "
        f"| {show_duration(cell['ways']['sharded']['processor_seconds'])} |"
        for cell in cells
        for name in cell["ways"]["random"]
    ]
    measured = ", ".join(f"`{cell['method']}`" for cell in cells)
    return [
        "### What sharding loses", "",
        f"The same {cells[0]['rows']:,} rows picked from as a whole, from shards of at most 4096 rows, and at random; "
        "what the picks are worth by the method's own measure. `kept` is the share of the whole answer's lead over "
        "random picks that the sharded answer has too; where the whole answer is worse than random picks, there is no "
        f"lead to keep. Measured so far: {measured}.", "",
        "| method | measure | whole | sharded | random | kept | processor, whole | sharded |",
        "|---|---|---|---|---|---|---|---|", *rows, "",
    ]  # fmt: skip


def _short(cell: dict[str, Any], way: str, name: str) -> str:
    return f"{cell['ways'][way][name]:.6g}"


def _kept(cell: dict[str, Any], name: str) -> str:
    whole, sharded, chance = (cell["ways"][way][name] for way in ("whole", "sharded", "random"))
    lead = whole - chance if name in HIGHER else chance - whole
    if lead <= 0:
        return "whole is worse than random" if lead else "whole is as random"
    return f"{100 * (sharded - chance) / (whole - chance):.1f} %"


def _same(result: dict[str, Any]) -> str:
    """How many picks were compared with those of others, and how many of them are the same."""
    runs = [found for run in result["k_center"] for found in run["textbooks"].values()]
    facility = result["facility_location"]
    alike, of = min(found["same_picks"] for found in runs), runs[0]["of"]
    return (
        f"{alike} of the first {of} picks are the same in k-center (later ones were not compared), "
        f"{min(facility['same_picks'].values())} of {facility['of']} in facility location"
    )


def _speed(result: dict[str, Any]) -> list[str]:
    setting, facility = result["setting"], result["facility_location"]
    rows = [
        f"| k-center, {run['clusters'] or 'no'} clusters | {name} | {found['seconds']:.1f} | {run['seconds']:.1f} "
        f"| {found['times_slower']:.1f} |"
        for run in result["k_center"]
        for name, found in run["textbooks"].items()
    ]
    # The libraries keep a table of all pairs; ours has it too, or computes it piece by piece, as by default here.
    forms = {"facility location, table kept": "dense", "facility location, no table (default)": "blocks"}
    rows += [
        f"| {task} | {name} | {seconds:.1f} | {facility['seconds'][form]:.1f} "
        f"| {seconds / facility['seconds'][form]:.1f} |"
        for task, form in forms.items()
        for name, seconds in facility["seconds"].items()
        if name not in forms.values()
    ]
    return [
        "## Selectors beside what users have", "",
        f"k-center on {setting['rows']:,} x {setting['width']} to {setting['count']:,} (the textbook's steps are timed "
        f"and multiplied), facility location on {setting['facility_rows']:,} x {setting['facility_width']} to "
        f"{setting['facility_count']}; {_same(result)}; {result['threads']} thread(s). "
        f"{result['hardware']['processor']}, commit `{result['commit']}`.", "",
        "| task | beside | its seconds | ours | times faster |", "|---|---|---|---|---|", *rows, "",
    ]  # fmt: skip


def _price(result: dict[str, Any]) -> list[str]:
    spans = {look: f"{min(times):.2f} to {max(times):.2f}" for look, times in result["times_one_training"].items()}
    alone = result["processor_seconds"]["training alone"]
    return [
        "## The price of all scores", "",
        f"{len(result['scores'])} scores of {result['rows']:,} rows from one training of {result['network']} for "
        f"{result['passes']} passes take {spans['after']} times the processor seconds of that training by itself "
        f"({sum(alone) / len(alone):.0f} s; {len(alone)} rounds in turn) with a look after each pass, and "
        f"{spans['during']} times with looks during the passes (`--look during`); a training for each score would take "
        f"{len(result['scores'])} times. {machine(result)}", "",
    ]  # fmt: skip
