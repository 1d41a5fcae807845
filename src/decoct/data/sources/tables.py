"""Tables in files: parquet with images or numbers, csv with numbers."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from decoct.data.cache import cache_key
from decoct.data.found import Found, Wish, file_state, part_named
from decoct.data.sources.arrow import ArrowRows, Kind, read_parts
from decoct.data.sources.asked import names_asked
from decoct.data.sources.columns import column_by_id
from decoct.data.sources.parts import open_parts
from decoct.errors import SourceError


def find(place: str, wish: Wish, kind: Kind = "parquet") -> Found:
    """A file, or a folder of them whose names say the part (`train-00000-of-00005.parquet`, `test/0.parquet`).

    `PATH?image=NAME&label=NAME&id=NAME` names columns where they cannot be told; rows are called by a column `uid`,
    `id` or `key` if there is one, and have numbers otherwise and with `?id=` alone. The first line of a csv file names
    its columns. Raises `SourceError` for missing files, damaged files, unreadable images and columns that cannot be
    told, `DataError` for ids that cannot be used.
    """
    called = f"opening {kind}:{place}"
    path, asked = names_asked(called, place)
    files, notices = _files(called, Path(path).expanduser(), kind)
    listing = [(part, str(file), *file_state(file)) for part, found in files.items() for file in found]
    key = cache_key(f"{kind}:{Path(path).expanduser().resolve()}?{asked}", wish.size, wish.mode, listing)

    def load() -> Mapping[str, ArrowRows]:
        _require_rows(called, files)
        return read_parts(called, kind, files)

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
    # A group may well be called "NA".
    return column_by_id(called, read_parts(called, kind, files, missing_texts=False), name, asked)


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
