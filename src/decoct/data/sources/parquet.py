"""Parquet files with images or numbers, through Hugging Face `datasets`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from decoct.data.cache import cache_key
from decoct.data.found import Found, Wish, part_named
from decoct.data.sources.huggingface import columns_asked, import_datasets, open_parts, quiet
from decoct.errors import DecoctError, SourceError
from decoct.files import make_folder

if TYPE_CHECKING:
    from datasets import Dataset


def find(place: str, wish: Wish) -> Found:
    """A parquet file, or a folder of them whose names say the part (`train-00000-of-00005.parquet`, `test/0.parquet`).

    `PATH?image=NAME&label=NAME` names columns where they cannot be told. Raises `SourceError` for missing files,
    damaged files, unreadable images and columns that cannot be told; `MissingExtraError` without `datasets`.
    """
    called = f"opening parquet:{place}"
    path, asked = columns_asked(called, place)
    files, notices = _parquet_files(called, Path(path).expanduser())
    listing = [(part, str(file), *_state(file)) for part, found in files.items() for file in found]
    key = cache_key(f"parquet:{Path(path).expanduser().resolve()}?{asked}", wish.size, wish.mode, listing)

    @contextmanager
    def load() -> Iterator[Mapping[str, Dataset]]:
        datasets = import_datasets(called)
        # The library first writes its own copy; it is only needed until the rows are decoded.
        with tempfile.TemporaryDirectory(dir=_scratch(wish), prefix=".parquet-") as folder, quiet(datasets):
            # "all" is a word of the library's own, hence the prefix.
            names = {f"part_{part}": [str(file) for file in found] for part, found in files.items()}
            loaded = datasets.load_dataset("parquet", data_files=names, cache_dir=folder)
            yield {part: loaded[f"part_{part}"] for part in files}

    return open_parts(called, key, wish, load, asked=asked, notices=tuple(notices))


def column_of(place: str, name: str) -> dict[str, str]:
    """The values of one column, as texts, by the ids that `find` gives the rows: a source, a person, a generator.

    Raises `SourceError` for missing or damaged files and for a column that is not there.
    """
    called = f"reading the column {name!r} of parquet:{place}"
    path, _ = columns_asked(called, place)
    files, _ = _parquet_files(called, Path(path).expanduser())
    values: dict[str, str] = {}
    for part, found in files.items():
        row = 0
        for file in found:
            try:
                column = pq.read_table(file, columns=[name])[name].to_pylist()
            except (OSError, KeyError, pa.ArrowException) as error:
                raise SourceError(
                    called, received=f"{file.name}: {str(error).splitlines()[0][:200]}",
                    expected="whole parquet files with that column",
                    remedy="check the name of the column and the files",
                ) from error  # fmt: skip
            values |= {f"{part}/{row + place}": str(value) for place, value in enumerate(column)}
            row += len(column)
    return values


def _parquet_files(called: str, path: Path) -> tuple[dict[str, list[Path]], list[str]]:
    if not path.exists():
        raise SourceError(
            called, received="no such file or folder", expected="a .parquet file or a folder of them",
            remedy="check the path; relative paths start at the current folder",
        )  # fmt: skip
    if path.is_file():
        return {"all": [path]}, []
    files = [file for file in sorted(path.rglob("*.parquet")) if not _hidden(file.relative_to(path))]
    if not files:
        raise SourceError(
            called, received="a folder without .parquet files", expected="a .parquet file or a folder of them",
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


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _scratch(wish: Wish) -> str | None:
    """A folder for the library's own copy: the cache where it can be written, else the system's."""
    try:
        folder = make_folder(wish.cache.folder)
    except DecoctError:
        return None
    return str(folder) if os.access(folder, os.W_OK) else None
