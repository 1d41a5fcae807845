"""Hugging Face `datasets`: hub sets, saved folders and objects in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from decoct.data.cache import Entry, Key, cache_key
from decoct.data.dataset import Split
from decoct.data.decoding import decode_and_keep, good_rows
from decoct.data.found import Found, Wish, file_state, numbered_ids, part_named
from decoct.data.sources.asked import names_asked
from decoct.data.sources.columns import Columns, choose_columns, read_features, read_ids, read_labels
from decoct.errors import DecoctError, MissingExtraError, SourceError

if TYPE_CHECKING:
    from datasets import Dataset

Parts = dict[str, "Dataset"]
Loader = Callable[[], AbstractContextManager[Mapping[str, "Dataset"]]]


@dataclass(frozen=True, eq=False)
class _HubPictures:
    """The image column of all parts one after the other, as `decoding.Pictures`."""

    parts: Parts
    column: str
    ids: NDArray[Any]

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts.values())

    def fetch(self, start: int, stop: int) -> list[Path | bytes | None]:
        found: list[Path | bytes | None] = []
        for part in self.parts.values():
            low, high = max(start, 0), min(stop, len(part))
            if low < high:
                found += [_picture(value) for value in part[low:high][self.column]]
            start, stop = start - len(part), stop - len(part)
        return found

    def name(self, row: int) -> str:
        return str(self.ids[row])


def find_hub(place: str, wish: Wish) -> Found:
    """`NAME` or `NAME:CONFIG` through `datasets.load_dataset`; NAME may be a local folder, also a saved data set.

    `NAME?image=NAME&label=NAME&id=NAME` names columns where they cannot be told; rows are called by a column `uid`,
    `id` or `key` if there is one, and have numbers otherwise and with `?id=` alone. Raises `SourceError` where the
    library cannot load it, `MissingExtraError` without `datasets`.
    """
    called = f"opening hub:{place}"
    text, asked = names_asked(called, place)
    whole = Path(text).expanduser()
    name, _, config = (str(whole), "", "") if whole.exists() else text.partition(":")
    datasets = import_datasets(called)
    with quiet(datasets):
        try:
            if any(Path(name, marker).is_file() for marker in ("dataset_dict.json", "state.json")):
                source = datasets.load_from_disk(name)
            else:
                source = datasets.load_dataset(name, config or None)
        except Exception as error:  # The library and its file systems raise errors of many unrelated types.
            raise _failed(called, error) from error
    return _object(called, f"hub:{text}", source, wish, asked)


def find_object(source: Any, wish: Wish) -> Found:
    """A `datasets.Dataset` or `DatasetDict`. Raises `SourceError` where its columns cannot be told."""
    return _object("opening a Hugging Face data set", "hf", source, wish, {})


def _object(called: str, source: str, data: Any, wish: Wish, asked: dict[str, str]) -> Found:
    parts, notices = _parts(called, data if isinstance(data, Mapping) else {"all": data})
    for rows in parts.values():
        if not hasattr(rows, "__len__"):
            raise SourceError(
                called, received=f"a {type(rows).__name__}, whose rows come one after the other",
                expected="a data set that has its rows at hand", remedy="load it without streaming=True",
            )  # fmt: skip
    listing = [(part, getattr(rows, "_fingerprint", None), len(rows)) for part, rows in parts.items()]
    # A fingerprint knows the paths of pictures that lie beside the table, not what is in them.
    listing += [state for rows in parts.values() for state in _states(rows)]
    # Objects have no name: each is a source of its own, so that one does not displace the other in the cache.
    family = source if source.startswith("hub:") else f"{source}:{listing}"
    key = cache_key(f"{family}?{asked}", wish.size, wish.mode, listing)

    @contextmanager
    def load() -> Iterator[Mapping[str, Dataset]]:
        yield parts

    return open_parts(called, key, wish, load, asked=asked, notices=tuple(notices), watched=True)


def open_parts(
    called: str, key: Key, wish: Wish, load: Loader, *, asked: dict[str, str], notices: tuple[str, ...],
    watched: bool = False,
) -> Found:  # fmt: skip
    """The rows of the parts that `load` opens, unless the cache has them under `key`.

    Pictures that are files of their own are not kept, unless they are `watched`: the key tells when one changes.

    Raises `SourceError` for columns that cannot be told and unreadable images, `DataError` for labels and values.
    """
    entry = wish.cache.load(key)
    # Entries of earlier versions do not know what rows are called.
    if entry is None or "ids" not in entry.about:
        with ExitStack() as stack:
            with _translated(called):
                loaded = stack.enter_context(load())
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
            undecoded = {part: _undecoded(rows, columns) for part, rows in parts.items()}
            about["keep"] = watched or not any(_paths(rows, columns.image) for rows in parts.values())
            pictures = _HubPictures(undecoded, columns.image, ids)
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


def _states(rows: Dataset) -> list[tuple[str, int, int]]:
    """Size and time of change of every picture that is a file of its own."""
    from datasets import Image

    images = [name for name, feature in rows.features.items() if isinstance(feature, Image)]
    return [(path, *file_state(Path(path))) for name in images for path in _paths(rows, name)]


def _paths(rows: Dataset, column: str) -> list[str]:
    """Files of pictures of which the table holds the path alone."""
    found: list[str] = []
    for chunk in rows.data.column(column).chunks:
        if pa.types.is_struct(chunk.type) and {"bytes", "path"} <= {field.name for field in chunk.type}:
            alone = chunk.field("path").filter(chunk.field("bytes").is_null())
            found += alone.drop_null().to_pylist()
    return found


def _undecoded(rows: Dataset, columns: Columns) -> Dataset:
    """Only the image column, as bytes or file names."""
    from datasets import Image

    assert columns.image is not None
    rows = rows.with_format(None).select_columns([columns.image])
    is_image = isinstance(rows.features[columns.image], Image)
    return rows.cast_column(columns.image, Image(decode=False)) if is_image else rows


def _picture(value: Any) -> Path | bytes | None:
    if isinstance(value, Mapping):
        value = value.get("bytes") or (Path(value["path"]) if value.get("path") else None)
    return value


def _parts(called: str, data: Mapping[Any, Any]) -> tuple[Parts, list[str]]:
    """The splits that decoct knows; where none is for training, the only one there is."""
    named = {part: rows for name, rows in data.items() if (part := part_named(str(name)))}
    if len(named) < sum(part_named(str(name)) is not None for name in data):
        raise SourceError(
            called, received=f"splits that say the same: {', '.join(map(repr, map(str, data)))}",
            expected="one split each of train, val and test", remedy="join or leave out the one that is not meant",
        )  # fmt: skip
    others = [str(name) for name in data if part_named(str(name)) is None]
    if "train" in named:
        text = f"splits that are neither train, val nor test were passed over: {', '.join(others)}"
        return {part: named[part] for part in ("train", "val", "test") if part in named}, [text] if others else []
    if len(data) == 1:
        return {"all": next(iter(data.values()))}, []
    raise SourceError(
        called,
        received=f"splits {', '.join(map(repr, map(str, data)))}",
        expected="a split 'train' (and 'validation', 'test' if there are any), or one split only",
        remedy="open the split you want as a Hugging Face data set: decoct.open(load_dataset(..., split='...'))",
    )


def import_datasets(called: str) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError(
            called,
            received=f"the package 'datasets' cannot be imported ({error})",
            expected="Hugging Face datasets, version 4 or later",
            remedy="pip install 'decoct[hf]'",
        ) from error
    return datasets


@contextmanager
def quiet(datasets: Any) -> Iterator[None]:
    """The library's progress bars off, and on again where they were on: decoct shows its own."""
    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()


@contextmanager
def _translated(called: str) -> Iterator[None]:
    """Whatever the library raises for a damaged file, as `SourceError`."""
    try:
        yield
    except DecoctError:
        raise
    except Exception as error:  # The library and Arrow raise errors of many unrelated types.
        raise _failed(called, error) from error


def _failed(called: str, error: Exception) -> SourceError:
    deepest: BaseException = error
    while deepest.__cause__ is not None:
        deepest = deepest.__cause__
    text = " ".join(str(deepest).split()) or json.dumps(str(error))
    return SourceError(
        called,
        received=f"{type(deepest).__name__}: {text[:300]}",
        expected="a data set that Hugging Face datasets can load",
        remedy="check the name or path, the network connection, and that the files are whole",
    )
