"""Draws the charts of docs/analysis.md from results/analysis/*.json: one picture an analysis, a panel for each set.

python benchmarks/analysis_figures.py [--docs FOLDER]
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from textwrap import fill

import matplotlib as mpl
import tyro

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter
from record import RESULTS

from decoct.analysis.finding import Chart, Finding
from decoct.files import write_atomically

DOCS = Path(__file__).parents[1] / "docs"
_TICKS = 14
COLOURS = ("#0a5fb4", "#c4480c", "#00795a", "#a3377f", "#8a6500")


def draw(axes: Axes, chart: Chart, title: str) -> None:
    """One chart with its intervals."""
    factor = 100 if chart.percent else 1
    for place, series in enumerate(chart.series):
        colour = "0.45" if series.quiet else COLOURS[place % len(COLOURS)]
        x = [0.5 if chart.log_x and value == 0 else value for value in series.x]
        y = [factor * value for value in series.y]
        low = [factor * (v - (v if end is None else end)) for v, end in zip(series.y, series.low, strict=True)]
        high = [factor * ((v if end is None else end) - v) for v, end in zip(series.y, series.high, strict=True)]
        style = {"fmt": "o-" if series.line else "o", "ms": 4 if len(x) < 40 else 2, "lw": 1.2, "elinewidth": 0.8}
        axes.errorbar(x, y, [low, high], color=colour, label=series.name, alpha=0.9, **style)
    if chart.log_x:
        axes.set_xscale("log")
        places = sorted({value for series in chart.series for value in series.x})
        if len(places) <= _TICKS:
            axes.set_xticks([value or 0.5 for value in places], [f"{value:g}" for value in places], fontsize=8)
            axes.minorticks_off()
        else:
            axes.xaxis.set_minor_formatter(NullFormatter())
    if chart.names:
        axes.set_xticks(range(len(chart.names)), list(chart.names), rotation=40, ha="right", fontsize=8)
    if chart.log_y:
        axes.set_yscale("log")
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(chart.x_label, fontsize=8)
    axes.set_ylabel(fill(chart.y_label, 34), fontsize=8)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=7, frameon=False)


def main(docs: Path = DOCS) -> None:
    """Every analysis that has results.

    Args:
        docs: Folder of the folder for the figures.
    """
    out = docs / "analysis"
    found: dict[str, list[tuple[str, Chart]]] = {}
    for path in sorted((RESULTS / "analysis").glob("*.json")):
        value = json.loads(path.read_text(encoding="utf-8"))
        names = {"kind", "schema_version", *(item.name for item in fields(Finding))}
        own = {name: part for name, part in value.items() if name in names} | {"pictures": []}
        finding = Finding.from_json(own, path.name)
        about = finding.facts["set"]
        title = f"{finding.name}: {about['method']}, {about['rows']} images"
        charts = [
            (finding.name if finding.further else title, finding.chart),
            *(("", more) for more in finding.further),
        ]
        found.setdefault(finding.name, []).extend(charts)
    out.mkdir(parents=True, exist_ok=True)
    for name, panels in found.items():
        shared = name != "influence" and not any(title == "" for title, _ in panels)
        width = 4.8 * len(panels)
        figure, axes = plt.subplots(1, len(panels), figsize=(width, 3.6), squeeze=False, sharey=shared)
        for place, (title, chart) in zip(axes[0], panels, strict=True):
            draw(place, chart, title)
        figure.tight_layout()
        write_atomically(out / f"{name}.png", lambda part, figure=figure: figure.savefig(part, dpi=90, format="png"))
        plt.close(figure)
        print(out / f"{name}.png")


if __name__ == "__main__":
    tyro.cli(main)
