"""The section of a report on what the bytes of labels buy."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from decoct.durations import show_bytes
from decoct.evaluation.scorecard import Entry, Scorecard
from decoct.report.contents import Estimate
from decoct.report.numbers import estimate
from decoct.report.plots import Curve, Point, accuracy_chart

_SHOWN = {"hard": "hard", "own": "own, fp16", "own-8bit": "own, 8 bits", "teacher": "teacher, fp16",
          "teacher-8bit": "teacher, 8 bits"}  # fmt: skip


def label_section(cards: Sequence[tuple[str, Scorecard]]) -> str:
    """For each set and network the accuracy against stored bytes, a curve for each kind of label and precision."""
    if not cards:
        return ""
    parts = []
    for title, card in cards:
        for network in dict.fromkeys(entry.network for entry in card.entries):
            entries = [entry for entry in card.entries if entry.network == network]
            parts.append(f"<h3>{escape(title)}, {escape(network)}</h3>{_chart(entries, title)}{_table(entries)}")
    return (
        '<section><h2 id="label-bytes">What the bytes of labels buy</h2><p>The same rows, their labels kept in many '
        "ways: top-k keeps the k largest entries of each row with their class numbers and makes them sum to 1 again. "
        f"Bytes are those of images and labels together.</p>{''.join(parts)}</section>"
    )


def curve_of(label: str) -> str:
    """The curve that a way of keeping labels belongs to: whose labels, in how many bits."""
    source, _, rest = label.partition("-")
    return f"{source}-8bit" if rest.endswith("8bit") else source


def _chart(entries: Sequence[Entry], title: str) -> str:
    names = dict.fromkeys(curve_of(entry.label) for entry in entries)
    curves = []
    for style, name in enumerate(names):
        own = sorted((e for e in entries if curve_of(e.label) == name), key=lambda entry: entry.nbytes)
        points = tuple(Point(entry.nbytes, Estimate.of(entry.last)) for entry in own)
        curves.append(Curve(_SHOWN.get(name, name), points, style, name == "hard"))
    words = f"Accuracy against bytes with labels kept in {len(entries)} ways, {title}"
    sizes = ((920.0, 400.0), (400.0, 400.0))
    large, small = (accuracy_chart(curves, None, *size, words) for size in sizes)
    return f'<figure class="chart"><div class="large">{large}</div><div class="small">{small}</div></figure>'


def _table(entries: Sequence[Entry]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(entry.label)}</th><td>{estimate(Estimate.of(entry.last))}</td>'
        f"<td>{show_bytes(entry.label_bytes)}</td><td>{show_bytes(entry.nbytes)}</td></tr>"
        for entry in entries
    )
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("Labels", "Accuracy, %", "Label bytes", "All bytes"))
    return (
        '<div class="scroll" role="region" tabindex="0" aria-label="Accuracy for every way of keeping labels"><table>'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>"
    )
