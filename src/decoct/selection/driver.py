"""`select`: from real data to a coreset."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from decoct.compact.budget import CLASS, Budget
from decoct.compact.coreset import Coreset
from decoct.compact.folder import is_finished
from decoct.compact.save import require_place
from decoct.data.dataset import Dataset
from decoct.data.sample_weights import Weights
from decoct.engine import Engine
from decoct.machine import library_versions, usable_device
from decoct.selection.features import Table
from decoct.selection.own_scores import OwnScores
from decoct.selection.picking import picked
from decoct.selection.question import Question, asked_of
from decoct.selection.selector import Picks, Selector
from decoct.selection.settings import whole


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
    coreset. `out` saves the result there as well; where that folder holds the answer to this very question, it is
    returned and nothing is computed.
    Networks are trained on `device`, which is not part of the question. `cache` is a folder in which features, training
    dynamics and trained networks are kept, so that another selection from the same data finds them, also one on another
    device, and unfinished ones and finished rounds, so that the same call goes on after a kill; the coreset's
    provenance names the device on which they were trained.
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
    place, device = None if out is None else Path(out), usable_device(device)
    if place is not None and not is_finished(place):
        require_place(place)
    question = asked_of(
        data, method, budget, balance, features, seed, device, cache=cache, shard_rows=shard_rows, engine=engine
    )
    provenance = question.provenance()
    if place is not None and (kept := question.answered(place, provenance)) is not None:
        return kept
    parts, order = picked(question)
    result = _coreset(question, parts, order, provenance)
    result.provenance.update(seconds=round(time.monotonic() - began, 3), versions=library_versions())
    if place is not None:
        result.save(place)
    return result


def _coreset(question: Question, parts: list[Picks], order: Int64[Tensor, " k"], provenance: dict[str, Any]) -> Coreset:
    """The rows themselves, in this order, with what is known of them."""
    data, sources = question.sources.data, question.sources
    rows, weights, scores = (
        torch.cat([getattr(part, field) for part in parts])[order] for field in ("rows", "weights", "scores")
    )
    said = [text for part in parts for text in part.reasons(question.method, question.kind)]
    return Coreset(
        spec=data.spec,
        raw=data.train.raw(rows),
        classes=data.train.labels(rows),
        indices=rows,
        ids=data.train.ids[rows.numpy()],
        weights=weights,
        scores=scores,
        provenance={
            **provenance,
            **({"device": ", ".join(sorted(sources.trained_on))} if sources.trained_on else {}),
            **({"record": sources.record} if sources.record else {}),
        },
        reasons=np.array(said, dtype=np.str_)[order.numpy()],
    )
