"""The lines and the figure of bias.py: means over seeds, and accuracy on aligned and conflicting test images."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from decoct.evaluation import statistics
from decoct.trust.bias.measure import GroupScores

COLUMNS = ("test", "aligned", "conflicting", "worst", "gap", "anti")


@dataclass(frozen=True)
class Cell:
    """One measured thing."""

    maker: str
    weights: str
    ipc: int
    """0 for the whole source."""


def table(found: dict[Cell, list[tuple[GroupScores, float]]]) -> list[dict[str, Any]]:
    """A line for each cell: means and half widths of the 95 % intervals over seeds, in per cent.

    Amplification is the gap minus that of the whole source without weights, the unbiased one for sets made of it.
    """
    lines = []
    for cell, runs in found.items():
        source = Cell("full", "unbiased" if cell.weights == "unbiased" else "none", 0)
        whole = [scores.gap for scores, _ in found[source]][: len(runs)]
        added = [scores.gap - gap for (scores, _), gap in zip(runs, whole, strict=True)]
        values = {name: [getattr(scores, name) for scores, _ in runs] for name in COLUMNS} | {"amplification": added}
        shown = {name: [round(100 * fmean(v), 2), _half(v)] for name, v in values.items()}
        share = round(100 * fmean(share for _, share in runs), 1)
        lines.append({**asdict(cell), "seeds": len(runs), **shown, "conflicting_weight": share})
    return lines


def _half(values: list[float]) -> float | None:
    half = statistics.half_width(values)
    return None if half is None else round(100 * half, 2)


WIDE = 5
"""Panels of a figure beside each other."""
NAMES = {
    "none": "no weights", "density": "by density", "errors": "by early errors", "groups": "by known groups",
    "unbiased": "unbiased source",
}  # fmt: skip


def figure(lines: list[dict[str, Any]], path: Path, rows: int) -> None:
    """Accuracy on aligned and conflicting test images, a panel for each maker and size, `WIDE` in a row."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = sorted({(line["maker"], line["ipc"]) for line in lines}, key=lambda panel: (panel[0] != "full", *panel))
    wide, high = min(WIDE, len(panels)), -(-len(panels) // WIDE)
    picture = Figure(figsize=(1.2 + 2.4 * wide, 0.4 + 2.9 * high), dpi=150, layout="constrained")
    FigureCanvasAgg(picture)
    places = picture.subplots(high, wide, sharex=True, sharey=True, squeeze=False).flat
    for (maker, ipc), axes in zip(panels, places, strict=False):
        own = [line for line in lines if (line["maker"], line["ipc"]) == (maker, ipc)]
        for place, (column, colour) in enumerate((("aligned", "0.75"), ("conflicting", "tab:blue"))):
            means, halves = zip(*(line[column] for line in own), strict=True)
            axes.barh(
                [row + 0.4 * place for row in range(len(own))], means, 0.38, color=colour, label=column,
                xerr=[half or 0 for half in halves], error_kw={"linewidth": 0.8},
            )  # fmt: skip
        axes.set_yticks([row + 0.2 for row in range(len(own))], [NAMES[line["weights"]] for line in own], fontsize=8)
        axes.set_title(f"all {rows:,} rows" if maker == "full" else f"{maker}, {ipc} per class", fontsize=9)
        axes.set(xlim=(0, 100))
        axes.tick_params(labelsize=8)
    for axes in places:
        axes.set_visible(False)  # more places than panels
    picture.axes[0].invert_yaxis()
    picture.axes[0].legend(fontsize=7, loc="lower right")
    picture.supxlabel("accuracy on unbiased test images, %", fontsize=9)
    picture.savefig(path)


def with_kept(lines: list[dict[str, Any]], settings: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    """The lines with those of other cells that `path` has under the same settings, the whole source first."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"settings": {}, "lines": []}
    before = known["settings"]
    # Results from before there were kinds: coloured MNIST, which is what the names below stand for.
    same = {"name": before.get("mnist"), "kind": "coloured", **before}
    if any(same.get(name) != value for name, value in settings.items()):
        return lines
    cell = ("maker", "weights", "ipc")
    own = {tuple(line[name] for name in cell) for line in lines}
    kept = [line for line in known["lines"] if tuple(line[name] for name in cell) not in own]
    return sorted([*lines, *kept], key=lambda line: line["ipc"] > 0)
