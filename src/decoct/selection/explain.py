"""Why a row was kept or dropped: its rank and score, and the kept row that it is most like."""

from __future__ import annotations

import difflib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from decoct.compact.budget import GLOBAL
from decoct.compact.coreset import Coreset
from decoct.compact.folder import is_finished
from decoct.compact.load import load
from decoct.compact.save import SELECTION_FILE
from decoct.compact.stored import readable
from decoct.data.dataset import Dataset
from decoct.errors import DataError, MismatchError, SourceError, UnknownNameError
from decoct.selection.explanation import Explanation, Kept, Near, told
from decoct.selection.features import Table
from decoct.selection.features import features as features_of
from decoct.selection.selector import distances

BLOCK = 1024
"""Rows compared together."""
NAMES = 10_000
"""Ids among which a near one is looked for."""


def explain(
    core: Coreset | str | Path,
    data: Dataset,
    row_or_id: int | str,
    *,
    features: str | Table = "auto",
    scores: Float[Tensor, " n"] | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> Explanation:
    """Why a training row, by its number or its id, is in the coreset or not.

    `core` is a coreset, the folder of one, or its `selection.parquet`. `features` is what rows are compared by, as in
    `select`; give the array where many rows are asked about, so that it is computed once. `scores` are those of all
    training rows, for methods that go by a score: a dropped row is then told beside the last kept of its
    class. Distances are computed in blocks: O(n_c k d) time for the n_c rows of its class, no table of all pairs.

    Raises `UnknownNameError` for an id and `DataError` for a number that the training split does not have,
    `MismatchError` where the coreset was picked from other data, `SourceError` for a file that cannot be read, and
    what computing the features raises.
    """
    kept = kept_of(core) if isinstance(core, Coreset) else _from_file(Path(core))
    _require_match(kept, data)
    row = row_of(data, row_or_id)
    if scores is not None and scores.shape != (len(data.train),):
        raise MismatchError(
            "explaining a selection by scores", received=f"scores of shape {tuple(scores.shape)}",
            expected=f"one for each of the {len(data.train)} training rows",
            remedy="pass the scores of data.train, in its order",
        )  # fmt: skip
    labels = data.train.labels()
    neighbour, distance, covered = _nearest(features_of(data, features, seed, device), kept.rows, row, labels)
    other = None if neighbour is None else int(kept.rows[neighbour])
    near = Near(other, None if other is None else str(data.train.ids[other]), distance, covered)
    return told(kept, row, str(data.train.ids[row]), labels, data.spec.class_names, near, scores)


def _nearest(
    table: Float[Tensor, "n d"], rows: Int64[Tensor, " k"], row: int, labels: Tensor
) -> tuple[int | None, float | None, float | None]:
    """Place of the nearest other kept row, distance to it, percent of the class that are farther from theirs."""
    others = (rows != row).nonzero()[:, 0]
    if len(others) == 0:
        return None, None, None
    away = distances(table[row : row + 1], table[rows[others]])[0]
    best = int(away.argmin())
    nearest = torch.full_like(labels, 0, dtype=table.dtype)
    members = (labels == labels[row]).nonzero()[:, 0]
    for part in members.split(BLOCK):
        found = torch.full((len(part),), torch.inf, dtype=table.dtype)
        for points in rows.split(BLOCK):
            found = torch.minimum(found, distances(table[part], table[points]).amin(1))
        nearest[part] = found
    farther = (nearest[members] > nearest[row]).double().mean()
    return int(others[best]), float(away[best]), 100 * float(farther)


def kept_of(core: Coreset) -> Kept:
    """The kept rows of a coreset, and what its provenance says of the method."""
    ids = tuple(str(name) for name in core.ids)
    assert core.reasons is not None
    said = tuple(str(text) for text in core.reasons)
    made = core.provenance
    name = made.get("config", {}).get("score")
    return Kept(
        core.indices, ids, core.scores, core.weights, said, made.get("method"), name, made.get("balance") == GLOBAL
    )  # fmt: skip


def _from_file(path: Path) -> Kept:
    if path.is_dir() and is_finished(path) and isinstance(core := load(path), Coreset):
        return kept_of(core)
    file = path / SELECTION_FILE if path.is_dir() else path
    columns = ["index", "id", "score", "weight"]
    try:
        table = pq.read_table(file).sort_by("rank")
        index, ids, score, weight = (table[name].to_pylist() for name in columns)
        reasons = tuple(table["reason"].to_pylist()) if "reason" in table.column_names else ()
    except (OSError, KeyError, pa.ArrowException) as error:
        raise SourceError(
            f"explaining the selection in {path}",
            received=f"{type(error).__name__}: {str(error).splitlines()[0][:200]}",
            expected=f"a {SELECTION_FILE} with columns rank, index, id, weight and score, or the folder of a coreset",
            remedy="name the folder that `decoct select --out` wrote",
        ) from error
    return Kept(
        torch.tensor(index, dtype=torch.int64), tuple(ids), torch.tensor(score, dtype=torch.float32),
        torch.tensor(weight, dtype=torch.float32), reasons,
    )  # fmt: skip


def _require_match(kept: Kept, data: Dataset) -> None:
    n = len(data.train)
    foreign = [
        name
        for row, name in zip(kept.rows.tolist(), kept.ids, strict=True)
        if not 0 <= row < n or readable(str(data.train.ids[row])) != readable(name)
    ]
    if foreign:
        raise MismatchError(
            "explaining a selection",
            received=f"{len(foreign)} of {len(kept.ids)} kept rows that these data lack, such as {foreign[0]!r}",
            expected="the data that were selected from, opened in the same way",
            remedy="open the same source with the same size, mode, seed and fractions",
        )


def row_of(data: Dataset, row_or_id: int | str) -> int:
    """The number of a training row; raises `UnknownNameError` and `DataError` for an id or a number that is unknown."""
    n = len(data.train)
    if isinstance(row_or_id, str):
        found = np.flatnonzero(data.train.ids.astype(str) == row_or_id)
        if len(found) == 0:
            raise _unknown_id(row_or_id, data)
        return int(found[0])
    if not 0 <= row_or_id < n:
        raise DataError(
            "explaining a row", received=f"row {row_or_id}", expected=f"a number from 0 to {n - 1}, or an id",
            remedy="name a row of the training split",
        )  # fmt: skip
    return row_or_id


def _unknown_id(name: str, data: Dataset) -> UnknownNameError:
    near = difflib.get_close_matches(name, [str(known) for known in data.train.ids[:NAMES]], n=3, cutoff=0.4)
    guess = f"did you mean {' or '.join(repr(known) for known in near)}? " if near else ""
    return UnknownNameError(
        "explaining a row",
        received=f"the id {name!r}",
        expected=f"an id of one of the {len(data.train)} training rows, such as {str(data.train.ids[0])!r}",
        remedy=f"{guess}validation and test rows are not selected from",
    )
