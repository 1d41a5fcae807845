"""`select`: from real data to a coreset."""

from __future__ import annotations

import time
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from decoct.compact.budget import CLASS, GLOBAL, Budget
from decoct.compact.coreset import Coreset
from decoct.compact.folder import is_finished
from decoct.compact.save import require_place
from decoct.data.dataset import Dataset
from decoct.data.sample_weights import Weights, weights_key
from decoct.engine import Engine, Local, one_thread
from decoct.machine import library_versions, usable_device
from decoct.progress import progress
from decoct.selection.active import Active
from decoct.selection.by_score import ByScore
from decoct.selection.features import Table, feature_kind
from decoct.selection.groups import Groups, pick_groups
from decoct.selection.methods import method_name, selector
from decoct.selection.own_scores import OwnScores, score_column
from decoct.selection.repeated import standing
from decoct.selection.selector import SCORED, Pick, Picks, Selector, require_weighing
from decoct.selection.settings import whole
from decoct.selection.sharded.selector import by_features, sharded
from decoct.selection.sources import Sources
from decoct.streams import Streams


def select(
    data: Dataset,
    method: str | Selector = "random",
    *,
    ipc: int | None = None,
    fraction: float | None = None,
    count: int | None = None,
    nbytes: int | None = None,
    features: str | Table | OwnScores = "auto",
    seed: int = 0,
    balance: str = CLASS,
    out: str | Path | None = None,
    device: str = "cpu",
    cache: Path | None = None,
    shard_rows: int | None = None,
    engine: Engine | None = None,
    weights: Weights | None = None,
) -> Coreset:
    """Pick real training rows within one budget: `ipc` (rows a class), `fraction`, `count` or `nbytes`.

    `method` is a name (`decoct methods`) or a `Selector` with options of your own. `features` is what rows are
    compared by: "auto", "pixels", "pca", "network", "network:NAME", "npy:PATH" or an array `[n, d]`, see
    `features.features`; for methods by score the array, `[n]` or `[n, 1]`, is the score, and `OwnScores` says what it
    is called.
    `balance` says how classes share the budget (`Budget.quota`): "class" picks from every class on its own, in equal
    shares; "floor:N" too, in proportion to the classes, none below N rows; "global" picks from the whole set at once,
    classes as they come. `Coreset.indices` are rows of `data.train` in order picked, classes in turn: the first m rows
    hold each class as often as a balanced budget of `count=m` would, until a class has given all that it had to; of
    `active` and `deepdistal` one round after the other, classes in turn inside each. The same seed gives the same
    coreset. Network features are trained on `device`. `out` saves the result there as well; where that folder holds the
    answer to this very question, it is returned and nothing is computed.
    `cache` is a folder in which training dynamics and trained networks are kept, so that another selection from the
    same data finds them, and unfinished ones and finished rounds, so that the same call goes on after a kill.
    `weights` say how much each row counts (`SampleWeights`, or numbers in the order of `data.train`), to the methods
    that have a weighted form.
    `shard_rows` cuts what is picked from into shards of near rows, at most that many in each (`Sharded`), which makes
    quadratic methods linear. `engine` looks at the rows and picks from the classes as work units, on one thread each;
    None does the same here, one unit after the other, so that the picks are those of any other engine. Trainings use
    all threads.

    Raises `ConfigError` for weights with a method that cannot honour them, for a balance that does not exist or does
    not go with an ipc, and unless exactly one budget is given,
    `BudgetError` for more rows than there are or none, `UnknownNameError`, `DataError` and `MismatchError` for weights
    and features that cannot be used, `MemoryEstimateError`, `OutputError` (for a folder with another result before
    anything is trained or picked).
    """
    began = time.monotonic()
    data = data.with_weights(weights)
    budget, seed = Budget(ipc=ipc, fraction=fraction, count=count, nbytes=nbytes), whole("seed", seed)
    chosen, device = selector(method), usable_device(device)
    own = features if isinstance(features, OwnScores) else None
    compared = features if not isinstance(features, OwnScores) else features.values
    name, kind = method_name(chosen), feature_kind(data, compared)
    if isinstance(chosen, ByScore) and kind == "array":
        compared = score_column(compared)
    if shard_rows is not None:
        chosen = sharded(chosen, shard_rows)
    if data.train.weights is not None:
        require_weighing(chosen, name)
    if out is not None and not is_finished(Path(out)):
        require_place(Path(out))
    groups, wanted = shared_out(data, budget, balance)
    if not chosen.needs_features and kind != "array":
        kind = "none"
    engine = engine or Local()
    sources = Sources(data, compared, seed, device, cache, groups, wanted, engine)
    said_kind = kind if own is None else f"{SCORED}{own.name}"
    asked = {
        "kind": "selection",
        "method": name,
        "config": chosen.settings(said_kind),
        "budget": {unit: value for unit, value in vars(budget).items() if value is not None},
        "features": said_kind,
        "balance": balance,
        "seed": seed,
        "rows_key": data.rows_key,
        **sources.followed(kind, chosen.trains(sources.kind)),
        **({"scores": {"name": own.name, "file": own.file}} if own is not None else {}),
        **({"weights": weights_key(data.train)} if data.train.weights is not None else {}),
    }
    if out is not None and (kept := _answered(Path(out), asked, data, chosen)) is not None:
        return kept
    if by_features(chosen) and data.train.weights is None:
        units = Groups(chosen, sources.table, groups, wanted, seed)
        with progress(f"selecting by {name}", total=float(len(units))) as tick:
            picked = pick_groups(engine, units, tick)
        order = _in_turn([len(part.rows) for part in picked])
    elif isinstance(chosen, Active):
        picked = [_pick_in_rounds(chosen.bind(sources), groups, wanted, seed)]
        order = _in_rounds(picked[0].rows, groups, [batch["added"] for batch in sources.record if "added" in batch])
    else:
        picked = _pick_groups(name, chosen.bind(sources), groups, wanted, seed)
        order = _in_turn([len(part.rows) for part in picked])
    rows, weights, scores = (
        torch.cat([getattr(part, field) for part in picked])[order] for field in ("rows", "weights", "scores")
    )
    said = [text for part in picked for text in part.reasons(chosen, said_kind)]
    result = Coreset(
        spec=data.spec,
        raw=data.train.raw(rows),
        classes=data.train.labels(rows),
        indices=rows,
        ids=data.train.ids[rows.numpy()],
        weights=weights,
        scores=scores,
        provenance={
            **asked,
            "seconds": round(time.monotonic() - began, 3),
            "versions": library_versions(),
            **({"record": sources.record} if sources.record else {}),
        },
        reasons=np.array(said, dtype=np.str_)[order.numpy()],
    )
    if out is not None:
        result.save(Path(out))
    return result


