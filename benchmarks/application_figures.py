"""Draw the figures of docs/continual.md, docs/federated.md and docs/privacy.md from benchmarks/results.

python benchmarks/application_figures.py [--docs FOLDER]
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import tyro

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
from record import RESULTS

from decoct.analysis.finding import Chart, Finding

DOCS = Path(__file__).parent.parent / "docs"
INK, MUTED = "#1f2328", "#8b949e"
COLOURS = ("#0b6bcb", "#c2410c", "#15803d", "#7e22ce", "#b45309")


def findings(name: str, result: dict[str, Any]) -> dict[str, Finding]:
    """The findings of one benchmark, by the title of their panel."""
    if name == "continual":
        titles = {"scratch": "a new network on the memory", "continue": "one network on task and memory"}
        return {titles[way]: Finding.from_json(body["finding"]) for way, body in result["ways"].items()}
    if name == "federated":
        return {f"Dirichlet {a}": Finding.from_json(body["finding"]) for a, body in result["alphas"].items()}
    return {"members found by LiRA": Finding.from_json(result["membership"]["finding"])}


def draw(axes: Axes, chart: Chart) -> None:
    """Series with their intervals."""
    loud = 0
    for series in chart.series:
        colour = MUTED if series.quiet else COLOURS[loud % len(COLOURS)]
        loud += not series.quiet
        shift = 0.0 if not chart.names else 0.12 * (loud - 1.5)
        x, y = [place + shift for place in series.x], [100 * value for value in series.y]
        ends = [
            [100 * abs(value - (end if end is not None else value)) for value, end in zip(series.y, side, strict=True)]
            for side in (series.low, series.high)
        ]
        style = "-" if series.line else ""
        axes.errorbar(x, y, ends, fmt="o" + style, ms=4, lw=1.6, elinewidth=1, color=colour, label=series.name)
    if chart.log_x:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    elif all(float(x).is_integer() for series in chart.series for x in series.x):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if chart.names:
        axes.set_xticks(range(len(chart.names)), chart.names)
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(f"{chart.y_label}, %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)


def main(docs: Path = DOCS) -> None:
    """One picture a page; pages without results keep what they have.

    Args:
        docs: Folder for the figures.
    """
    plt.rcParams.update({"font.size": 9, "text.color": INK, "axes.labelcolor": INK, "svg.fonttype": "none"})
    for name in ("continual", "federated", "privacy"):
        path = RESULTS / f"{name}.json"
        if not path.is_file():
            continue
        panels = findings(name, json.loads(path.read_text(encoding="utf-8")))
        figure, axes = plt.subplots(1, len(panels), figsize=(4.6 * len(panels), 3.3), squeeze=False, sharey=True)
        for place, (title, finding) in zip(axes[0], panels.items(), strict=True):
            draw(place, finding.chart)
            place.set_title(title, fontsize=9)
        # Panels share this axis: a limit that is set before the last of them is drawn would cut it off.
        axes[0][0].set_ylim(top=min(axes[0][0].get_ylim()[1], 100.0))
        figure.tight_layout()
        figure.savefig(docs / f"{name}.png", dpi=150)
        plt.close(figure)
        print(f"wrote {docs / name}.png")


if __name__ == "__main__":
    tyro.cli(main)
