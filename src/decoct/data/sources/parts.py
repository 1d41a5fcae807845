"""The parts of a table opened: which columns are which, pictures decoded into the cache, numbers and labels read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decoct.data.cache import Entry, Key
from decoct.data.dataset import Split
from decoct.data.decoding import decode_and_keep, good_rows
from decoct.data.found import Found, Wish, numbered_ids
from decoct.data.sources.columns import Rows, choose_columns, read_features, read_ids, read_labels


@dataclass(eq=False)
class _TablePictures:
    """The image column of all parts one after the other, as `decoding.Pictures`."""

    parts: Mapping[str, Rows]
    column: str
    ids: NDArray[Any]
    about: dict[str, Any]
    """What is kept with the rows: whether they are to be, once a picture came that is an unwatched file of its own."""
    watched: bool
    _coming: Iterator[Any] = field(default_factory=lambda: iter(()))
    _next: int = -1

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts.values())

    def fetch(self, start: int, stop: int) -> list[Path | bytes | None]:
        if start != self._next:
            whole = chain.from_iterable(rows.pictures(self.column) for rows in self.parts.values())
            self._coming = islice(whole, start, None)
        found = [_picture(value) for value in islice(self._coming, stop - start)]
        self._next = stop
        if not self.watched and any(isinstance(picture, Path) for picture in found):
            self.about["keep"] = False
        return found

    def name(self, row: int) -> str:
        return str(self.ids[row])


def open_parts(
    called: str, key: Key, wish: Wish, load: Callable[[], Mapping[str, Rows]], *, asked: dict[str, str],
    notices: tuple[str, ...], watched: bool = False,
) -> Found:  # fmt: skip
    """The rows of the parts that `load` opens, unless the cache has them under `key`.

    Pictures that are files of their own are not kept, unless they are `watched`: the key tells when one changes.

    Raises `SourceError` for columns that cannot be told and unreadable images, `DataError` for labels and values.
    """
    entry = wish.cache.load(key)
    # Entries of earlier versions do not know what rows are called.
    if entry is None or "ids" not in entry.about:
        loaded = load()
        parts = {part: loaded[part] for part in ("all", "train", "val", "test") if part in loaded}
        columns = choose_columns(called, parts[next(iter(parts))], asked)
        labels, names = read_labels(called, parts, columns)
        own = read_ids(called, parts, columns)
        said = (f"rows are called by the column {columns.ids}",) if own else ()
        if columns.image is None:
            found = read_features(called, parts, columns, labels, names, own, wish=wish)
            return Found(found.parts, found.class_names, notices + found.notices + said)
        ids = np.concatenate([own.get(part, numbered_ids(part, len(rows))) for part, rows in parts.items()])
        about = {"parts": [[part, len(rows)] for part, rows in parts.items()], "names": names,
                 "ids": ids.tolist() if own else None, "notices": said}  # fmt: skip
        pictures = _TablePictures(parts, columns.image, ids, about, watched)
        flat = np.concatenate(list(labels.values()))
        entry = decode_and_keep(called, key, wish, pictures, flat, about=about)
    return _found(called, entry, wish, notices)


def _found(called: str, entry: Entry, wish: Wish, notices: tuple[str, ...]) -> Found:
    kept, dropped = good_rows(called, entry, wish.skip_bad)
    own = entry.about["ids"]
    numbered = [numbered_ids(part, count) for part, count in entry.about["parts"]]
    ids = (np.concatenate(numbered) if own is None else np.array(own))[kept]
    labels, parts, start = entry.labels[kept], {}, 0
    for part, count in entry.about["parts"]:
        own = slice(*np.searchsorted(kept, [start, start + count]))
        parts[part] = Split(entry.x[own], labels[own], ids[own])
        start += count
    names = entry.about["names"]
    return Found(parts, None if names is None else tuple(names), (*notices, *entry.about["notices"], *dropped))


def _picture(value: Any) -> Path | bytes | None:
    if isinstance(value, Mapping):
        value = value.get("bytes") or (Path(value["path"]) if value.get("path") else None)
    return value
