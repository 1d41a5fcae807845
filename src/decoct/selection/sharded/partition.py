"""A table on disk, cut into coarse shards: files of near rows, each small enough for one work unit.

The table is read twice, from the first row to the last, and every row is written once (twice where a shard was too
large and is cut again), so the disk never seeks. The shards take as much space as the table. Memory holds a block of
rows, a sample, and the labels where there are any; where k-means finds nothing to cut, also 32 bytes for each row that
is to be cut. Permuting the rows permutes the shards.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from decoct.data.feature_table import FeatureTable
from decoct.durations import show_bytes
from decoct.errors import IntegrityError, OutputError
from decoct.files import alone, make_folder, write_json, writing
from decoct.progress import Ticker
from decoct.selection.content_order import marks
from decoct.selection.sharded.shards import STUCK, middles, nearest_middle
from decoct.selection.sharded.survey import Blocks, Seen, sampled, survey
from decoct.streams import derive_seed

UNIT_BYTES = 128 << 20
"""What the rows of a coarse shard take as float32, roughly; a shard of more than twice as much is cut again."""
MOST = 256
"""Coarse shards that a table or an oversize shard is cut into at once."""
BLOCK_BYTES = 64 << 20
"""Bytes dealt out at a time, so that each shard is given many rows at once."""
ABOUT = "partition.json"

Place = Callable[[int, NDArray[np.int64], NDArray[np.floating]], NDArray[np.int64]]
"""(rows dealt before, numbers, rows) -> the part that each row goes to."""


@dataclass(frozen=True)
class Shard:
    """Rows of one class that lie near each other: the files `name.rows` and `name.numbers`."""

    name: str
    rows: int
    group: int
    """Their class; 0 where there are no labels."""


@dataclass(frozen=True)
class Partition:
    """All shards of a table, and what was learned on the way."""

    shards: tuple[Shard, ...]
    seen: Seen


def partition(
    table: FeatureTable, folder: Path, labels: NDArray[np.int64] | None, seed: int, tick: Ticker
) -> Partition:
    """Cut the table into shards of about 128 MB at most, class by class where there are labels; kept in `folder`.

    A folder that holds a whole partition is read instead; one that lacks rows, as where its removal was stopped, is
    made anew. Where another process is cutting into this very folder, it is waited for. `tick` counts every row twice:
    looked at, dealt out. Cost: O(n d s) time for s shards, of which there are 256 at once at most. Raises `DataError`
    for NaN or infinite features, `OutputError` for a disk too small for the copy, and where the files are not as they
    were written.
    """
    if (kept := _read(folder, table)) is not None:
        return kept
    make_folder(folder.parent)
    lock = folder.with_name(f".{folder.name}.lock")
    with writing(lock):
        lock.touch()
    with alone(lock):
        # The process that was waited for may have cut it.
        return _read(folder, table) or _cut(table, folder, labels, seed, tick)


def _cut(table: FeatureTable, folder: Path, labels: NDArray[np.int64] | None, seed: int, tick: Ticker) -> Partition:
    # Whoever comes here is alone, so what lies there is what a kill left.
    making = folder.with_name(folder.name + ".part")
    with writing(making):
        shutil.rmtree(making, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
    _require_space(table, folder)
    make_folder(making)
    sample, seen = survey(table, tick)
    cutter = _Cutter(table, making, seed, max(1, UNIT_BYTES // (4 * table.width)))
    blocks = _dealt(table, tick)
    whole = Shard("", table.rows, 0)
    shards = cutter.cut(whole, blocks, sample) if labels is None else cutter.by_class(blocks, labels)
    made = Partition(tuple(shards), seen)
    _require_whole(making, made, table)
    write_json(making / ABOUT, asdict(made))
    with writing(folder):
        making.rename(folder)
    return made


def _read(folder: Path, table: FeatureTable) -> Partition | None:
    """The partition in the folder; None where it is not whole."""
    if not (folder / ABOUT).exists():
        return None
    found = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    seen = Seen(found["seen"]["fingerprint"], tuple(found["seen"]["mean"]), tuple(found["seen"]["std"]))
    made = Partition(tuple(Shard(**shard) for shard in found["shards"]), seen)
    return made if all(_is_whole(folder, shard, table.row_bytes) for shard in made.shards) else None


def _is_whole(folder: Path, shard: Shard, row_bytes: int) -> bool:
    sizes = {"rows": shard.rows * row_bytes, "numbers": shard.rows * 8}
    paths = {folder / f"{shard.name}.{kind}": size for kind, size in sizes.items()}
    return all(path.is_file() and path.stat().st_size == size for path, size in paths.items())


def _require_whole(folder: Path, made: Partition, table: FeatureTable) -> None:
    """Raise `OutputError` where files have other sizes than was written: some file systems know no locks."""
    broken = [shard.name for shard in made.shards if not _is_whole(folder, shard, table.row_bytes)]
    if broken:
        raise OutputError(
            f"cutting {table.name} into shards in {folder}",
            received=f"{len(broken)} of {len(made.shards)} shards with more or fewer rows than were dealt out to them",
            expected="a folder that nobody else writes into",
            remedy="wait until other selections there have ended, or choose another folder (--cache, --out)",
        )


def read_shard(folder: Path, shard: Shard, dtype: str, width: int) -> tuple[Float[Tensor, "m d"], Int64[Tensor, " m"]]:
    """The rows of a shard in float32, and their numbers in the table; raises `IntegrityError` where some are missing
    or too many."""
    if not _is_whole(folder, shard, width * np.dtype(dtype).itemsize):
        raise IntegrityError(
            f"reading the shard {folder / shard.name}",
            received="files that were removed or changed since they were cut",
            expected=f"{shard.rows} rows and their numbers",
            remedy="start the same command again, which cuts the table anew",
        )
    rows = np.fromfile(folder / f"{shard.name}.rows", dtype).reshape(-1, width)
    numbers = np.fromfile(folder / f"{shard.name}.numbers", "<i8")
    return torch.from_numpy(rows.astype(np.float32)), torch.from_numpy(numbers)


def _require_space(table: FeatureTable, folder: Path) -> None:
    needed, free = table.rows * (table.row_bytes + 8), shutil.disk_usage(folder.parent).free
    if needed > free:
        raise OutputError(
            f"cutting {table.name} into shards in {folder}",
            received=f"a disk with {show_bytes(free)} free",
            expected=f"{show_bytes(needed)} for a copy of the rows, shard by shard",
            remedy="free some space, or choose a folder on another disk",
        )


def _dealt(table: FeatureTable, tick: Ticker) -> Blocks:
    """The rows of the table, in large blocks, counted for the second time."""

    def blocks() -> Iterator[tuple[NDArray[np.int64], NDArray[np.floating]]]:
        for start, rows in table.blocks(BLOCK_BYTES):
            yield np.arange(start, start + len(rows)), rows
            tick(table.rows + start + len(rows), "dealing out rows")

    return blocks


@dataclass(frozen=True)
class _Cutter:
    """Writes rows into the files of shards."""

    table: FeatureTable
    folder: Path
    seed: int
    limit: int
    """Rows of a shard, as they are meant."""

    def by_class(self, blocks: Blocks, labels: NDArray[np.int64]) -> list[Shard]:
        sizes = self._deal(blocks, lambda _, numbers, rows: labels[numbers], "c", int(labels.max()) + 1)
        return [
            part
            for group, rows in enumerate(sizes.tolist()) if rows
            for part in self._small(Shard(f"c{group:05d}", rows, group))
        ]  # fmt: skip

    def cut(self, whole: Shard, blocks: Blocks, sample: Float[Tensor, "s d"]) -> list[Shard]:
        """Shards of near rows out of these, small enough, in the order of their middles."""
        wanted = min(math.ceil(whole.rows / self.limit), MOST)
        prefix, points = f"{whole.name}-", middles(sample, wanted, derive_seed(self.seed, "cut", whole.name))

        def near(before: int, numbers: NDArray[np.int64], rows: NDArray[np.floating]) -> NDArray[np.int64]:
            return nearest_middle(torch.from_numpy(rows.astype(np.float32)), points).numpy()

        sizes = self._deal(blocks, near, prefix, len(points))
        if wanted > 1 and sizes.max() > STUCK * whole.rows:
            for part in range(len(sizes)):
                self._remove(f"{prefix}{part:05d}")
            sizes = self._deal(blocks, self._even(blocks), prefix, math.ceil(whole.rows / self.limit))
        parts = [Shard(f"{prefix}{part:05d}", rows, whole.group) for part, rows in enumerate(sizes.tolist()) if rows]
        return [small for part in parts for small in self._small(part)]

    def _even(self, blocks: Blocks) -> Place:
        """Even pieces of all rows in the order of their marks."""
        order = np.argsort(np.concatenate([marks(rows) for _, rows in blocks()]), kind="stable")
        places = np.empty(len(order), np.int64)
        places[order] = np.arange(len(order)) // self.limit
        return lambda before, numbers, rows: places[before : before + len(rows)]

    def _small(self, shard: Shard) -> list[Shard]:
        """The shard itself, or what it is cut into where it is more than twice too large."""
        if shard.rows <= 2 * self.limit:
            return [shard]
        sample, _ = sampled(lambda: self._blocks(shard), shard.rows)
        parts = self.cut(shard, lambda: self._blocks(shard), sample)
        self._remove(shard.name)
        return parts

    def _blocks(self, shard: Shard) -> Iterator[tuple[NDArray[np.int64], NDArray[np.floating]]]:
        width, step = self.table.width, max(1, BLOCK_BYTES // self.table.row_bytes)
        with (
            (self.folder / f"{shard.name}.rows").open("rb") as rows,
            (self.folder / f"{shard.name}.numbers").open("rb") as numbers,
        ):
            while len(own := np.fromfile(numbers, "<i8", step)):
                yield own, np.fromfile(rows, self.table.dtype, step * width).reshape(-1, width)

    def _deal(self, blocks: Blocks, place: Place, prefix: str, parts: int) -> NDArray[np.int64]:
        """Append every row to the files of its part; rows of each part."""
        sizes = np.zeros(parts, np.int64)
        for numbers, rows in blocks():
            places = place(int(sizes.sum()), numbers, rows)
            here = np.bincount(places, minlength=parts)
            order = np.argsort(places, kind="stable")
            for part, own in zip(np.flatnonzero(here), np.split(order, np.cumsum(here[here > 0])[:-1]), strict=True):
                self._append(f"{prefix}{part:05d}", numbers[own], rows[own])
            sizes += here
        return sizes

    def _append(self, name: str, numbers: NDArray[np.int64], rows: NDArray[np.floating]) -> None:
        for path, values in ((f"{name}.numbers", numbers.astype("<i8")), (f"{name}.rows", rows)):
            with writing(self.folder / path), (self.folder / path).open("ab") as file:
                file.write(values.tobytes())

    def _remove(self, name: str) -> None:
        for kind in ("rows", "numbers"):
            (self.folder / f"{name}.{kind}").unlink(missing_ok=True)
