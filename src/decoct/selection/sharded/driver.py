"""`select_table`: from a table of features on disk to a coreset, shard by shard, in bounded memory."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from decoct.compact.budget import CLASS, GLOBAL, Budget, floor_of
from decoct.compact.coreset import Coreset
from decoct.compact.folder import is_finished
from decoct.compact.save import require_place
from decoct.data.dataset import DataSpec
from decoct.data.feature_table import FeatureTable
from decoct.data.transform import Standardise
from decoct.engine import Engine, Local
from decoct.errors import ConfigError
from decoct.files import make_folder
from decoct.machine import library_versions
from decoct.progress import progress
from decoct.selection.by_score import ByScore
from decoct.selection.methods import method_name, selector
from decoct.selection.selector import SCORED, Picks, Selector
from decoct.selection.sharded.partition import Partition, partition
from decoct.selection.sharded.selector import ROWS, Sharded, at_once
from decoct.selection.sharded.survey import Seen, survey
from decoct.selection.sharded.turns import joined, turns
from decoct.selection.sharded.units import Unit, finished, pick_unit
from decoct.streams import Streams, derive_seed

FIELDS = ("rows", "weights", "scores")
WORK = "shards"
"""Folder in which shards and picks are kept until the selection is finished."""


def select_table(
    table: FeatureTable,
    method: str | Selector = "k-center",
    *,
    ipc: int | None = None,
    fraction: float | None = None,
    count: int | None = None,
    seed: int = 0,
    balance: str = CLASS,
    shard_rows: int = ROWS,
    out: str | Path | None = None,
    cache: str | Path | None = None,
    engine: Engine | None = None,
) -> Coreset:
    """Pick rows of a table that need not fit into memory, within one budget: `ipc`, `fraction` or `count`.

    The table is cut into coarse shards on disk (`partition`), which are the work units; inside each, `Sharded` cuts
    again, into shards of `shard_rows` rows at most, and `method` picks in these. All shards take turns in proportion
    to their rows, classes (where the table has labels) in turn, so that every prefix is balanced and a smaller budget
    is a prefix; `balance` is that of `select`. Methods by score look at the table's scores at once and need no
    shards, nor does "random".

    The same seed gives the same rows with any engine and any number of workers. With `out`, shards and picks are kept
    in `out/shards` until the coreset is saved there: the same call goes on after what is finished. `cache` is a folder
    in which the shards stay for other selections from the same table; they take as much space as the table.

    Raises `ConfigError` (a floor of every class without labels among others), `BudgetError`, `UnknownNameError`,
    `DataError`, `MismatchError`, `SourceError` for a method by score without scores, `OutputError`.
    """
    began = time.monotonic()
    budget, chosen = Budget(ipc=ipc, fraction=fraction, count=count), selector(method)
    _require_labels(table, balance)
    if out is not None and not is_finished(Path(out)):
        require_place(Path(out))
    labels = None if table.labels is None else table.read_labels()
    names = tuple(str(c) for c in range(1 if labels is None else int(labels.max()) + 1))
    sizes = torch.tensor([table.rows]) if labels is None else torch.from_numpy(np.bincount(labels))
    quota = budget.quota(sizes, 4 * table.width, balance, names)
    wanted = (int(quota.sum()),) if balance == GLOBAL else tuple(quota.tolist())
    ask = _Ask(table, chosen, None if balance == GLOBAL else labels, wanted, seed, shard_rows)
    with _work(out) as work:
        if at_once(chosen):
            picks, seen = ask.at_once()
        else:
            picks, seen = ask.shard_by_shard(engine or Local(), work, work if cache is None else Path(cache))
        result = ask.coreset(picks, seen, labels, names)
        result.provenance.update({
            "budget": {unit: value for unit, value in vars(budget).items() if value is not None},
            "balance": balance, "seconds": round(time.monotonic() - began, 3), "versions": library_versions(),
        })  # fmt: skip
        if out is not None:
            result.save(Path(out))
            shutil.rmtree(work, ignore_errors=True)
    return result


def _require_labels(table: FeatureTable, balance: str) -> None:
    if floor_of(balance) is not None and table.labels is None:
        raise ConfigError(
            f"selecting from {table.name} with balance={balance!r}",
            received="a table without labels",
            expected="a class for each row, where every class is to keep some",
            remedy="give a .npy file of class numbers: --labels FILE.npy, or feature_table(path, labels=...)",
        )


@contextmanager
def _work(out: str | Path | None) -> Iterator[Path]:
    """Where shards and picks are kept: in the folder of the result, else in one that goes away."""
    if out is not None:
        yield make_folder(Path(out) / WORK)
        return
    with tempfile.TemporaryDirectory(prefix="decoct-shards-") as folder:
        yield Path(folder)


@dataclass(frozen=True, eq=False)
class _Ask:
    """What is wanted of which table."""

    table: FeatureTable
    method: Selector
    labels: NDArray[np.int64] | None
    """Classes to be picked from one by one; None where the table is picked from as a whole."""
    wanted: tuple[int, ...]
    """Rows of each class, or of the whole."""
    seed: int
    shard_rows: int

    def at_once(self) -> tuple[Picks, Seen]:
        """By one number a row, all rows of a class together."""
        with progress(f"looking at {self.table.rows} rows", float(self.table.rows)) as tick:
            _, seen = survey(self.table, tick)
        by_score = isinstance(self.method, ByScore)
        values = self.table.read_scores() if by_score else np.zeros(self.table.rows, np.float32)
        parts, column = [], torch.from_numpy(values)[:, None]
        for group, count in enumerate(self.wanted):
            if not count:
                continue
            rows = torch.arange(len(column))
            if self.labels is not None:
                rows = torch.from_numpy(np.flatnonzero(self.labels == group))
            part = self.method.pick(column[rows], count, Streams(self.seed)(f"select/{group}"))
            parts.append(Picks(rows[part.rows], part.weights, part.scores))
        return _classes_in_turn(parts), seen

    def shard_by_shard(self, engine: Engine, work: Path, kept: Path) -> tuple[Picks, Seen]:
        """Cut the table, let the engine pick from every shard that has a share, and join the picks."""
        table, method = self.table, Sharded(self.method, self.shard_rows)
        where = kept / f"partition-{self._key()}"
        with progress(f"cutting {table.rows} rows into shards", float(2 * table.rows)) as tick:
            cut = partition(table, where, self.labels, derive_seed(self.seed, "partition"), tick)
        takers = self._takers(cut)
        shares = np.bincount(np.concatenate(takers), minlength=len(cut.shards))
        told = hashlib.sha256(f"{method!r} {self._key()}".encode()).hexdigest()
        shards, picked = str(where.resolve()), str(work.resolve())
        units = [
            Unit(shards, picked, shard, table.dtype, table.width, int(share), method, self.seed, told)
            for shard, share in zip(cut.shards, shares, strict=True) if share
        ]  # fmt: skip
        _run(engine, units, f"selecting by {method_name(self.method)}")
        parts = {unit.shard.name: finished(unit) for unit in units}
        by_class = []
        for own in takers:
            if len(own):
                found = [parts[cut.shards[number].name] for number in np.unique(own)]
                by_class.append(joined([part for part in found if part is not None], own))
        return _classes_in_turn(by_class), cut.seen

    def _takers(self, cut: Partition) -> list[NDArray[np.int64]]:
        """For each class, the shard of every turn."""
        found = []
        for group, count in enumerate(self.wanted):
            own = np.array([number for number, shard in enumerate(cut.shards) if shard.group == group])
            found.append(own[turns([cut.shards[number].rows for number in own], count)] if count else own[:0])
        return found

    def _key(self) -> str:
        """What the shards follow from. A file that was written since is another one."""
        status = self.table.path.stat()
        facts = [
            1, str(self.table.path.resolve()), status.st_size, status.st_mtime_ns, self.table.rows, self.table.width,
            self.seed, None if self.labels is None else hashlib.sha256(self.labels.tobytes()).hexdigest(),
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    def coreset(self, picks: Picks, seen: Seen, labels: NDArray[np.int64] | None, names: tuple[str, ...]) -> Coreset:
        """The rows themselves with what is known of them."""
        rows = picks.rows.numpy()
        raw = torch.from_numpy(self.table.take(rows).astype(np.float32))
        transform = Standardise(torch.tensor(seen.mean), torch.tensor(seen.std))
        scored = self.table.scores if isinstance(self.method, ByScore) else None
        kind = "features" if scored is None else f"{SCORED}{scored.name}"
        said = [self.method.reason(score, kind) for score in picks.scores.tolist()]
        spec = DataSpec(self.table.name, (self.table.width,), names, transform, seen.fingerprint)
        return Coreset(
            spec=spec, raw=raw,
            classes=torch.zeros(len(rows), dtype=torch.int64) if labels is None else torch.from_numpy(labels[rows]),
            indices=picks.rows, ids=rows.astype(np.str_), weights=picks.weights, scores=picks.scores,
            reasons=np.array(said, dtype=np.str_),
            provenance={
                "kind": "selection", "method": method_name(self.method), "config": self.method.settings(kind),
                "features": self.table.name, "shard_rows": self.shard_rows, "seed": self.seed,
                **({} if scored is None else {"scores": {"name": scored.name, "file": str(scored)}}),
            },
        )  # fmt: skip


def _classes_in_turn(parts: list[Picks]) -> Picks:
    """The picks of all classes, one of each in turn as long as it has any."""
    if len(parts) == 1:
        return parts[0]
    rank = np.concatenate([np.arange(len(part.rows)) for part in parts])
    order = torch.from_numpy(np.argsort(rank, kind="stable"))
    return Picks(*(torch.cat([getattr(part, field) for part in parts])[order] for field in FIELDS))


def _run(engine: Engine, units: list[Unit], title: str) -> None:
    """Let the engine do what is not done yet."""
    left = [unit for unit in units if finished(unit) is None]
    total = sum(unit.shard.rows for unit in units)
    done = total - sum(unit.shard.rows for unit in left)
    with progress(title, float(total)) as tick:
        tick(done)
        for number, (_, rows) in enumerate(engine.map(pick_unit, left), 1):
            done += rows
            tick(done, f"shard {len(units) - len(left) + number} of {len(units)}")
