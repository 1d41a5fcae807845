"""Finished runs on disk: one small JSON file for each (entry, network, seed), so that no run is done twice."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from decoct.files import write_json

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Cell:
    """What one network on one contender with one seed came to. Accuracies are fractions."""

    last: float
    """Test accuracy after the last epoch."""
    selected: float
    """Test accuracy of the weights that were best on validation data."""
    val: float
    """That best validation accuracy."""
    best_epoch: int
    """The epoch of those weights, from 1."""
    seconds: float
    """Training time, without looking at validation data."""
    samples_seen: int
    """Rows shown to the network, counted each time."""
    distinct: int
    """Different rows among them: with augmentation every showing is another one."""
    peak_memory: int
    """Bytes of the process, or of the accelerator."""
    how: str
    """How forward and backward were run, in words."""


@dataclass(frozen=True)
class Records:
    """Finished pieces of work in one folder, or of one call where there is none: plain JSON objects by their keys.

    A record is found by everything that its result depends on, and by the version of this format.
    """

    folder: Path | None
    notes: list[str] = field(default_factory=list)
    """What was wrong with files on disk; that work is done again."""
    _known: dict[str, dict[str, Any]] = field(default_factory=dict)

    def find(self, key: dict[str, Any]) -> dict[str, Any] | None:
        """The record of this key, or None; a file that is not whole or not of this key counts as none, with a note."""
        name = cell_name(key)
        if name not in self._known and self.folder is not None:
            path = self.folder / f"{name}.json"
            if path.exists():
                value = _read(path, key)
                if value is None:
                    self.notes.append(f"the finished run {path.name} was damaged and has been done again")
                else:
                    self._known[name] = value
        return self._known.get(name)

    def keep(self, key: dict[str, Any], value: dict[str, Any]) -> None:
        """Remember a finished piece of work; raises `OutputError` where it cannot be written."""
        name = cell_name(key)
        self._known[name] = value
        if self.folder is not None:
            body = {"schema_version": SCHEMA_VERSION, "key": key, "cell": value}
            write_json(self.folder / f"{name}.json", {**body, "sha256": _digest(body)})


@dataclass(frozen=True)
class Cells:
    """The cells of one out folder, or of one call where there is none.

    A cell is found by everything that its result depends on: the rows, the data, the protocol, the network (one from
    outside decoct by what it is made of), the seed and the version of this format.
    """

    folder: Path | None
    records: Records = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "records", Records(self.folder))

    @property
    def notes(self) -> list[str]:
        """What was wrong with files on disk; they are judged again."""
        return self.records.notes

    def find(self, key: dict[str, Any]) -> Cell | None:
        """The cell of this key, or None; a file that is not whole or not of this key counts as none, with a note."""
        value = self.records.find(key)
        if value is None or set(value) == {"diverged"}:
            return None
        if set(value) != {item.name for item in fields(Cell)}:
            self.notes.append(f"the finished run {cell_name(key)}.json was damaged and has been done again")
            return None
        return Cell(**value)

    def diverged(self, key: dict[str, Any]) -> str | None:
        """Why the run of this key diverged, where that is what it came to."""
        value = self.records.find(key)
        return str(value["diverged"]) if value is not None and set(value) == {"diverged"} else None

    def keep_diverged(self, key: dict[str, Any], reason: str) -> None:
        """Remember a run that came to nothing; raises `OutputError` where it cannot be written."""
        self.records.keep(key, {"diverged": reason})

    def keep(self, key: dict[str, Any], cell: Cell) -> None:
        """Remember a finished run; raises `OutputError` where it cannot be written."""
        self.records.keep(key, asdict(cell))


def cell_name(key: dict[str, Any]) -> str:
    """The file name of a key: 32 hex digits."""
    return _digest({"schema_version": SCHEMA_VERSION, "key": key})[:32]


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path, key: dict[str, Any]) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        digest = found.pop("sha256")
        whole = digest == _digest(found) and found["key"] == key and found["schema_version"] == SCHEMA_VERSION
        return found["cell"] if whole and isinstance(found["cell"], dict) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
