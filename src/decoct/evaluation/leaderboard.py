"""The scorecards of many runs side by side: only what was judged on the same data under the same protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from decoct.errors import SourceError
from decoct.evaluation import statistics
from decoct.evaluation.contender import HARD_LABELS
from decoct.evaluation.data_facts import DATA_KEYS
from decoct.evaluation.entry import DIVERGED
from decoct.evaluation.gain import RANDOM, gain_over_random
from decoct.evaluation.scorecard import Entry, Scorecard


@dataclass(frozen=True)
class Place:
    """One line of a leaderboard."""

    entry: Entry
    run: str
    """The run that it comes from."""
    gain: tuple[float, ...]
    """Accuracy over random rows of the same bytes in the same run: by seed, or one value; empty where not measured."""
    rival: str
    """Which random rows those are: plain, or with the labels of a teacher where the entry has soft labels."""
    fewer_runs: bool = False
    """Whether there are too few runs for an interval."""


@dataclass(frozen=True)
class Group:
    """Everything that may be compared: one data set, one protocol, one network; the most accurate first."""

    data: Mapping[str, Any]
    protocol: Mapping[str, Any]
    network: str
    places: tuple[Place, ...]

    @property
    def title(self) -> str:
        weights = str(self.data.get("weights") or "")[:12]
        weighted = f", rows weighted ({weights})" if weights else ""
        return f"{self.data.get('source')}, {self.network}, {self.protocol.get('name')}{weighted}"

    @property
    def diverged(self) -> tuple[str, ...]:
        """What is said of places some of whose runs diverged."""
        told = ((place, note) for place in self.places for note in place.entry.notes if f" {DIVERGED} " in note)
        return tuple(f"{place.entry.label} ({place.run}): {note}" for place, note in told)


def leaderboard(cards: Sequence[tuple[str, Scorecard]]) -> tuple[Group, ...]:
    """Group the entries of named scorecards by data, protocol (its hash) and network, and sort them.

    What differs in any of these is never put into one table. The same entry in two runs stands there once, that with
    more seeds; a baseline that is the same draw of the same rows counts as the same entry. An entry of one run has no
    interval, and says so. Sorted by mean accuracy after the last epoch: no choice is made by it.
    Raises `SourceError` where there is no entry at all.
    """
    groups: dict[str, tuple[Mapping[str, Any], Mapping[str, Any], str, dict[str, Place]]] = {}
    for run, card in cards:
        data = {key: card.data.get(key) for key in DATA_KEYS}
        for entry in card.entries:
            key = repr((data, card.protocol.get("hash"), entry.network))
            places = groups.setdefault(key, (card.data, card.protocol, entry.network, {}))[3]
            place = Place(entry, run, *_gain(entry, card), len(entry.seeds) < 2)
            same = _identity(entry, card)
            known = places.get(same)
            if known is None or len(known.entry.seeds) < len(entry.seeds):
                places[same] = place
    if not groups:
        raise SourceError(
            "merging runs into a leaderboard",
            received=f"{len(cards)} runs without a judged set",
            expected="folders with a scorecard",
            remedy="run decoct evaluate on the sets first",
        )
    return tuple(
        Group(data, protocol, network, tuple(sorted(places.values(), key=_order)))
        for data, protocol, network, places in groups.values()
    )


def _identity(entry: Entry, card: Scorecard) -> str:
    """What makes two entries the same: the content of a set, with its own labels or hard ones, the rows and bytes of a
    baseline that is drawn."""
    drawn: object = ""
    if entry.kind == "judged" or entry.name.endswith(f"/{HARD_LABELS}"):
        drawn = card.provenance.get("content_hash")
    elif "teacher" in entry.name:
        drawn = card.provenance.get("teacher")
    return repr((entry.kind, entry.label, entry.nbytes, entry.rows, drawn))


def _gain(entry: Entry, card: Scorecard) -> tuple[tuple[float, ...], str]:
    found = None if entry.name in (RANDOM, "full") else gain_over_random(entry, card)
    return (found.values, found.rival) if found else ((), "")


def _order(place: Place) -> tuple[float, int]:
    return -place.entry.mean, place.entry.nbytes


def table_of_groups(groups: Sequence[Group]) -> str:
    """Aligned text for a terminal, a table a group."""
    parts = []
    for group in groups:
        head = ("name", "run", "bytes", "last epoch %", "over", "random rows")
        body = [
            (
                place.entry.label + ("" if place.entry.kind == "judged" else " (baseline)"),
                place.run,
                f"{place.entry.nbytes:,}",
                statistics.show_percent(place.entry.last),
                f"{100 * fmean(place.gain):+.1f}" if place.gain else "-",
                place.rival,
            )
            for place in group.places
        ]
        widths = [max(len(row[column]) for row in (head, *body)) for column in range(len(head))]
        lines = [
            "  ".join(
                cell.ljust(widths[i]) if i in (0, 1, 5) else cell.rjust(widths[i]) for i, cell in enumerate(row)
            ).rstrip()
            for row in (head, *body)
        ]
        alone = sum(place.fewer_runs for place in group.places)
        note = [f"note: {alone} entries of one run have no interval"] if alone else []
        note += [f"note: {told}" for told in group.diverged]
        parts.append("\n".join([group.title, *lines, *note]))
    return "\n\n".join(parts) + "\n"
