"""The section of a report that draws accuracy against bytes."""

from __future__ import annotations

from html import escape

from decoct.report.contents import Contents, Estimate
from decoct.report.plots import Curve, Point, accuracy_chart


def charts(contents: Contents) -> str:
    """One chart for each network, in a wide and a narrow drawing of which the style sheet shows one."""
    parts = []
    for network in contents.networks:
        curves = _curves(contents, network)
        if not curves:
            continue
        # One line for all marks would be wrong for those of other data.
        full = contents.full(network, contents.places[0]) if len(contents.places) == 1 else None
        line = Estimate.of(full.last) if full else None
        title = f"Accuracy against bytes, {network}"
        heading = f"<h3>{escape(network)}</h3>" if len(contents.networks) > 1 else ""
        large = accuracy_chart(curves, line, 920.0, 430.0, title)
        small = accuracy_chart(curves, line, 400.0, 400.0, title)
        parts.append(f'{heading}<div class="large">{large}</div><div class="small">{small}</div>')
    if not parts:
        return ""
    note = (
        "Bars are 95 % intervals over seeds. Sets of the same bytes stand side by side. "
        "Dashed gray: baselines at the bytes of the sets."
    )
    return (
        '<section><h2 id="chart">What the bytes buy</h2><p>Each mark is a set that a network was trained on from '
        f'nothing.</p><figure class="chart">{"".join(parts)}<figcaption>{note}</figcaption></figure></section>'
    )


def _curves(contents: Contents, network: str) -> list[Curve]:
    curves = []
    for label, style in styles_of(contents).items():
        rows = [row for row in contents.rows if row.entry.label == label and row.entry.network == network]
        if rows:
            points = sorted((Point(row.entry.nbytes, Estimate.of(row.entry.last)) for row in rows), key=_by_bytes)
            quiet = all(row.entry.kind == "baseline" for row in rows)
            curves.append(Curve(label, tuple(points), style, quiet))
    return curves


def _by_bytes(point: Point) -> int:
    return point.bytes


def styles_of(contents: Contents) -> dict[str, int]:
    """A colour and a marker for each label, the same wherever it appears; baselines come last."""
    rows = sorted(contents.rows, key=lambda row: row.entry.kind == "baseline")
    labels = dict.fromkeys(row.entry.label for row in rows if row.entry.name != "full")
    return {label: style for style, label in enumerate(labels)}
