"""`select_table`: from a table of features on disk to a coreset, shard by shard, in bounded memory."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch

from decoct.compact.budget import CLASS, GLOBAL, Budget, floor_of
from decoct.compact.coreset import Coreset
from decoct.compact.folder import is_finished
from decoct.compact.save import require_place
from decoct.data.feature_table import FeatureTable
from decoct.engine import Engine, Local
from decoct.errors import ConfigError
from decoct.machine import library_versions
from decoct.selection.methods import selector
from decoct.selection.selector import Selector
from decoct.selection.settings import whole
from decoct.selection.sharded.ask import Ask
from decoct.selection.sharded.selector import ROWS, at_once
from decoct.selection.sharded.work import WORK, clear, require_own, working


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
    in `out/.decoct-shards` until the coreset is saved there: the same call goes on after what is finished, and returns
    the coreset where that is saved, after a look at the rows. `cache` is a folder in which the shards stay for other
    selections from the same table, which wait while one of them cuts it; they take as much space as the table.

    Raises `ConfigError` (a floor of every class without labels among others), `BudgetError`, `UnknownNameError`,
    `DataError`, `MismatchError`, `SourceError` for a method by score without scores, `IntegrityError` for shards that
    were changed while they are picked from, `OutputError` (also for a folder with another result, before anything is
    cut or picked, and for one that another process selects into).
    """
    began = time.monotonic()
    budget, chosen = Budget(ipc=ipc, fraction=fraction, count=count), selector(method)
    seed, shard_rows = whole("seed", seed), whole("shard_rows", shard_rows)
    _require_labels(table, balance)
    place = None if out is None else Path(out)
    if place is not None and not is_finished(place):
        require_place(place)
        require_own(place / WORK)
    labels = None if table.labels is None else table.read_labels()
    names = tuple(str(c) for c in range(1 if labels is None else int(labels.max()) + 1))
    sizes = torch.tensor([table.rows]) if labels is None else torch.from_numpy(np.bincount(labels))
    quota = budget.quota(sizes, 4 * table.width, balance, names, takes_total=True)
    wanted = (int(quota.sum()),) if balance == GLOBAL else tuple(quota.tolist())
    ask = Ask(table, chosen, None if balance == GLOBAL else labels, wanted, seed, shard_rows)
    asked = ask.asked(budget, balance, labels)
    if place is not None and (kept := ask.answered(place, asked)) is not None:
        clear(place / WORK)
        return kept
    with working(place) as work:
        if at_once(chosen):
            picks, seen = ask.at_once()
        else:
            picks, seen = ask.shard_by_shard(engine or Local(), work, work if cache is None else Path(cache))
        result = ask.coreset(picks, seen, labels, names, asked)
        result.provenance.update(seconds=round(time.monotonic() - began, 3), versions=library_versions())
        if place is not None:
            result.save(place)
            clear(work)
    return result


def _require_labels(table: FeatureTable, balance: str) -> None:
    if floor_of(balance) is not None and table.labels is None:
        raise ConfigError(
            f"selecting from {table.name} with balance={balance!r}",
            received="a table without labels",
            expected="a class for each row, where every class is to keep some",
            remedy="give a .npy file of class numbers: --labels FILE.npy, or feature_table(path, labels=...)",
        )
