"""NumPy archives: `x_train y_train [x_val y_val] [x_test y_test]` or `x y`, with `class_names` if there are any."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
import zlib
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from decoct.data.found import Found, Wish
from decoct.data.sources.arrays import from_arrays
from decoct.errors import SourceError

_EXPECTED = "x_train, y_train, x_test, y_test (x_val, y_val, class_names if you like), or x and y"


def find(place: str, wish: Wish) -> Found:
    """Open the archive at `place`. Pickled objects are never loaded.

    Arrays of more than the memory limit are unpacked into the cache and memory-mapped. Raises `SourceError` where the
    file is missing, damaged, holds pickled objects or lacks the arrays; `DataError` for what the arrays hold.
    """
    called = f"opening npz:{place}"
    path = Path(place).expanduser()
    if not path.is_file():
        raise SourceError(
            called, received="no such file" if not path.exists() else "a folder", expected="an .npz file",
            remedy="check the path; relative paths start at the current folder",
        )  # fmt: skip
    try:
        with zipfile.ZipFile(path) as archive:
            names = {Path(info.filename).stem: info for info in archive.infolist() if info.filename.endswith(".npy")}
            chosen = _choose(called, sorted(names))
            read = partial(_read, archive, path=path, wish=wish)
            xs = {part: read(names[x]) for part, (x, _) in chosen.items()}
            ys = {part: read(names[y]) for part, (_, y) in chosen.items()}
            class_names = read(names["class_names"]) if "class_names" in names else None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise _refused(called, error) from error
    return from_arrays(called, xs, ys, None if class_names is None else _names(called, class_names), wish)


def _choose(called: str, names: list[str]) -> dict[str, tuple[str, str]]:
    """For each part the names of its rows and of its labels."""
    if "x_train" in names and "y_train" in names:
        parts = {part: (f"x_{part}", f"y_{part}") for part in ("train", "val", "test")}
        halves = [name for pair in parts.values() if (pair[0] in names) != (pair[1] in names) for name in pair]
        if not halves:
            return {part: pair for part, pair in parts.items() if pair[0] in names}
    elif "x" in names and "y" in names:
        return {"all": ("x", "y")}
    raise SourceError(
        called,
        received=f"an archive with {', '.join(names) or 'nothing'}",
        expected=_EXPECTED,
        remedy="save it with np.savez(path, x_train=..., y_train=..., x_test=..., y_test=...)",
    )


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, wish: Wish) -> NDArray[Any]:
    if info.file_size <= wish.cache.limit:
        with archive.open(info) as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    status = path.stat()
    facts = json.dumps([str(path.resolve()), status.st_size, status.st_mtime_ns, info.filename, info.CRC])

    def copy(target: BinaryIO) -> None:
        with archive.open(info) as file:
            shutil.copyfileobj(file, target, 1 << 20)

    return wish.cache.extract(f"npz-{hashlib.sha256(facts.encode()).hexdigest()[:32]}", copy)


def _names(called: str, names: NDArray[Any]) -> tuple[str, ...]:
    if names.ndim != 1 or names.dtype.kind not in "US":
        raise SourceError(
            called,
            received=f"class_names with shape {list(names.shape)} and type {names.dtype}",
            expected="one string for each class, in label order",
            remedy="save class_names=np.array(['first', 'second', ...])",
        )
    text = np.char.decode(names, "utf-8", "replace") if names.dtype.kind == "S" else names
    return tuple(str(name) for name in text)


def _refused(called: str, error: Exception) -> SourceError:
    if "pickle" in str(error) or "bject" in str(error):
        return SourceError(
            called,
            received="an archive with pickled Python objects, which could run any code",
            expected="plain arrays of numbers and strings",
            remedy="save the arrays with a number or string type, not dtype=object",
        )
    return SourceError(
        called,
        received=f"a file that is damaged or no .npz archive ({' '.join(str(error).split())[:100]})",
        expected="a whole .npz file as np.savez writes it",
        remedy="copy or download the file again",
    )
