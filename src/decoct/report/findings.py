"""The section of a report that tells what analyses found: a sentence, a chart and a table each."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from decoct.analysis.finding import Chart, Finding
from decoct.report.contents import Contents
from decoct.report.lines import legend, line_chart

TITLES = {
    "agreement": "Like early training, or like fewer images?",
    "architectures": "Networks ranked by small sets",
    "bias": "Bias kept, and added",
    "copies": "Images that are copies of training rows",
    "continual": "What memories of few bytes forget",
    "curvature": "What the set can still teach",
    "federated": "Sets sent once, beside FedAvg",
    "hyperparameters": "Hyper-parameters ordered by small validation sets",
    "influence": "What single images teach",
    "membership": "Who was in the training data",
    "mixing": "Mixed with real images",
    "private": "What is proven of a private set",
    "removed": "A class learned from labels alone",
    "scaling": "Images against labels",
    "substitutability": "Set and real images judged by each other's networks",
}


def findings(contents: Contents) -> str:
    """One part for every finding; nothing where there is none."""
    if not contents.findings:
        return ""
    parts = "".join(_finding(of, found) for of, found in contents.findings)
    return (
        '<section><h2 id="analysis">What is in the sets</h2><p>By <code>decoct analyze</code> and <code>decoct apply'
        f"</code>. Bars are 95 % intervals over seeds.</p>{parts}</section>"
    )


def _finding(of: str, found: Finding) -> str:
    title = f"{TITLES.get(found.name, found.name)} ({of})"
    chart = "".join(_drawn(part, title) for part in (found.chart, *found.further))
    return (
        f'<h3>{escape(title)}</h3><figure class="chart">{chart}<figcaption>{escape(found.sentence)}</figcaption>'
        f"</figure>{_pictures(found)}{_table(found, title)}{_notes(found)}"
    )


def _drawn(chart: Chart, title: str) -> str:
    large, small = (line_chart(chart, width, height, title) for width, height in ((920.0, 400.0), (400.0, 340.0)))
    return f'<div class="large">{large}</div><div class="small">{small}</div>{legend(chart)}' if large else ""


def _table(found: Finding, title: str) -> str:
    if not found.rows:
        return ""
    heads = list(found.rows[0])
    head = "".join(f'<th scope="col">{escape(h)}{", %" if h in found.percent else ""}</th>' for h in heads)
    body = []
    for row in found.rows:
        first, *rest = ((name, row.get(name)) for name in heads)
        cells = "".join(f"<td>{_cell(found, name, value)}</td>" for name, value in rest)
        body.append(f'<tr><th scope="row">{_cell(found, *first)}</th>{cells}</tr>')
    return (
        f'<details><summary>Numbers</summary><div class="scroll" role="region" tabindex="0" '
        f'aria-label="{escape(title)}"><table><caption class="hidden">{escape(title)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div></details>"
    )


def _cell(found: Finding, name: str, value: object) -> str:
    text = found.cell(name, value)  # pyright: ignore[reportArgumentType]
    mean, mark, rest = text.partition(" ± ")
    if not mark or not isinstance(value, Mapping):
        return escape(text)
    return f'{escape(mean)} <span class="pm">± {escape(rest)}</span>'


def _pictures(found: Finding) -> str:
    if not found.pictures:
        return ""
    rows = "".join(
        f"<dt>{escape(caption)}</dt><dd>"
        + "".join(f'<img class="tile" src="data:image/png;base64,{tile}" alt="{escape(caption)}">' for tile in tiles)
        + "</dd>"
        for caption, tiles in found.pictures
    )
    return f'<dl class="facts tilelist">{rows}</dl>'


def _notes(found: Finding) -> str:
    facts = found.facts
    data, seeds = facts.get("data"), len(facts.get("seeds", ()))
    told = [*found.notes]
    if data:
        told.append(
            f"{seeds} seeds of {facts.get('network')}, {data.get('train')} training and "
            f"{data.get('test')} test rows of {data.get('source')}"
        )
    elif facts.get("graph"):
        graph = facts["graph"]
        told.append(f"{seeds} seeds, a graph of {graph['nodes']} nodes, {graph['train']} of them for training")
    notes = "".join(f"<li>{escape(note)}</li>" for note in told)
    return f'<ul class="notes">{notes}</ul>' if notes else ""
