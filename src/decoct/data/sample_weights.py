"""`SampleWeights`: how much each real row counts, by its id; and how rows are drawn in proportion to that."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from decoct.errors import DataError, MismatchError, SourceError
from decoct.files import write_atomically

if TYPE_CHECKING:
    from decoct.data.dataset import Dataset, Split

LISTED = 3
"""Ids that an error names."""


@dataclass(frozen=True, eq=False)
class SampleWeights:
    """How much rows count, as numbers of at least 0; only their ratios matter.

    `ids` are those of `Split.ids`, `values` `[n]` float64. Every training row needs a weight; rows of the validation
    split may have one too, all or none, and then count by it wherever a choice is made on validation data. Ids of
    other rows (test rows, rows left out) are passed over. A training row of weight 0 is left out of the data, as
    `with_train` would. Attached to a split, weights have mean 1 over the whole split: where classes are drawn one by
    one only the ratios within a class matter, elsewhere heavier classes are seen more often too.

    Raises `DataError` for NaN, infinite or negative weights, none above 0, or ids that occur twice, and
    `MismatchError` for other numbers of ids than of weights.
    """

    ids: NDArray[np.generic]
    values: NDArray[np.generic]

    def __post_init__(self) -> None:
        ids = np.asarray(self.ids).astype(np.str_)
        values = _numbers(self.values)
        if len(ids) != len(values):
            raise MismatchError(
                "weighting rows", received=f"{len(values)} weights for {len(ids)} ids",
                expected="one weight for each row", remedy="give a weight for every id, in the same order",
            )  # fmt: skip
        known, times = np.unique(ids, return_counts=True)
        if len(known) < len(ids):
            raise DataError(
                "weighting rows", received=f"ids that occur twice, such as {str(known[times > 1][0])!r}",
                expected="every id once", remedy="drop the repeated rows",
            )  # fmt: skip
        object.__setattr__(self, "ids", ids)
        object.__setattr__(self, "values", values)

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, data: Dataset, weights: Weights) -> SampleWeights:
        """Weights by id as they are; numbers are taken in the order of `data.train`. Raises `MismatchError`."""
        if isinstance(weights, SampleWeights):
            return weights
        values = _numbers(weights)
        if len(values) != len(data.train):
            raise MismatchError(
                "weighting the training rows", received=f"weights of shape {list(values.shape)}",
                expected=f"one for each of the {len(data.train)} training rows, in the order of data.train",
                remedy="compute weights for data.train only, or give SampleWeights with ids",
            )  # fmt: skip
        return cls(data.train.ids.astype(np.str_), values)

    def of_split(self, split: Split, name: str) -> NDArray[np.float64] | None:
        """Weights of the rows of `split`, in its order; None where no row has one. Raises `MismatchError`."""
        place = {own: row for row, own in enumerate(self.ids.tolist())}
        found = [place.get(own) for own in split.ids.astype(np.str_).tolist()]
        missing = [str(own) for own, row in zip(split.ids, found, strict=True) if row is None]
        if len(missing) == len(split):
            return None
        if missing:
            raise MismatchError(
                f"weighting the {name} rows",
                received=f"{len(self)} weights without {len(missing)} of the {len(split)} {name} rows, such as "
                + ", ".join(map(repr, missing[:LISTED])),
                expected=f"a weight for every {name} row",
                remedy="make the weights from the same data, or give the missing rows a weight",
            )
        return np.asarray(self.values, np.float64)[np.array(found, np.int64)]

    def save(self, path: str | Path) -> None:
        """Write parquet with the columns `id` and `weight`, whole or not at all; raises `OutputError`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        buffer = io.BytesIO()
        pq.write_table(pa.table({"id": pa.array(self.ids.tolist()), "weight": pa.array(self.values)}), buffer)
        write_atomically(Path(path), lambda file: Path(file).write_bytes(buffer.getvalue()))

    @classmethod
    def load(cls, path: str | Path) -> SampleWeights:
        """Read what `save` wrote, or any parquet file with these columns; raises `SourceError` and `DataError`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(Path(path), columns=["id", "weight"])
            ids, values = (table.column(name).to_pylist() for name in ("id", "weight"))
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            raise SourceError(
                f"reading weights from {path}", received=f"a file that cannot be read ({error})",
                expected="a parquet file with the columns id and weight",
                remedy="check the path; SampleWeights.save writes such a file",
            ) from error  # fmt: skip
        return cls(np.array(ids, np.str_), np.array([np.nan if value is None else value for value in values]))


Weights: TypeAlias = SampleWeights | Tensor | NDArray[Any]
"""Weights by id, or numbers in the order of the training rows."""


def weighted(data: Dataset, weights: Weights | None) -> Dataset:
    """`data` with these weights on its training rows (and validation rows, where those have weights).

    Weights that are all equal, or None, give `data` itself, so that nothing at all changes. Raises `MismatchError`
    where training rows have no weight, `DataError` where a class has none above 0.
    """
    if weights is None:
        return data
    from dataclasses import replace

    table = SampleWeights.of(data, weights)
    own = table.of_split(data.train, "training")
    if own is None:
        raise MismatchError(
            "weighting the training rows",
            received=f"{len(table)} weights for other rows, such as {str(table.ids[0])!r}",
            expected=f"weights for the {len(data.train)} training rows, such as {str(data.train.ids[0])!r}",
            remedy="make the weights from the data that they are used with",
        )
    before = np.bincount(data.train.y, minlength=data.spec.classes)
    after = np.bincount(data.train.y[own > 0], minlength=data.spec.classes)
    if ((before > 0) & (after == 0)).any():
        lost = [data.spec.class_names[label] for label in np.flatnonzero((before > 0) & (after == 0))]
        raise DataError(
            "weighting the training rows",
            received="no weight above 0 in " + ", ".join(map(repr, lost[:LISTED])),
            expected="a row with some weight in every class",
            remedy="give those rows a weight, or leave the class out of the data",
        )
    kept = data if after.sum() == before.sum() else data.with_train(np.flatnonzero(own > 0))
    # Where rows are left out, equal weights are kept: they mark that these are not all rows of the source.
    train = _scaled(own[own > 0], always=kept is not data)
    val = None if (found := table.of_split(data.val, "validation")) is None else _scaled(found)
    if train is None and val is None:
        return data
    return replace(kept, train=replace(kept.train, weights=train), val=replace(kept.val, weights=val))


def _scaled(values: NDArray[np.float64], always: bool = False) -> NDArray[np.float64] | None:
    """These weights with mean 1; None where they are all the same and say nothing, unless `always`."""
    if (values == values[0]).all() and not always:
        return None
    if not (values > 0).any():
        raise DataError(
            "weighting the validation rows", received="weights that are all 0", expected="some weight above 0",
            remedy="give some validation row a weight, or leave all of them out",
        )  # fmt: skip
    scaled = values / values.max()
    return scaled / scaled.mean()


def _numbers(values: Any) -> NDArray[np.float64]:
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    try:
        found = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        found = np.array(np.nan)
    shape = list(found.shape)
    if found.ndim != 1 or not len(found):
        raise DataError(
            "weighting rows", received=f"weights of shape {shape}", expected="numbers [n], one for each row",
            remedy="give one vector of weights",
        )  # fmt: skip
    bad = ~(np.isfinite(found) & (found >= 0))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(
            "weighting rows",
            received=f"weights {shape} of which {int(bad.sum())} are NaN, infinite or negative, first {found[row]:g} "
            f"in row {row}",
            expected="finite numbers of at least 0", remedy="repair those weights; 0 leaves a row out",
        )  # fmt: skip
    if not (found > 0).any():
        raise DataError(
            "weighting rows", received=f"weights {shape} that are all 0", expected="some weight above 0",
            remedy="check how the weights were computed",
        )  # fmt: skip
    return found


def weights_key(split: Split) -> str:
    """A hash of the weights of a split; empty where it has none."""
    found = split.weights
    return "" if found is None else hashlib.sha256(np.ascontiguousarray(found, "<f8").tobytes()).hexdigest()


def draw(weights: Float[Tensor, " n"], count: int, generator: torch.Generator) -> Int64[Tensor, " count"]:
    """`count` of n rows in random order, row i `count w_i / sum(w)` times, rounded up or down by chance.

    Systematic resampling: rows in a random order lie on a line, each as long as its weight, and are hit by `count`
    equally spaced points with one random start. The expected number of each row is exact and the mean of a draw
    varies less than that of independent draws. O(n + count).
    """
    order = torch.randperm(len(weights), generator=generator)
    start = torch.rand((), generator=generator, dtype=torch.float64)
    picked = order[spaced(weights[order], count, start)]
    return picked[torch.randperm(count, generator=generator)]


def spaced(weights: Float[Tensor, " n"], count: int, start: Tensor) -> Int64[Tensor, " count"]:
    """Rows, ascending, that `count` equally spaced points fall on, the first at share `start` in [0, 1) of a step."""
    ends = weights.double().cumsum(0)
    points = (torch.arange(count, dtype=torch.float64) + start) * (ends[-1] / count)
    return torch.searchsorted(ends, points, right=True).clamp_max(len(weights) - 1)


def random_order(count: int, weights: Float[Tensor, " n"] | None, generator: torch.Generator) -> Int64[Tensor, " n"]:
    """All `count` rows in random order, each next one drawn from those left in proportion to its weight.

    A plain permutation where there are no weights, else the sort of `u_i^(1/w_i)` for uniform u, largest first:
    Efraimidis and Spirakis, "Weighted random sampling with a reservoir" (2006),
    https://doi.org/10.1016/j.ipl.2005.11.003. Any prefix is such a draw without repeats. Unlike `draw`, heavy rows
    cannot come up more than once, so that a prefix of k holds less of them than their weight says unless k is small
    beside the number of rows that weigh most.
    """
    if weights is None:
        return torch.randperm(count, generator=generator)
    keys = torch.rand(count, generator=generator, dtype=torch.float64).clamp_min(1e-300).log() / weights.double()
    return torch.sort(keys, descending=True, stable=True).indices
