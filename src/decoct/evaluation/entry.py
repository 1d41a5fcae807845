"""From finished runs to the entry of a scorecard, and what is said of runs that diverged."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

from decoct.evaluation.cells import Cell
from decoct.evaluation.contender import Contender
from decoct.evaluation.scorecard import Entry, Scorecard

DIVERGED = "diverged"
"""The word in every note on runs that did."""


def entry_of(
    contender: Contender, network: str, cells: Mapping[int, Cell], lost: Mapping[int, str], note: str = ""
) -> Entry:
    """The entry of at least one finished run, by seed; `lost` are the seeds whose run diverged, with reasons.

    A run that diverged has no accuracy, and none is made up for it: the entry has the other seeds, and says so.
    """
    weight, runs = contender.weight, tuple(cells.values())
    gone = f"{len(lost)} of {len(lost) + len(runs)} runs {DIVERGED} and are not in its numbers: " + "; ".join(
        f"seed {seed}, {reason}" for seed, reason in lost.items()
    )
    return Entry(
        name=contender.name,
        label=contender.label,
        kind=contender.kind,
        network=network,
        image_bytes=weight.images,
        label_bytes=weight.labels,
        decoder_bytes=weight.decoder,
        rows=weight.rows,
        distinct=round(fmean(cell.distinct for cell in runs)),
        samples_seen=round(fmean(cell.samples_seen for cell in runs)),
        label_kind=weight.label_kind,
        seeds=tuple(cells),
        last=tuple(cell.last for cell in runs),
        selected=tuple(cell.selected for cell in runs),
        val=tuple(cell.val for cell in runs),
        seconds=fmean(cell.seconds for cell in runs),
        peak_memory=max(cell.peak_memory for cell in runs),
        notes=(*contender.notes, *filter(None, [note]), *([gone] if lost else [])),
    )


def nothing_left(contender: Contender, network: str, protocol: str, lost: Mapping[int, str]) -> str:
    """The note of a scorecard in place of an entry all of whose runs diverged."""
    reason = next(iter(lost.values()))
    return f"{contender.label} on {network} under {protocol}: every run {DIVERGED} ({reason})"


def diverged_notes(card: Scorecard) -> tuple[str, ...]:
    """Everything that a scorecard says of runs that diverged."""
    own = [f"{entry.label} on {entry.network}: {note}" for entry in card.entries for note in entry.notes]
    return tuple(dict.fromkeys(note for note in (*own, *card.notes) if f" {DIVERGED} " in note))