def _answered(folder: Path, asked: dict[str, Any], data: Dataset, method: Selector) -> Coreset | None:
    """The coreset of this very question that stands in the folder; raises `OutputError` for another result."""
    if not is_dataclass(method):
        # Its settings are not known, so that nothing tells what it would pick.
        return None
    return standing(folder, asked, {"fingerprint": data.spec.fingerprint, "transform": data.spec.transform.kind})


def shared_out(
    data: Dataset, budget: Budget, balance: str = CLASS
) -> tuple[tuple[Int64[Tensor, " _"], ...], tuple[int, ...]]:
    """Training rows of every group that is picked from on its own, classes or the whole set, and how many of each.

    Raises what `Budget.quota` raises.
    """
    by_class = tuple(torch.from_numpy(rows) for rows in data.train.class_rows(data.spec.classes))
    counts = torch.tensor([len(rows) for rows in by_class])
    quota = budget.quota(counts, data.spec.row_bytes, balance, data.spec.class_names)
    if balance == GLOBAL:
        return (torch.arange(len(data.train)),), (int(quota.sum()),)
    return by_class, tuple(quota.tolist())


def _pick_groups(name: str, pick: Pick, groups: tuple[Tensor, ...], wanted: tuple[int, ...], seed: int) -> list[Picks]:
    """Picks of every group (a class, or the whole set), as rows of the training split."""
    streams, picked = Streams(seed), []
    with progress(f"selecting by {name}", total=float(len(groups))) as tick:
        for number, (rows, count) in enumerate(zip(groups, wanted, strict=True)):
            if count:
                with one_thread():
                    part = pick(rows, count, streams(f"select/{number}"))
                picked.append(replace(part, rows=rows[part.rows]))
            tick(float(number + 1))
    return picked


def _pick_in_rounds(pick: Pick, groups: tuple[Tensor, ...], wanted: tuple[int, ...], seed: int) -> Picks:
    """Picks from all groups together, in the order of choosing, as rows of the training split."""
    pool = torch.cat(groups)
    # On all cores, which the trainings in between need.
    part = pick(pool, sum(wanted), Streams(seed)("select"))
    return replace(part, rows=pool[part.rows])


def _in_turn(sizes: list[int]) -> Int64[Tensor, " k"]:
    """The order of the joined groups in which they take turns, each going on as long as it has picks.

    The first m are then what a balanced budget of m rows in all would give every group.
    """
    return torch.sort(torch.cat([torch.arange(size) for size in sizes]), stable=True).indices


def _in_rounds(rows: Int64[Tensor, " k"], groups: tuple[Tensor, ...], sizes: list[int]) -> Int64[Tensor, " k"]:
    """The order in which every round keeps its place, with rows of the groups in turn inside of it.

    What a round was trained on is then what stands before it, also where groups have other shares of each round.
    """
    owner = torch.empty(1 + max(int(group.max()) for group in groups if len(group)), dtype=torch.int64)
    for number, group in enumerate(groups):
        owner[group] = number
    parts, start = [], 0
    for part in rows.split(sizes):
        own = owner[part].sort(stable=True)
        turn = torch.cat([torch.arange(size) for size in torch.bincount(own.values).tolist()])
        parts.append(start + own.indices[turn.sort(stable=True).indices])
        start += len(part)
    return torch.cat(parts)
