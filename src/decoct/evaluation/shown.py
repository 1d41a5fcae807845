"""A scorecard as a person reads it in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from decoct.durations import show_bytes, show_duration
from decoct.evaluation import statistics

if TYPE_CHECKING:
    from decoct.evaluation.scorecard import Entry


def table_of(entries: Sequence[Entry]) -> str:
    """Entries as aligned columns; accuracies in per cent with the half width of their 95 % interval."""
    head = ("name", "network", "rows", "bytes", "last epoch %", "val-chosen %", "samples seen", "time a run")
    body = [
        (
            ("" if entry.kind == "judged" else "  ") + entry.label,
            entry.network,
            f"{entry.rows:,}",
            show_bytes(entry.nbytes),
            statistics.show_percent(entry.last),
            statistics.show_percent(entry.selected),
            f"{entry.samples_seen:,}",
            show_duration(entry.seconds),
        )
        for entry in entries
    ]
    widths = [max(len(row[column]) for row in (head, *body)) for column in range(len(head))]
    lines = [
        "  ".join(_pad(cell, widths[i], left=i < 2) for i, cell in enumerate(row)).rstrip() for row in (head, *body)
    ]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([lines[0], rule, *lines[1:]]) + "\n"


def footer(
    protocol: Mapping[str, Any], data: Mapping[str, Any], entries: Sequence[Entry], notes: Sequence[str] = ()
) -> str:
    """The lines under a table: protocol, number of runs, data, and notes."""
    runs = sorted({len(entry.seeds) for entry in entries})
    count = " or ".join(str(n) for n in runs)
    several = f"{count} runs each, ± is half of the 95 % interval" if runs and runs[-1] > 1 else "1 run each"
    lines = [
        f"protocol {protocol.get('name')} ({str(protocol.get('hash'))[:12]}); {several}",
        f"data {data.get('source')}: {data.get('test')} test images, accuracy after the last epoch is the result",
    ]
    told = list(dict.fromkeys([*notes, *(f"{entry.label}: {note}" for entry in entries for note in entry.notes)]))
    return "\n".join(lines + [f"note: {note}" for note in told]) + "\n"


def _pad(cell: str, width: int, left: bool) -> str:
    return cell.ljust(width) if left else cell.rjust(width)
