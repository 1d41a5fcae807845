"""A table of features on disk, `[n, d]` in one .npy file, read in blocks: for sets that no memory holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decoct.data.blocks import BLOCK_BYTES
from decoct.errors import DataError, MismatchError, SourceError

PREFIX = "features:"
"""How such a table is named as a source: features:PATH.npy"""


@dataclass(frozen=True)
class FeatureTable:
    """Features `[n, d]` (float16, float32 or float64, C order), one row a line of the file; row numbers are the ids.

    Rows are read with plain reads, never mapped: mapped pages would count as this process's memory.
    """

    path: Path
    rows: int
    width: int
    dtype: str
    """As numpy writes it: "<f2", "<f4" or "<f8"."""
    offset: int
    """Bytes before the first row."""
    labels: Path | None = None
    """Class numbers from 0, whole numbers `[n]`, in a .npy file."""
    scores: Path | None = None
    """One number a row, larger for harder rows, `[n]` or `[n, 1]`, in a .npy file: for methods that go by score."""

    def __len__(self) -> int:
        return self.rows

    @property
    def row_bytes(self) -> int:
        """Bytes of a row on disk."""
        return self.width * np.dtype(self.dtype).itemsize

    @property
    def name(self) -> str:
        return f"{PREFIX}{self.path}"

    def blocks(self, nbytes: int = BLOCK_BYTES) -> Iterator[tuple[int, NDArray[np.floating]]]:
        """(number of the first row, rows `[m, d]` as they are in the file), in order."""
        step = max(1, nbytes // self.row_bytes)
        with self.path.open("rb") as file:
            file.seek(self.offset)
            for start in range(0, self.rows, step):
                count = min(step, self.rows - start) * self.width
                yield start, np.fromfile(file, self.dtype, count).reshape(-1, self.width)

    def take(self, rows: NDArray[np.integer]) -> NDArray[np.floating]:
        """These rows, in this order, as they are in the file."""
        found = np.empty((len(rows), self.width), self.dtype)
        with self.path.open("rb") as file:
            for place in np.argsort(rows, kind="stable").tolist():
                file.seek(self.offset + int(rows[place]) * self.row_bytes)
                found[place] = np.fromfile(file, self.dtype, self.width)
        return found

    def read_labels(self) -> NDArray[np.int64]:
        """Class numbers `[n]`; zeros where there are none. Raises `DataError` and `MismatchError`."""
        if self.labels is None:
            return np.zeros(self.rows, np.int64)
        found = self._column(self.labels, "labels")
        if found.dtype.kind not in "iu" or int(found.min()) < 0:
            raise DataError(
                f"reading labels from {self.labels}",
                received=f"{found.dtype}, from {found.min()} to {found.max()}",
                expected="class numbers: whole numbers from 0 up",
                remedy="number the classes: np.unique(names, return_inverse=True)[1]",
            )
        return found.astype(np.int64)

    def read_scores(self) -> NDArray[np.float32]:
        """Scores `[n]`. Raises `DataError` for NaN and infinity, `MismatchError`, `SourceError` where none are."""
        if self.scores is None:
            raise SourceError(
                f"selecting from {self.name} by score",
                received="a table without scores",
                expected="one number for each row",
                remedy="give a .npy file of scores: --scores FILE.npy, or feature_table(path, scores=...)",
            )
        found = self._column(self.scores, "scores")
        if found.dtype.kind not in "fiu" or not np.isfinite(found).all():
            raise DataError(
                f"reading scores from {self.scores}",
                received=f"{found.dtype} with {int((~np.isfinite(found)).sum()) if found.dtype.kind == 'f' else 0} "
                "values that are NaN or infinite",
                expected="a finite number for each row",
                remedy="fill in or drop those rows",
            )
        return found.astype(np.float32)

    def _column(self, path: Path, what: str) -> NDArray[Any]:
        found = open_npy(path)
        if found.shape not in ((self.rows,), (self.rows, 1)):
            raise MismatchError(
                f"reading {what} from {path}",
                received=f"an array of shape {list(found.shape)}",
                expected=f"one value for each of the {self.rows} rows of {self.path}",
                remedy=f"write the {what} of the same rows in the same order",
            )
        return np.array(found).reshape(-1)


def feature_table(
    path: str | Path, *, labels: str | Path | None = None, scores: str | Path | None = None
) -> FeatureTable:
    """The table in this .npy file ("features:PATH.npy" or the path alone); nothing but its head is read.

    Raises `SourceError` for a file that is missing, truncated or no .npy, `DataError` for anything but a table of
    floats in C order with at least one row and one column.
    """
    place = Path(str(path).removeprefix(PREFIX)).expanduser()
    found = open_npy(place)
    fits = found.ndim == 2 and 0 not in found.shape and found.dtype.str in ("<f2", "<f4", "<f8")
    if not fits or not found.flags.c_contiguous:
        order = "" if found.flags.c_contiguous else ", columns first"
        raise DataError(
            f"opening the table {place}",
            received=f"an array of {found.dtype} and shape {list(found.shape)}{order}",
            expected="float16, float32 or float64 of shape [n, d], rows first, at least one row and one column",
            remedy="write it with np.save(path, np.ascontiguousarray(table, dtype=np.float16))",
        )
    labelled, scored = (None if file is None else Path(file).expanduser() for file in (labels, scores))
    return FeatureTable(place, found.shape[0], found.shape[1], found.dtype.str, int(found.offset), labelled, scored)


def open_npy(path: Path) -> np.memmap:
    """The array in a .npy file, memory-mapped. Raises `SourceError` for anything else."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(found, np.memmap):
            raise ValueError("not a .npy file")
    except (OSError, ValueError, EOFError) as error:
        raise SourceError(
            f"opening {path}",
            received=f"a file that cannot be read as .npy ({str(error).partition(chr(10))[0]})",
            expected="a whole .npy file with one array of numbers",
            remedy="check the path, and write the array with np.save",
        ) from error
    return found
