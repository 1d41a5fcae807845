"""Decoded rows on disk: written whole or not at all, used only while the source is unchanged."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from decoct.data.blocks import BLOCK_BYTES
from decoct.data.sweep import mark_used
from decoct.errors import OutputError
from decoct.files import make_folder, write_atomically, write_json
from decoct.machine import total_memory

VERSION = 2


@dataclass(frozen=True, eq=False)
class Entry:
    """Decoded rows `x` `[k, ...]` (memory-mapped where large), the labels of all rows of the source, and facts."""

    x: NDArray[np.generic]
    labels: NDArray[np.int64]
    about: dict[str, Any]


@dataclass(frozen=True)
class Key:
    """Names an entry: `family` says which source and how it is decoded, `state` in which state the source was."""

    family: str
    state: str

    @property
    def name(self) -> str:
        return f"{self.family}-{self.state}"


def cache_key(source: str, size: tuple[int, int] | None, mode: str | None, listing: Iterable[tuple[Any, ...]]) -> Key:
    """The key of a source decoded to `size` and `mode`, whose files are `listing` (names, sizes, mtimes)."""
    digest = hashlib.sha256()
    for item in listing:
        digest.update(json.dumps(item).encode() + b"\n")
    family = hashlib.sha256(json.dumps([VERSION, source, size, mode]).encode())
    return Key(family.hexdigest()[:16], digest.hexdigest()[:32])


@dataclass(frozen=True)
class Cache:
    """A folder of decoded rows; arrays of more than `limit` bytes are memory-mapped from it."""

    folder: Path
    limit: int
    asked: bool = False
    """The caller named the folder, so that a refusal to write there is an error and not a notice."""

    @classmethod
    def at(cls, folder: str | os.PathLike[str] | None, memory_share: float) -> Cache:
        """The cache in `folder`, else in `DECOCT_CACHE`, else in `~/.cache/decoct`."""
        named = folder if folder is not None else os.environ.get("DECOCT_CACHE") or None
        folder = Path(named).expanduser() if named is not None else _home() / ".cache" / "decoct"
        return cls(folder, int(memory_share * total_memory()), asked=named is not None)

    def load(self, key: Key) -> Entry | None:
        """The entry of this key, or None where there is none or it is not whole."""
        record = self.folder / f"{key.name}.json"
        try:
            facts = json.loads(record.read_text(encoding="utf-8"))
            sizes = {name: (self.folder / name).stat().st_size for name in facts["files"]}
            if facts["version"] != VERSION or sizes != facts["files"]:
                return None
            for name in facts["files"]:
                mark_used(self.folder / name)
            mark_used(record)
            x = self._map(self.folder / f"{key.name}.rows.npy")
            labels = np.load(self.folder / f"{key.name}.labels.npy", allow_pickle=False)
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            return None
        return Entry(x, labels, facts["about"])

    def save(
        self, key: Key, blocks: Iterable[NDArray[np.generic]], labels: NDArray[np.int64], about: Callable[[], dict]
    ) -> Entry:
        """Write the rows in `blocks` as an entry; `about()` is asked once they have all passed.

        An entry whose `about` has a false "keep" is readable now but not used again. Where the standard folder cannot
        be written the rows stay in memory and `about` gets a notice. Raises `OutputError` for a folder the caller
        named, a full disk, and rows that would not fit into the memory limit.
        """
        if not self._writable():
            return self._in_memory(blocks, labels, about)
        self._forget("", key)
        rows, names = self.folder / f"{key.name}.rows.npy", self.folder / f"{key.name}.labels.npy"
        write_atomically(rows, lambda path: _write_rows(path, blocks))
        facts = about()
        x = self._map(rows)
        if not facts.get("keep", True):
            rows.unlink(missing_ok=True)
            return Entry(x, labels, facts)
        write_atomically(names, lambda path: _write_rows(path, [labels]))
        files = {path.name: path.stat().st_size for path in (rows, names)}
        # The record comes last: an entry without it does not exist.
        write_json(self.folder / f"{key.name}.json", {"version": VERSION, "files": files, "about": facts})
        return Entry(x, labels, facts)

    def take(self, x: NDArray[np.generic], rows: NDArray[np.int64]) -> NDArray[np.generic]:
        """`x[rows]`, in memory where that is under the limit, else written to the cache and memory-mapped.

        The file is named after the content it holds. Raises `OutputError` where it cannot be written.
        """
        if len(rows) * x[:1].nbytes <= self.limit:
            return np.ascontiguousarray(x[rows])
        step = max(1, BLOCK_BYTES // max(1, x[:1].nbytes))
        starts = range(0, len(rows), step)
        digest = hashlib.sha256(f"{x.dtype.str} {(len(rows), *x.shape[1:])}".encode())
        for start in starts:
            digest.update(np.ascontiguousarray(x[rows[start : start + step]]).data)
        pieces = (x[rows[start : start + step]] for start in starts)
        path = self.folder / f"taken-{digest.hexdigest()[:32]}.npy"
        return _kept(path, lambda temporary: _write_rows(temporary, pieces))

    def extract(self, key: Key, copy: Callable[[BinaryIO], None]) -> NDArray[np.generic]:
        """The `.npy` content that `copy` writes, memory-mapped from a file of the cache; an earlier state of it goes.

        Raises `OutputError` where it cannot be written, and `ValueError` where it is not a plain array.
        """

        def write(temporary: Path) -> None:
            with temporary.open("wb") as file:
                copy(file)
            np.load(temporary, mmap_mode="r", allow_pickle=False)
            self._forget("npz-", key)

        return _kept(self.folder / f"npz-{key.name}.npy", write)

    def _map(self, path: Path) -> NDArray[np.generic]:
        large = path.stat().st_size > self.limit
        return np.load(path, mmap_mode="r" if large else None, allow_pickle=False)

    def _writable(self) -> bool:
        """Whether rows can be kept; raises `OutputError` where the caller named a folder that cannot be written."""
        try:
            make_folder(self.folder)
            write_atomically(self.folder / ".probe", lambda path: None)
            (self.folder / ".probe").unlink(missing_ok=True)
        except OutputError:
            if self.asked:
                raise
            return False
        return True

    def _in_memory(self, blocks: Iterable[NDArray], labels: NDArray[np.int64], about: Callable[[], dict]) -> Entry:
        pieces, held = [], 0
        for block in blocks:
            pieces.append(block)
            held += block.nbytes
            if held > self.limit:
                raise OutputError(
                    f"keeping decoded images in {self.folder}",
                    received=f"a folder that cannot be written, and more than {self.limit} bytes of images",
                    expected="a folder for the images that do not fit into memory",
                    remedy="name one with cache=... or the environment variable DECOCT_CACHE",
                )
        facts = about()
        notice = f"decoded images were not kept: {self.folder} cannot be written (set DECOCT_CACHE)"
        return Entry(np.concatenate(pieces), labels, {**facts, "notices": [*facts.get("notices", []), notice]})

    def _forget(self, prefix: str, key: Key) -> None:
        """Remove entries of the same source in an earlier state."""
        for path in self.folder.glob(f"{prefix}{key.family}-*"):
            # Another process may be writing this very entry; it is replaced, not removed.
            if not path.name.startswith(f"{prefix}{key.name}."):
                with suppress(OSError):  # Windows keeps what is mapped.
                    path.unlink(missing_ok=True)


def _kept(path: Path, write: Callable[[Path], object]) -> NDArray[np.generic]:
    """The array in the file `path`, memory-mapped, after letting `write` fill it where it is not there."""
    with suppress(FileNotFoundError):
        mark_used(path)
        return np.load(path, mmap_mode="r", allow_pickle=False)
    write_atomically(path, write)
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _home() -> Path:
    """The folder of this person; a container may know of none."""
    try:
        return Path.home()
    except RuntimeError:
        return Path(tempfile.gettempdir())


def _write_rows(path: Path, blocks: Iterable[NDArray[np.generic]]) -> None:
    """Write `blocks` one after the other as one `.npy` array.

    Plain writes, not a memory map: on a full disk a map kills the process where a write is refused.
    """
    count, header, first = 0, 0, None
    with path.open("wb") as file:
        for block in blocks:
            if first is None:
                first = block
                header = _write_header(file, first, 0)
            file.write(np.ascontiguousarray(block).data)
            count += len(block)
        if first is None:
            raise ValueError("no blocks: the shape of the rows is unknown")
        file.seek(0)
        # numpy pads the header so that the number of rows can change in place.
        if _write_header(file, first, count) != header:
            raise ValueError("the header of the array changed its length")


def _write_header(file: BinaryIO, block: NDArray[np.generic], count: int) -> int:
    shape = (count, *block.shape[1:])
    facts = {"descr": np.lib.format.dtype_to_descr(block.dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, facts)
    return file.tell()
