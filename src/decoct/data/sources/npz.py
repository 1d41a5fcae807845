"""NumPy archives: `x_train y_train [x_val y_val] [x_test y_test]` or `x y`, `class_names` and ids if there are any."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from decoct.data.archives import DAMAGED
from decoct.data.cache import cache_key
from decoct.data.found import Found, Wish, file_state
from decoct.data.sources.asked import names_asked
from decoct.data.sources.named import read_named
from decoct.errors import SourceError


def find(place: str, wish: Wish) -> Found:
    """Open the archive at `place`. Pickled objects are never loaded.

    Rows are called by an array `uid`, `id` or `key` (`uid_train`, `uid_test` and so on where there are parts), or by
    that of another name: `PATH?id=NAME`. Without it, and with `?id=` alone, they have numbers. Arrays of more than the
    memory limit are unpacked into the cache and memory-mapped. Raises `SourceError` where the file is missing, damaged,
    holds pickled objects or lacks the arrays; `DataError` for what the arrays hold.
    """
    called = f"opening npz:{place}"
    # A question mark may stand in the name of a file, too.
    whole = Path(place).expanduser().exists()
    name, asked = (place, {}) if whole else names_asked(called, place, ("id",))
    path = Path(name).expanduser()
    if not path.is_file():
        raise SourceError(
            called, received="no such file" if not path.exists() else "a folder", expected="an .npz file",
            remedy="check the path; relative paths start at the current folder",
        )  # fmt: skip
    try:
        with zipfile.ZipFile(path) as archive:
            names = {Path(info.filename).stem: info for info in archive.infolist() if info.filename.endswith(".npy")}

            def read(array: str) -> NDArray[Any]:
                return _read(archive, names[array], path, wish)

            return read_named(called, "an archive with", sorted(names), asked, read, wish)
    except PermissionError as error:
        raise SourceError(
            called, received=f"no permission to read {path}", expected="a file that you may read",
            remedy="ask its owner, or change its mode (chmod u+r FILE)",
        ) from error  # fmt: skip
    except DAMAGED as error:
        raise _refused(called, error) from error


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, wish: Wish) -> NDArray[Any]:
    if info.file_size <= wish.cache.limit:
        with archive.open(info) as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    listing = [(*file_state(path), info.CRC)]
    key = cache_key(f"npz:{path.resolve()}:{info.filename}", None, None, listing)

    def copy(target: BinaryIO) -> None:
        with archive.open(info) as file:
            shutil.copyfileobj(file, target, 1 << 20)

    return wish.cache.extract(key, copy)


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
