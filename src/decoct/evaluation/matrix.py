"""`Matrix`: one set on many networks under many augmentations, every cell of it a run that is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from decoct.compact.compact_set import CompactSet
from decoct.data.dataset import Dataset
from decoct.evaluation import statistics
from decoct.evaluation.augmentations import OWN, require_fitting, with_augmentation
from decoct.evaluation.baselines import BASELINES
from decoct.evaluation.data_facts import DATA_KEYS
from decoct.evaluation.entry import diverged_notes
from decoct.evaluation.judge import Bench, set_protocol
from decoct.evaluation.protocol import Protocol
from decoct.evaluation.scorecard import Entry, Kind, Scorecard, expect, read_json
from decoct.evaluation.search import Search
from decoct.evaluation.shown import table_of
from decoct.evaluation.withheld import in_terms_of
from decoct.files import write_json

SCHEMA_VERSION = 1
FILE_NAME = "matrix.json"


@dataclass(frozen=True)
class Matrix:
    """The scorecards of one set, one for each augmentation, all on the same networks and seeds."""

    scorecards: Mapping[str, Scorecard]
    """By augmentation, in the order asked for."""

    @property
    def augmentations(self) -> tuple[str, ...]:
        return tuple(self.scorecards)

    @property
    def networks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(entry.network for card in self.scorecards.values() for entry in card.entries))

    @property
    def diverged(self) -> tuple[str, ...]:
        """What is said of runs that diverged, under each augmentation."""
        told = [(name, note) for name, card in self.scorecards.items() for note in diverged_notes(card)]
        # An entry without any run names its protocol itself.
        return tuple(dict.fromkeys(note if " under " in note else f"{name}: {note}" for name, note in told))

    @property
    def lines(self) -> tuple[tuple[str, Kind], ...]:
        """Label and kind of everything there is, what was judged before the baselines."""
        entries = [entry for card in self.scorecards.values() for entry in card.entries]
        found: dict[tuple[str, Kind], None] = dict.fromkeys((entry.label, entry.kind) for entry in entries)
        return tuple(sorted(found, key=lambda line: line[1] == "baseline"))

    @property
    def first(self) -> Scorecard:
        """The scorecard under the protocol's own augmentation, or else under the first one asked for."""
        return self.scorecards.get(OWN) or next(iter(self.scorecards.values()))

    def entry(self, line: tuple[str, Kind], network: str, augmentation: str) -> Entry | None:
        """One field of the matrix, or None where there is no such run (a baseline that does not fit the bytes)."""
        entries = self.scorecards[augmentation].entries
        return next((e for e in entries if (e.label, e.kind, e.network) == (*line, network)), None)

    def with_newer(self, card: Scorecard) -> Matrix:
        """The matrix with `card`, which was judged after it, in place of its scorecard under the same protocol.

        Where it has none and they differ in augmentation alone, `card` joins the others as the protocol's own. The
        matrix itself where `card` is of another set, other data or another way of training.
        """
        like = {name: old for name, old in self.scorecards.items() if _asked(old) == _asked(card)}
        same = [name for name, old in like.items() if old.protocol.get("hash") == card.protocol.get("hash")]
        if same:
            return Matrix({**self.scorecards, **dict.fromkeys(same, card)})
        return Matrix({OWN: card, **self.scorecards}) if like and OWN not in self.scorecards else self

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values: every scorecard under the name of its augmentation."""
        cards = {name: card.to_json() for name, card in self.scorecards.items()}
        return {"kind": "matrix", "schema_version": SCHEMA_VERSION, "scorecards": cards}

    @classmethod
    def from_json(cls, value: Any) -> Matrix:
        """Read what `to_json` wrote; raises `IntegrityError` for anything else."""
        expect(isinstance(value, dict) and value.get("kind") == "matrix", "a matrix", value)
        expect(value.get("schema_version") == SCHEMA_VERSION, f"schema {SCHEMA_VERSION}", value.get("schema_version"))
        cards = value.get("scorecards")
        expect(isinstance(cards, dict) and bool(cards), "scorecards by augmentation", cards)
        return cls({str(name): Scorecard.from_json(card) for name, card in (cards or {}).items()})

    def save(self, path: str | Path) -> None:
        """Write the JSON whole or not at all; raises `OutputError`."""
        write_json(Path(path), self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> Matrix:
        """Read a saved matrix; raises `IntegrityError`."""
        return cls.from_json(read_json(Path(path)))

    def table(self) -> str:
        """For each augmentation the accuracies in per cent, a row an entry, a column a network."""
        parts = []
        shown_as = {line: ("" if line[1] == "judged" else "  ") + line[0] for line in self.lines}
        width = max(12, *map(len, shown_as.values()))
        columns = [max(len(network), 12) for network in self.networks]
        for name in self.augmentations:
            head = "  ".join(network.rjust(w) for network, w in zip(self.networks, columns, strict=True))
            lines = [f"augmentation: {name}", f"{'last epoch %':<{width}}  {head}"]
            for line, label in shown_as.items():
                found = [self.entry(line, network, name) for network in self.networks]
                shown = ["-" if one is None else statistics.show_percent(one.last) for one in found]
                cells = "  ".join(text.rjust(w) for text, w in zip(shown, columns, strict=True))
                lines.append(f"{label:<{width}}  {cells}")
            parts.append("\n".join(lines))
        told = [f"note: {note}" for note in self.diverged]
        return "\n\n".join([*parts, *(["\n".join(told)] if told else [])]) + "\n"

    def details(self) -> str:
        """Every entry under the first augmentation with its bytes, as `Scorecard.table` shows them."""
        return table_of(self.first.entries)


def _asked(card: Scorecard) -> tuple[Any, ...]:
    """Which set a scorecard is about, on which data, and everything of its protocol but the augmentation."""
    changed = ("augment", "mix")
    fit = {name: value for name, value in card.protocol.get("fit", {}).items() if name not in changed}
    protocol = {name: value for name, value in card.protocol.items() if name not in ("name", "hash")}
    facts = [card.data.get(name) for name in DATA_KEYS]
    return card.provenance.get("content_hash"), facts, {**protocol, "fit": fit}


def evaluate_matrix(
    compact_set: CompactSet,
    data: Dataset,
    protocol: str | Protocol = "quick",
    networks: Sequence[str] | None = None,
    seeds: int | Sequence[int] = 5,
    *,
    augmentations: Sequence[str] = (OWN, "none", "dsa", "cutmix", "randaugment"),
    baselines: Sequence[str] = BASELINES,
    search: Search | None = None,
    out: str | Path | None = None,
    device: str | None = None,
) -> Matrix:
    """Judge `compact_set` as `evaluate` does on every network under every augmentation, beside the same baselines.

    Augmentations take the place of the protocol's own and change nothing else (`AUGMENTATIONS`). Every cell (entry,
    network, augmentation, seed) is one file in `out/cells`, done once; the teacher is trained once for all of them.
    What is judged under several augmentations shares one command and one folder, never one column: the protocol of
    each scorecard has its own name and hash.

    Of several fields, one whose training diverges does not end the others: its cell is kept as diverged with the
    reason, is not run again, and notes say which numbers lack it. A single field raises, as `evaluate` does.

    Raises what `evaluate` raises, `UnknownNameError` for an augmentation that does not exist, and `ConfigError` for
    one that features cannot take, all before the first run.
    """
    compact_set, notices = in_terms_of(compact_set, data.spec)
    names = tuple(dict.fromkeys(augmentations)) or (OWN,)
    base = set_protocol(protocol, compact_set)
    for name in names:
        with_augmentation(base, name)
        require_fitting(name, data.spec)
    bench = Bench.of(data, base, networks, seeds, baselines=baselines, search=search, out=out, device=device)
    bench = replace(bench, goes_on=len(names) * len(bench.networks) > 1)
    cards = {name: replace(bench, protocol=with_augmentation(base, name)).judge(compact_set) for name in names}
    return Matrix({name: replace(card, notes=(*notices, *card.notes)) for name, card in cards.items()})
