"""The tables of every recipe's `cpu` preset, by data set and size, from the cells in results/recipes."""

from __future__ import annotations

import json
from typing import Any

from record import RESULTS

from decoct.durations import show_bytes, show_duration
from decoct.evaluation import statistics

PUBLISHED_RECIPES = {
    "fashion-mnist": {
        "random": ("51.4", "73.8"), "herding": ("67.0", "71.1"), "dc": ("70.5", "82.3"), "dsa": ("70.6", "84.6"),
        "dm": ("70.7", "83.5"), "kip": ("73.5", "86.8"), "frepo": ("75.6", "86.2"), "ridge": ("75.6", "86.2"),
        "rfad": ("78.6", "87.0"), "rcig": ("79.8", "88.5"), "mtt": ("75.1", "87.2"), "idc": ("81.0", "86.0"),
        "rtp": ("88.5", "90.0"),
    },
    "mnist": {
        "random": ("64.9", "95.1"), "herding": ("89.2", "93.7"), "dc": ("91.7", "97.4"), "dsa": ("88.7", "97.8"),
        "dm": ("89.7", "97.5"), "kip": ("90.1", "97.5"), "frepo": ("93.0", "98.6"), "ridge": ("93.0", "98.6"),
        "rfad": ("94.4", "98.5"), "rcig": ("94.7", "98.9"), "mtt": ("91.4", "97.3"), "idc": ("94.2", "98.4"),
        "rtp": ("98.7", "99.3"),
    },
}  # fmt: skip
"""The same at 1 and 10 images per class, of width 128 and after hours on a GPU."""
REGRESSION = "500,000 steps there, of networks that widen from 128 to 512"
SHORT_OF = {
    "dc": "1000 networks there", "dsa": "1000 networks there", "dm": "20,000 steps there",
    "idc": "200,000 steps there", "frepo": REGRESSION, "ridge": REGRESSION,
    "kip": "convolutional kernels there, that of a fully connected network here",
    "mtt": "experts of 50 passes there, of 8 here", "rcig": "20 inner and 20 inverse steps there, 5 and 5 here",
    "rfad": "8 networks of width 256 for every step there, one of width 32 here",
    "rtp": "500,000 steps of 150 inner ones there, of 30 here",
}  # fmt: skip
"""What the published settings have more of, for cells that fall short of the published figure."""
SLOWER = (
    "`*`: distilled on a processor of the AVX2 kind, without bfloat16, which does fewer steps in the same minutes; its "
    "students were trained in float32 where the others were in bfloat16."
)
LATE = 1.25
"""A cell that took so many times its minutes says how long it took."""


def recipe_sections() -> list[str]:
    """One table for each data set and size of which there are cells."""
    cells = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((RESULTS / "recipes").glob("*.json"))]
    lines: list[str] = []
    for source, ipc in sorted({(cell["source"], cell["ipc"]) for cell in cells}):
        own = [cell for cell in cells if (cell["source"], cell["ipc"]) == (source, ipc)]
        lines += recipe_section(source, ipc, own)
    return lines


def recipe_section(source: str, ipc: int, cells: list[dict[str, Any]]) -> list[str]:
    """Every recipe's `cpu` preset on one data set at one size, best first."""
    judged = merged([cell for cell in cells if "entries" in cell])
    judged.sort(key=lambda cell: -statistics.mean(tuple(cell["entries"][0]["last"])))
    first, threads = judged[0], min(cell["threads"] for cell in judged)
    commits = ", ".join(sorted({f"`{cell['commit']}`" for cell in judged}))
    refused = [cell["method"] for cell in cells if "refused" in cell]
    slow = [SLOWER, ""] if any(on_slower_processor(cell) for cell in judged) else []
    return [
        f"## Recipes in minutes: {source}, {ipc} image{'s' if ipc > 1 else ''} per class", "",
        f"Every recipe's `cpu` preset for {first['minutes']:g} minutes by the clock on {threads} thread(s), where "
        f"nothing else is said, experts and validation looks included; {first['seeds']} students {first['students']} "
        f"under protocol `{first['protocol']['name']}` (`{first['protocol']['hash'][:12]}`), last epoch. Baselines at "
        f"the bytes of the same number of images with hard labels. {first['hardware']['processor']}, commits "
        f"{commits}. Published figures are of width 128, after hours on a GPU, each under its own protocol.", "",
        "| recipe | accuracy, % | bytes | rows | steps | published | where short of it |",
        "|---|---|---|---|---|---|---|",
        *(recipe_row(source, ipc, cell, threads) for cell in judged), "",
        *slow,
        *([f"Refused these data: {', '.join(refused)}.", ""] if refused else []),
    ]  # fmt: skip


def merged(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Draws of one recipe as one cell that has the students of all of them."""
    found: dict[str, dict[str, Any]] = {}
    for cell in sorted(cells, key=lambda cell: cell.get("draw", 0)):
        first = found.setdefault(cell["method"], {**cell, "sets": 0, "entries": [{**cell["entries"][0], "last": []}]})
        first["sets"] += 1
        first["entries"][0]["last"] += cell["entries"][0]["last"]
        if on_slower_processor(cell):
            first["hardware"] = cell["hardware"]
    return list(found.values())


def on_slower_processor(cell: dict[str, Any]) -> bool:
    """Whether it lacks bfloat16. Cells that do not tell their vector units are older, and had it."""
    return not cell["hardware"].get("vectors", "with bfloat16").endswith("with bfloat16")


def recipe_row(source: str, ipc: int, cell: dict[str, Any], threads: int) -> str:
    entry, made = cell["entries"][0], cell.get("made", {})
    size = entry["image_bytes"] + entry["label_bytes"] + entry["decoder_bytes"]
    known = PUBLISHED_RECIPES.get(source, {}).get(cell["method"])
    published = known[0 if ipc == 1 else 1] if known and ipc in (1, 10) else ""
    short = bool(published) and 100 * statistics.mean(tuple(entry["last"])) < float(published)
    mark = ("*" if on_slower_processor(cell) else "") + (f" ({cell['sets']} sets)" if cell["sets"] > 1 else "")
    mark += f" ({cell['threads']} threads)" if made and cell["threads"] != threads else ""
    steps, seconds = made.get("steps_done", ""), made.get("seconds") or 0
    if seconds > LATE * 60 * cell["minutes"]:
        steps = f"{steps} in {show_duration(seconds)}"
    return (
        f"| `{cell['method']}`{mark} | {percent(entry['last'])} | {show_bytes(size)} | {entry['rows']} "
        f"| {steps} | {published} | {SHORT_OF.get(cell['method'], '') if short else ''} |"
    )


def percent(values: list[float]) -> str:
    """Mean and half of the 95 % interval, in per cent."""
    mean, interval = statistics.mean(tuple(values)), statistics.interval(tuple(values))
    return f"{100 * mean:.1f}" + ("" if interval is None else f" ± {50 * (interval[1] - interval[0]):.1f}")
