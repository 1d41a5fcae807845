"""The two tables of a report: what every set reaches, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from itertools import groupby

from decoct.durations import show_bytes, show_duration
from decoct.report.charts import styles_of
from decoct.report.contents import Contents, Estimate, Row
from decoct.report.numbers import count, estimate, over
from decoct.report.plots import Curve, marker_svg

_Cells = Callable[[Row], list[str]]


def accuracies(contents: Contents) -> str:
    """The section on accuracy; nothing where nothing was judged."""
    if not contents.rows:
        return ""
    heads = ["Method", "After the last epoch, %", "Over random, points", "Chosen on validation, %", "Bytes", "Rows"]
    body = _grouped(contents, _accuracy_cells, len(heads))
    intro = (
        "Test accuracy: mean and half of the 95 % interval over seeds. <b>Over random</b> compares with rows picked at "
        "random in the same bytes, seed by seed: sets with soft labels with rows that have the labels of a teacher, "
        "where these were judged. Each gain names what it is over. Gray rows are baselines."
    )
    table = _table("Accuracy of every set", heads, body)
    return f'<section><h2 id="accuracy">Accuracy</h2><p>{intro}</p>{table}</section>'


def _accuracy_cells(row: Row) -> list[str]:
    entry = row.entry
    last, selected = Estimate.of(entry.last), Estimate.of(entry.selected)
    return [estimate(last), over(row.gain, row.rival), estimate(selected), show_bytes(entry.nbytes), f"{entry.rows:,}"]


def costs(contents: Contents) -> str:
    """The section on what sets cost; nothing where nothing was judged."""
    if not contents.rows:
        return ""
    heads = [
        "Method",
        "Images",
        "Labels",
        "Decoder",
        "Distinct samples",
        "Samples seen",
        "To make",
        "To judge, a run",
        "Peak memory",
    ]
    body = _grouped(contents, _cost_cells, len(heads))
    intro = "Bytes are what is stored. Samples seen counts augmented copies, so that no method hides its work."
    return f'<section><h2 id="cost">Cost</h2><p>{intro}</p>{_table("What every set costs", heads, body)}</section>'


def _cost_cells(row: Row) -> list[str]:
    entry = row.entry
    sizes = [show_bytes(entry.image_bytes), show_bytes(entry.label_bytes), show_bytes(entry.decoder_bytes)]
    made = show_duration(row.make_seconds) if row.make_seconds is not None else "–"
    seen = [f"{entry.distinct:,}", f"{entry.samples_seen:,}"]
    return [*sizes, *seen, made, show_duration(entry.seconds), show_bytes(entry.peak_memory)]


def _grouped(contents: Contents, cells: _Cells, columns: int) -> str:
    styles, best = styles_of(contents), contents.best()
    many = len(contents.networks) > 1
    lines = []
    for (full, ipc), rows in groupby(sorted(contents.rows, key=_table_order), key=lambda row: _table_order(row)[:2]):
        words = "all of the data" if full else f"{count(ipc)} per class"
        lines.append(f'<tr class="group"><th scope="colgroup" colspan="{columns}">{words}</th></tr>')
        for row in rows:
            style = styles.get(row.entry.label)
            quiet = row.entry.kind == "baseline"
            key = marker_svg(Curve("", (), style, quiet)) if style is not None else ""
            said = [row.entry.network] * many + [row.place] * bool(row.place)
            told = "".join(f' <span class="pm">{escape(words)}</span>' for words in said)
            kind = "quiet" if quiet else "best" if best is row else ""
            data = "".join(f"<td>{cell}</td>" for cell in cells(row))
            lines.append(f'<tr class="{kind}"><th scope="row">{key}{escape(row.entry.label)}{told}</th>{data}</tr>')
    return "".join(lines)


def _table_order(row: Row) -> tuple[bool, float, str, bool, float]:
    entry = row.entry
    full = entry.kind == "baseline" and entry.name == "full"
    return full, 0.0 if full else row.ipc, entry.network, entry.kind == "baseline", -entry.mean


def _table(caption: str, heads: Sequence[str], body: str) -> str:
    cells = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}"><table>'
        f'<caption class="hidden">{escape(caption)}</caption><thead><tr>{cells}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
