"""Hugging Face `datasets`: hub sets, saved folders and objects in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from numpy.typing import NDArray

from decoct.data.cache import cache_key
from decoct.data.found import Found, Wish, file_state, part_named
from decoct.data.sources.asked import names_asked
from decoct.data.sources.columns import BLOCK_ROWS, column_by_id
from decoct.data.sources.parts import open_parts
from decoct.errors import MissingExtraError, SourceError

if TYPE_CHECKING:
    from datasets import Dataset

Parts = dict[str, "Dataset"]
PICTURES_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class _HubRows:
    """A data set of the library as `columns.Rows`."""

    data: Dataset

    @property
    def features(self) -> Mapping[str, Any]:
        return self.data.features

    def __len__(self) -> int:
        return len(self.data)

    def values(self, name: str) -> list[Any]:
        return list(self.data.with_format(None)[name])

    def numbers(self, names: Sequence[str]) -> Iterator[list[NDArray[Any]]]:
        rows = self.data.select_columns(list(names)).with_format("numpy")
        for start in range(0, len(rows), BLOCK_ROWS):
            block = rows[start : start + BLOCK_ROWS]
            yield [block[name] for name in names]

    def pictures(self, name: str) -> Iterator[Any]:
        from datasets import Image

        rows = self.data.with_format(None).select_columns([name])
        rows = rows.cast_column(name, Image(decode=False)) if isinstance(rows.features[name], Image) else rows
        for start in range(0, len(rows), PICTURES_AT_ONCE):
            yield from rows[start : start + PICTURES_AT_ONCE][name]


def find_hub(place: str, wish: Wish) -> Found:
    """`NAME` or `NAME:CONFIG` through `datasets.load_dataset`; NAME may be a local folder, also a saved data set.

    `NAME?image=NAME&label=NAME&id=NAME` names columns where they cannot be told; rows are called by a column `uid`,
    `id` or `key` if there is one, and have numbers otherwise and with `?id=` alone. Raises `SourceError` where the
    library cannot load it, `MissingExtraError` without `datasets`.
    """
    called = f"opening hub:{place}"
    text, asked = names_asked(called, place)
    return _object(called, f"hub:{text}", _loaded(called, text), wish, asked)


def column_of_hub(place: str, name: str) -> dict[str, str]:
    """The values of one column, as texts, by the ids that `find_hub` gives the rows: a source, a person, a generator.

    Raises as `find_hub`, `SourceError` for a column that is not there, `DataError` for ids that cannot be used.
    """
    called = f"reading the column {name!r} of hub:{place}"
    text, asked = names_asked(called, place)
    parts, _ = _parts(called, _loaded(called, text))
    return column_by_id(called, {part: _HubRows(rows) for part, rows in parts.items()}, name, asked)


def _loaded(called: str, text: str) -> Any:
    whole = Path(text).expanduser()
    name, _, config = (str(whole), "", "") if whole.exists() else text.partition(":")
    datasets = import_datasets(called)
    with quiet(datasets):
        try:
            if any(Path(name, marker).is_file() for marker in ("dataset_dict.json", "state.json")):
                return datasets.load_from_disk(name)
            return datasets.load_dataset(name, config or None)
        except Exception as error:  # The library and its file systems raise errors of many unrelated types.
            raise _failed(called, error) from error


def find_object(source: Any, wish: Wish) -> Found:
    """A `datasets.Dataset` or `DatasetDict`. Raises `SourceError` where its columns cannot be told."""
    return _object("opening a Hugging Face data set", "hf", source, wish, {})


def _object(called: str, source: str, data: Any, wish: Wish, asked: dict[str, str]) -> Found:
    parts, notices = _parts(called, data)
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
    rows_of = {part: _HubRows(rows) for part, rows in parts.items()}
    return open_parts(called, key, wish, lambda: rows_of, asked=asked, notices=tuple(notices), watched=True)


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


def _parts(called: str, source: Any) -> tuple[Parts, list[str]]:
    """The splits that decoct knows; where none is for training, the only one there is."""
    data: Mapping[Any, Any] = source if isinstance(source, Mapping) else {"all": source}
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
