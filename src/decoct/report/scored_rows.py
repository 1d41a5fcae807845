"""`ScoredRows`: training rows that stand out by their scores, with pictures; what pages show, and the file of it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decoct.errors import IntegrityError
from decoct.evaluation.scorecard import read_json
from decoct.files import write_json

FILE_NAME = "rows.json"
KIND = "scored rows"
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Item:
    """One row, or a row and its twin."""

    label: str
    """Its class."""
    ids: tuple[str, ...]
    note: str
    """What is said under the picture."""
    pngs: tuple[bytes, ...] = ()
    """A picture for each id; none for tables of features."""


@dataclass(frozen=True)
class Shown:
    """A pile of rows as it is shown, the most telling first."""

    name: str
    title: str
    line: str
    """What these rows are, in a sentence."""
    items: tuple[Item, ...]


@dataclass(frozen=True)
class ScoredRows:
    """What stands out among the training rows of one source."""

    source: str
    rows: int
    """Training rows that were scored."""
    piles: tuple[Shown, ...]
    picture: bytes | None = None
    """The map of the data, a PNG."""

    def save(self, path: Path) -> None:
        """Write JSON, pictures in base64; raises `OutputError`."""
        piles = [
            {"name": pile.name, "title": pile.title, "line": pile.line, "items": list(map(_of_item, pile.items))}
            for pile in self.piles
        ]
        own = {"kind": KIND, "schema": 1, "source": self.source, "rows": self.rows, "piles": piles}
        write_json(path, {**own, "map": None if self.picture is None else _text(self.picture)})

    @classmethod
    def load(cls, path: Path) -> ScoredRows:
        """Read what `save` wrote; raises `IntegrityError`."""
        value = read_json(path)
        try:
            if (value["kind"], value["schema"]) != (KIND, 1):
                raise ValueError(f"a {value['kind']!r} of schema {value['schema']!r}")
            picture = None if value["map"] is None else _png(value["map"])
            return cls(str(value["source"]), int(value["rows"]), tuple(map(_shown, value["piles"])), picture)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise IntegrityError(
                f"reading {path}", received=f"{type(error).__name__}: {error}"[:200],
                expected="rows as decoct score writes them",
                remedy="run decoct score again with the same folder: it reads the training that was made there",
            ) from error  # fmt: skip


def _of_item(item: Item) -> dict[str, Any]:
    return {"class": item.label, "ids": list(item.ids), "note": item.note, "pngs": list(map(_text, item.pngs))}


def _shown(value: Mapping[str, Any]) -> Shown:
    items = tuple(map(_item, value["items"]))
    return Shown(str(value["name"]), str(value["title"]), str(value["line"]), items)


def _item(value: Mapping[str, Any]) -> Item:
    ids, pngs = _listed(value["ids"]), _listed(value["pngs"])
    if pngs and len(pngs) != len(ids):
        raise ValueError(f"{len(pngs)} pictures of {len(ids)} rows")
    return Item(str(value["class"]), tuple(map(str, ids)), str(value["note"]), tuple(map(_png, pngs)))


def _listed(value: Any) -> Sequence[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} where a list belongs")
    return value


def _text(png: bytes) -> str:
    return base64.b64encode(png).decode()


def _png(text: str) -> bytes:
    try:
        found = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"a picture that is no base64 ({error})") from error
    if not found.startswith(PNG):
        raise ValueError("a picture that is no PNG")
    return found
