"""Tables in files: parquet with images or numbers, csv with numbers, through Hugging Face `datasets`."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from decoct.data.cache import cache_key
from decoct.data.found import Found, Wish, file_state, numbered_ids, part_named
from decoct.data.sources.asked import names_asked
from decoct.data.sources.huggingface import import_datasets, open_parts, quiet
from decoct.data.sources.ids import checked_ids, id_column
from decoct.errors import DecoctError, SourceError
from decoct.files import make_folder

if TYPE_CHECKING:
    from datasets import Dataset

Kind = Literal["parquet", "csv"]
"""What such a file is called, by its ending and before the colon of a source."""


def find(place: str, wish: Wish, kind: Kind = "parquet") -> Found:
    """A file, or a folder of them whose names say the part (`train-00000-of-00005.parquet`, `test/0.parquet`).

    `PATH?image=NAME&label=NAME&id=NAME` names columns where they cannot be told; rows are called by a column `uid`,
    `id` or `key` if there is one, and have numbers otherwise and with `?id=` alone. The first line of a csv file names
    its columns. Raises `SourceError` for missing files, damaged files, unreadable images and columns that cannot be
    told, `DataError` for ids that cannot be used; `MissingExtraError` without `datasets`.
    """
    called = f"opening {kind}:{place}"
    path, asked = names_asked(called, place)
    files, notices = _files(called, Path(path).expanduser(), kind)
    listing = [(part, str(file), *file_state(file)) for part, found in files.items() for file in found]
    key = cache_key(f"{kind}:{Path(path).expanduser().resolve()}?{asked}", wish.size, wish.mode, listing)

    @contextmanager
    def load() -> Iterator[Mapping[str, Dataset]]:
        datasets = import_datasets(called)
        _require_rows(called, files)
        # The library first writes its own copy; it is only needed until the rows are decoded.
        with tempfile.TemporaryDirectory(dir=_scratch(wish), prefix=f".{kind}-") as folder, quiet(datasets):
            # "all" is a word of the library's own, hence the prefix.
            names = {f"part_{part}": [str(file) for file in found] for part, found in files.items()}
            loaded = datasets.load_dataset(kind, data_files=names, cache_dir=folder)
            yield {part: loaded[f"part_{part}"] for part in files}

    return open_parts(called, key, wish, load, asked=asked, notices=tuple(notices))


find_csv = partial(find, kind="csv")


def column_of(place: str, name: str, kind: Kind = "parquet") -> dict[str, str]:
    """The values of one column, as texts, by the ids that `find` gives the rows: a source, a person, a generator.

    Raises `SourceError` for missing or damaged files and for a column that is not there, `DataError` for ids that
    cannot be used.
    """
    called = f"reading the column {name!r} of {kind}:{place}"
    path, asked = names_asked(called, place)
    files, _ = _files(called, Path(path).expanduser(), kind)
    values: dict[str, list[str]] = {}
    ids: dict[str, list[Any]] = {}
    own = None
    for part, found in files.items():
        for file in found:
            own = own or id_column(_types(called, file), asked)
            table = _columns_of(called, file, name, own)
            values.setdefault(part, []).extend(map(str, table[name].to_pylist()))
            ids.setdefault(part, []).extend(table[own].to_pylist() if own in table.column_names else [])
    named = {part: column for part, column in ids.items() if len(column) == len(values[part])}
    checked = checked_ids(called, own, named) if own is not None and named else {}
    keys = {part: checked.get(part, numbered_ids(part, len(column))).tolist() for part, column in values.items()}
    return {key: value for part, column in values.items() for key, value in zip(keys[part], column, strict=True)}


def _types(called: str, file: Path) -> dict[str, str]:
    """What the columns of a file hold, in Arrow's words; texts that are kept as numbers of a list are texts."""
    try:
        if _is_csv(file):
            with pyarrow.csv.open_csv(file) as reader:
                schema = reader.schema
        else:
            schema = pq.read_schema(file)
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(called, file, error) from error
    kinds = {field.name: field.type for field in schema}
    return {own: str(kind.value_type if pa.types.is_dictionary(kind) else kind) for own, kind in kinds.items()}


def _require_rows(called: str, files: Mapping[str, list[Path]]) -> None:
    """A part of csv files that all end after the names of their columns is said to be empty, by name."""
    for found in files.values():
        if all(_is_csv(file) and not _has_rows(file) for file in found):
            names = ", ".join(file.name for file in found[:3])
            raise SourceError(
                called, received=f"{names}: no line below the names of the columns",
                expected="a first line that names the columns, and a line for each row",
                remedy="check how the file was written; a file without names of columns needs them as its first line",
            )  # fmt: skip


def _has_rows(file: Path) -> bool:
    with file.open("rb") as lines:
        return sum(1 for _ in itertools.islice((line for line in lines if line.strip()), 2)) == 2


def _is_csv(file: Path) -> bool:
    return file.suffix.lower() == ".csv"


def _columns_of(called: str, file: Path, name: str, own: str | None) -> pa.Table:
    try:
        columns = [name] if own is None else list({name, own})
        if _is_csv(file):
            table = pyarrow.csv.read_csv(file, convert_options=pyarrow.csv.ConvertOptions(include_columns=columns))
        else:
            table = pq.read_table(file, columns=columns)
        table[name]
    except (OSError, KeyError, pa.ArrowException) as error:
        raise _unreadable(called, file, error) from error
    return table


def _unreadable(called: str, file: Path, error: Exception) -> SourceError:
    return SourceError(
        called, received=f"{file.name}: {str(error).splitlines()[0][:200]}",
        expected=f"whole {file.suffix} files with that column",
        remedy="check the name of the column and the files",
    )  # fmt: skip


def _files(called: str, path: Path, kind: Kind) -> tuple[dict[str, list[Path]], list[str]]:
    if not path.exists():
        raise SourceError(
            called, received="no such file or folder", expected=f"a .{kind} file or a folder of them",
            remedy="check the path; relative paths start at the current folder",
        )  # fmt: skip
    if path.is_file():
        return {"all": [path]}, []
    files = [file for file in sorted(path.rglob(f"*.{kind}")) if not _hidden(file.relative_to(path))]
    if not files:
        raise SourceError(
            called, received=f"a folder without .{kind} files", expected=f"a .{kind} file or a folder of them",
            remedy="check the path, or open a folder of class folders of images as imagefolder:PATH",
        )  # fmt: skip
    sorted_out: dict[str | None, list[Path]] = {}
    for file in files:
        sorted_out.setdefault(_part_of(file.relative_to(path)), []).append(file)
    if "train" not in sorted_out:
        return {"all": files}, []
    others = sorted_out.pop(None, [])
    notices = [f"{len(others)} files whose name says no part were passed over ({others[0].name})"] if others else []
    return {part: sorted_out[part] for part in ("train", "val", "test") if part in sorted_out}, notices


def _part_of(path: Path) -> str | None:
    """The part a file name (`train-00000-of-00005`) says, else the nearest folder that says one."""
    word = path.stem.replace("_", "-").replace(".", "-").partition("-")[0]
    return next(filter(None, map(part_named, (word, *reversed(path.parent.parts)))), None)


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def _scratch(wish: Wish) -> str | None:
    """A folder for the library's own copy: the cache where it can be written, else the system's."""
    try:
        folder = make_folder(wish.cache.folder)
    except DecoctError:
        return None
    return str(folder) if os.access(folder, os.W_OK) else None
