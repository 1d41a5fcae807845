"""`Comparison`: what `compare` found, set by set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decoct.compact.compact_set import CompactSet
from decoct.evaluation.scorecard import Entry, Scorecard, entry_to_json
from decoct.evaluation.shown import footer, table_of
from decoct.files import write_json

SCHEMA_VERSION = 1


@dataclass(frozen=True, eq=False)
class Contest:
    """One method at one size: the set that was made, and how it was judged."""

    method: str
    """A selection method or a recipe."""
    ipc: int
    """Images per class that were asked for."""
    compact_set: CompactSet
    """The set; of a method that is a baseline too, the draw of the first seed, as an example."""
    scorecard: Scorecard
    """The judgement, beside the baselines at the bytes of this set."""
    seconds: float
    """Seconds it took to make the set, whenever that was."""
    path: Path | None
    """Folder of the saved set, where there is an out folder."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Every method at every size, in the order asked for."""

    contests: tuple[Contest, ...]
    """One for each method and size."""
    data: Mapping[str, Any]
    """`judge.data_facts` of the data."""
    protocol: Mapping[str, Any]
    """Every field of the protocol, with its hash."""
    provenance: Mapping[str, Any]
    """Hardware, library versions, and what was asked for."""
    refused: tuple[str, ...] = ()
    """A sentence for each method and size that data or machine did not allow, or that diverged."""

    @property
    def scorecards(self) -> tuple[Scorecard, ...]:
        return tuple(contest.scorecard for contest in self.contests)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every distinct entry once: those asked about first, then baselines, the full data last.

        A baseline that is as large as a method of the same name that was asked about is that method.
        """
        judged = [entry for card in self.scorecards for entry in card.judged]
        found = {(entry.name, entry.network, entry.rows): entry for entry in judged}
        others: dict[tuple[str, str, int], Entry] = {}
        for entry in (entry for card in self.scorecards for entry in card.baselines):
            key = (entry.name, entry.network, entry.rows)
            if key not in found:
                others.setdefault(key, entry)
        return (*judged, *sorted(others.values(), key=lambda entry: (entry.name == "full", entry.nbytes)))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values: each contest with its scorecard, and the distinct entries."""
        return {
            "kind": "comparison",
            "schema_version": SCHEMA_VERSION,
            "data": dict(self.data),
            "protocol": dict(self.protocol),
            "provenance": dict(self.provenance),
            "contests": [
                {
                    "method": contest.method,
                    "ipc": contest.ipc,
                    "seconds": contest.seconds,
                    "path": None if contest.path is None else f"sets/{contest.path.name}",
                    "scorecard": contest.scorecard.to_json(),
                }
                for contest in self.contests
            ],
            "refused": list(self.refused),
            "entries": [entry_to_json(entry) for entry in self.entries],
        }

    def save(self, path: str | Path) -> None:
        """Write the JSON whole or not at all; raises `OutputError`."""
        write_json(Path(path), self.to_json())

    def table(self) -> str:
        """Every distinct entry as aligned text for a terminal, accuracies in per cent."""
        notes = [*self.refused, *(note for card in self.scorecards for note in card.notes)]
        return table_of(self.entries) + footer(self.protocol, self.data, self.entries, notes)
