"""`Scorecard`: what the judge found, beside the baselines, with everything needed to read it years later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from decoct.errors import IntegrityError
from decoct.evaluation import statistics
from decoct.evaluation.shown import footer, table_of
from decoct.evaluation.statistics import Interval
from decoct.files import write_json

SCHEMA_VERSION = 1

Kind = Literal["judged", "baseline"]


@dataclass(frozen=True)
class Entry:
    """One thing that was judged on one network: a compact set or a baseline. Accuracies are fractions of `test`."""

    name: str
    """Short name: a recipe, a selection method, or a baseline ("random+teacher")."""
    label: str
    """The name as a person reads it in a table or a legend."""
    kind: Kind
    """Whether this is what was asked about or what it is compared with."""
    network: str
    """The network that was trained, as it was asked for."""
    image_bytes: int
    """Bytes of the stored images (or feature rows)."""
    label_bytes: int
    """Bytes of the stored labels."""
    decoder_bytes: int
    """Bytes of whatever else is needed to decode the images."""
    rows: int
    """Training rows after decoding."""
    distinct: int
    """Different rows shown to one network; with augmentation every showing is another one (mean over seeds)."""
    samples_seen: int
    """Rows that went through one network during training, augmented copies counted each time (mean over seeds)."""
    label_kind: str
    """"hard", "probabilities" or "scores"."""
    seeds: tuple[int, ...]
    """Seeds of the runs, in the order of the accuracies."""
    last: tuple[float, ...]
    """Test accuracy of the weights after the last epoch, one for each seed."""
    selected: tuple[float, ...]
    """Test accuracy of the weights with the best validation accuracy, one for each seed."""
    val: tuple[float, ...]
    """That best validation accuracy, one for each seed."""
    seconds: float
    """Mean seconds of training one network."""
    peak_memory: int
    """Largest memory of the process (of the accelerator, where one was used) in bytes, over the runs."""
    notes: tuple[str, ...] = ()
    """What a reader must know: classes left out, files that had to be judged again."""

    @property
    def nbytes(self) -> int:
        """Bytes of images, labels and decoder together."""
        return self.image_bytes + self.label_bytes + self.decoder_bytes

    @property
    def mean(self) -> float:
        """Mean test accuracy after the last epoch."""
        return statistics.mean(self.last)

    @property
    def interval(self) -> Interval | None:
        """95 % interval of `mean`, or None for one run."""
        return statistics.interval(self.last)

    @property
    def mean_selected(self) -> float:
        """Mean test accuracy of the weights chosen on validation data."""
        return statistics.mean(self.selected)

    @property
    def interval_selected(self) -> Interval | None:
        """95 % interval of `mean_selected`, or None for one run."""
        return statistics.interval(self.selected)


@dataclass(frozen=True)
class Scorecard:
    """The judgement of one compact set: entries in order (judged first), and the facts they rest on."""

    entries: tuple[Entry, ...]
    """The judged set on every network, then every baseline on every network."""
    protocol: Mapping[str, Any]
    """Every field of the protocol, with its `hash`."""
    data: Mapping[str, Any]
    """`data_facts` of the data: source, fingerprint, shape, class names in order, sizes of the splits."""
    provenance: Mapping[str, Any]
    """Hardware, library versions, content hash and own provenance of the judged set."""
    notes: tuple[str, ...] = ()
    """What happened on the way."""

    @property
    def judged(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.kind == "judged")

    @property
    def baselines(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.kind == "baseline")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; mean and interval are written too, for readers without decoct."""
        return {
            "kind": "scorecard",
            "schema_version": SCHEMA_VERSION,
            "protocol": dict(self.protocol),
            "data": dict(self.data),
            "provenance": dict(self.provenance),
            "notes": list(self.notes),
            "entries": [entry_to_json(entry) for entry in self.entries],
        }

    @classmethod
    def from_json(cls, value: Any) -> Scorecard:
        """Read what `to_json` wrote; raises `IntegrityError` for anything else."""
        expect(isinstance(value, dict), "a JSON object", value)
        expect(value.get("kind") == "scorecard", "kind 'scorecard'", value.get("kind"))
        expect(value.get("schema_version") == SCHEMA_VERSION, f"schema {SCHEMA_VERSION}", value.get("schema_version"))
        wanted = {"kind", "schema_version", "protocol", "data", "provenance", "notes", "entries"}
        expect(set(value) == wanted, f"the keys {sorted(wanted)}", sorted(value))
        for key, kind in (("protocol", dict), ("data", dict), ("provenance", dict), ("notes", list), ("entries", list)):
            expect(isinstance(value[key], kind), f"{key} as a {kind.__name__}", value[key])
        entries = tuple(entry_from_json(entry) for entry in value["entries"])
        expect(all(isinstance(note, str) for note in value["notes"]), "notes of text", value["notes"])
        return cls(entries, value["protocol"], value["data"], value["provenance"], tuple(value["notes"]))

    def save(self, path: str | Path) -> None:
        """Write the JSON whole or not at all; raises `OutputError`."""
        write_json(Path(path), self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> Scorecard:
        """Read a saved scorecard; raises `IntegrityError`."""
        return cls.from_json(read_json(Path(path)))

    def table(self) -> str:
        """The entries as aligned text for a terminal, accuracies in per cent."""
        return table_of(self.entries) + footer(self.protocol, self.data, self.entries, self.notes)


def entry_to_json(entry: Entry) -> dict[str, Any]:
    """The fields of an entry and its means and intervals as plain JSON values."""
    derived = {
        "mean": entry.mean,
        "interval": entry.interval,
        "mean_selected": entry.mean_selected,
        "interval_selected": entry.interval_selected,
    }
    return json.loads(json.dumps(asdict(entry) | derived, allow_nan=False))


_DERIVED = {"mean", "interval", "mean_selected", "interval_selected"}
_TYPES: dict[str, type | tuple[type, ...]] = {"str": str, "Kind": str, "int": int, "float": (int, float)}


def entry_from_json(value: Any) -> Entry:
    """Read what `entry_to_json` wrote; raises `IntegrityError` for missing, unknown or impossible fields."""
    expect(isinstance(value, dict), "an entry as a JSON object", value)
    names = {field.name for field in fields(Entry)}
    expect(set(value) == names | _DERIVED, f"the fields {sorted(names | _DERIVED)}", sorted(value))
    found: dict[str, Any] = {}
    for field in fields(Entry):
        item, kind = value[field.name], str(field.type)
        if kind.startswith("tuple["):
            inner = _TYPES[kind.removeprefix("tuple[").partition(",")[0]]
            expect(isinstance(item, list) and all(_is(x, inner) for x in item), f"{field.name} as a list", item)
            item = tuple(float(x) if inner == (int, float) else x for x in item)
        else:
            expect(_is(item, _TYPES[kind]), f"{field.name} as {kind}", item)
        found[field.name] = item
    expect(found["kind"] in get_args(Kind), f"kind one of {get_args(Kind)}", found["kind"])
    runs = len(found["seeds"])
    accuracies = (found["last"], found["selected"], found["val"])
    expect(runs > 0 and all(len(a) == runs for a in accuracies), "one accuracy for each seed", value)
    expect(all(0 <= x <= 1 for a in accuracies for x in a), "accuracies as fractions in [0, 1]", accuracies)
    return Entry(**found)


def _is(value: Any, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def read_json(path: Path) -> Any:
    """The JSON in `path`; raises `IntegrityError` where it is missing or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise IntegrityError(
            f"reading {path}",
            received=f"{type(error).__name__}: {error}",
            expected="a JSON file written by decoct",
            remedy="judge again: finished cells are reused",
        ) from error


def expect(condition: bool, expected: str, received: Any) -> None:
    """Raise `IntegrityError` unless `condition` holds."""
    if not condition:
        raise IntegrityError(
            "reading a scorecard",
            received=repr(received)[:200],
            expected=expected,
            remedy="the file was altered or written by another version of decoct; judge again with the same out folder",
        )
