"""Why a row of a table of features on disk was kept or dropped; the table itself is never loaded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from decoct.compact.coreset import Coreset
from decoct.data.feature_table import FeatureTable
from decoct.errors import DataError, MismatchError, UnknownNameError
from decoct.selection.dropped import nearest_of
from decoct.selection.explain import kept_of
from decoct.selection.explanation import Explanation, Kept, Near, told
from decoct.selection.repeated import digest
from decoct.selection.selector import distances
from decoct.streams import Streams

SAMPLE = 2048
"""Rows of a class that say how far its rows are from what was kept, drawn at random where it has more."""


def explain_table(core: Coreset, table: FeatureTable, rows: Sequence[int | str], *, seed: int = 0) -> list[Explanation]:
    """Why these rows of a table, by their numbers, are in the coreset that `select_table` picked from it or not.

    Rows are compared by the table as it is. Classes are those of the table's labels, where it has some, and must be
    those of the selection; so must the scores, which are needed to tell of a dropped row where it stood. What share of
    a class lies farther from what was kept is of `SAMPLE` rows of it, drawn by `seed`, where it has more.

    Cost: the kept rows in memory, and their distances to the rows asked about and to those samples. Raises
    `UnknownNameError` and `DataError` for rows that the table does not have, `MismatchError` for another table,
    other labels or other scores than those of the selection, and what reading them raises.
    """
    numbers = [row_of_table(table, row) for row in rows]
    kept, streams = kept_of(core), Streams(seed)
    labels, scores = _matching(core, table)
    names = None if table.labels is None else core.spec.class_names
    gaps: dict[int, Float[Tensor, " s"]] = {}
    said = []
    for row in numbers:
        group = int(labels[row])
        members = (labels == group).nonzero()[:, 0]
        if group not in gaps:
            drawn = torch.randperm(len(members), generator=streams(f"explain/{group}"))[:SAMPLE]
            gaps[group] = _gaps(core, table, members[drawn.sort().values])
        near = _near(core, kept, table, row, gaps[group], len(members) > SAMPLE)
        said.append(told(kept, row, str(row), labels, names, near, scores))
    return said


def row_of_table(table: FeatureTable, row: int | str) -> int:
    """The number of a row of the table; raises `UnknownNameError` and `DataError` for one that it does not have."""
    called, expected = f"explaining a row of {table.name}", f"a number from 0 to {table.rows - 1}"
    remedy = "name a row of the table by its place in the file, the first being 0"
    if isinstance(row, str) and not (row.isascii() and row.isdigit()):
        raise UnknownNameError(called, received=f"the id {row!r}", expected=expected, remedy=remedy)
    if not 0 <= int(row) < table.rows:
        raise DataError(called, received=f"row {row}", expected=expected, remedy=remedy)
    return int(row)


def _near(core: Coreset, kept: Kept, table: FeatureTable, row: int, gaps: Tensor, sampled: bool) -> Near:
    away = distances(_rows(table, torch.tensor([row])), core.raw.float())[0]
    own = float(away.min())
    # A kept row is no neighbour of its own.
    away = away.masked_fill(kept.rows == row, torch.inf)
    best = int(away.argmin())
    if not bool(away[best].isfinite()):
        return Near()
    other = int(kept.rows[best])
    return Near(other, str(other), float(away[best]), 100 * float((gaps > own).double().mean()), sampled)


def _gaps(core: Coreset, table: FeatureTable, rows: Int64[Tensor, " s"]) -> Float[Tensor, " s"]:
    """The distance of each of these rows to its nearest kept row."""
    points = core.raw.float()
    both = torch.cat([points, _rows(table, rows)])
    return nearest_of(both, torch.arange(len(points), len(both)), torch.arange(len(points)))[1]


def _rows(table: FeatureTable, rows: Int64[Tensor, " m"]) -> Float[Tensor, "m d"]:
    return torch.from_numpy(table.take(rows.numpy()).astype(np.float32))


def _matching(core: Coreset, table: FeatureTable) -> tuple[Int64[Tensor, " n"], Float[Tensor, " n"] | None]:
    """Labels (zeros where there are none) and scores of all rows; raises `MismatchError` for those of another table."""
    rows, called = core.indices, f"explaining a selection from {table.name}"
    fits = table.width == core.raw[0].numel() and int(rows.max()) < table.rows
    if not fits or not torch.equal(_rows(table, rows), core.raw.float()):
        raise MismatchError(
            called, received=f"a table [{table.rows}, {table.width}] that does not hold the {len(rows)} kept rows",
            expected="the table that was selected from", remedy="name that table, as it was then",
        )  # fmt: skip
    made = core.provenance
    labels = table.read_labels()
    if made.get("labels_key") != (None if table.labels is None else digest(labels)):
        picked = "a selection without labels" if made.get("labels_key") is None else "a selection with others"
        raise MismatchError(
            called, received=f"{'no labels' if table.labels is None else table.labels}, and {picked}",
            expected="the labels that rows were picked with, or none where there were none",
            remedy="give those labels: --labels FILE.npy, or feature_table(path, labels=...)",
        )  # fmt: skip
    scores = None
    if table.scores is not None:
        scores = table.read_scores()
        if made.get("scores_key") != digest(scores):
            raise MismatchError(
                called, received=f"{table.scores}, whose numbers are not those that rows were picked by",
                expected="the scores of the selection, or none where it went by none",
                remedy="give those scores, or leave them out",
            )  # fmt: skip
    return torch.from_numpy(labels), None if scores is None else torch.from_numpy(scores)
