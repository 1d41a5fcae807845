"""`score`: every score of every training row from one training, as a table with stable ids."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from decoct.data.dataset import Dataset
from decoct.engine import Engine
from decoct.errors import DataError, MismatchError, SourceError
from decoct.files import make_folder, write_atomically
from decoct.machine import usable_device
from decoct.progress import progress
from decoct.registry import unknown_name
from decoct.selection.scores import SCORES
from decoct.training.dynamics import Dynamics, record_dynamics

LISTED = 5
"""Ids named in an error."""
ID_COLUMNS = ("id", "ids", "index", "example_id", "sample_id")
"""Names under which other tools keep what a row is called."""


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Scores of training rows: `ids` `[n]`, one column `[n]` for each score, larger for harder rows."""

    ids: tuple[str, ...]
    columns: Mapping[str, Float[Tensor, " n"]]

    def __len__(self) -> int:
        return len(self.ids)

    def for_rows(self, ids: Sequence[str], name: str) -> Float[Tensor, "n 1"]:
        """The score `name` of the rows with these ids, in their order, as `features` of a selector by score.

        Raises `UnknownNameError` for a score that is not there, `MismatchError` for ids without a score.
        """
        if name not in self.columns:
            raise unknown_name("score", name, list(self.columns))
        place = {own: row for row, own in enumerate(self.ids)}
        missing = [own for own in ids if own not in place]
        if missing:
            raise MismatchError(
                f"using the score {name!r}",
                received=f"a table of {len(self)} rows without {len(missing)} of the {len(ids)} training rows, such as "
                + ", ".join(missing[:LISTED]),
                expected="a score for every training row",
                remedy="score the same data, or drop the other rows with data.with_train",
            )
        return self.columns[name][torch.tensor([place[own] for own in ids])][:, None]

    def save(self, path: Path, labels: Sequence[str] | None = None) -> None:
        """Write parquet: `id`, `class` where it is given, and the scores; whole or not at all."""
        named = {} if labels is None else {"class": pa.array(list(labels))}
        table = pa.table({"id": pa.array(list(self.ids)), **named, **_arrays(self.columns)})
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        write_atomically(path, lambda file: Path(file).write_bytes(buffer.getvalue()))


def _arrays(columns: Mapping[str, Tensor]) -> dict[str, pa.Array]:
    return {name: pa.array(values.numpy(), pa.float32()) for name, values in columns.items()}


def score(
    data: Dataset, *, network: str | None = None, epochs: int = 20, seed: int = 0, out: str | Path | None = None,
    device: str | None = None, engine: Engine | None = None,
) -> tuple[ScoreTable, Dynamics]:  # fmt: skip
    """Train `network` (a narrow ConvNet or an MLP by default) once and score every training row in every way.

    An `engine` looks at the rows after each pass, block by block. With `out`, a folder: `scores.parquet`, and the
    recording of the training, which the same call reads again.
    Cost: one training and one forward pass over the training split after each of its `epochs`. Raises what
    `record_dynamics` raises, and `OutputError`.
    """
    cache = None if out is None else make_folder(Path(out))
    with progress("training and watching every row", float(epochs)) as tick:
        dynamics = record_dynamics(
            data, network, epochs, seed, usable_device(device), cache=cache, tick=tick, engine=engine
        )
    table = ScoreTable(tuple(data.train.ids.tolist()), {name: kind.of(dynamics) for name, kind in SCORES.items()})
    if cache is not None:
        names = data.spec.class_names
        table.save(cache / "scores.parquet", [names[label] for label in data.train.labels().tolist()])
    return table, dynamics


def read_scores(path: str | Path) -> ScoreTable:
    """Scores from a parquet or csv file: a column of ids (`id`, `ids`, `index`, `example_id`, `sample_id`) and numbers.

    Tables of other tools are read as they are: whether larger means harder is theirs to say. A file without such a
    column gives row numbers as ids. Raises `SourceError` for a file that cannot be read, `DataError` for ids that
    occur twice and for values that are not finite.
    """
    place = Path(path)
    found = _columns(place)
    own = next((name for name in ID_COLUMNS if name in found), None)
    count = len(next(iter(found.values()), []))
    ids = tuple(str(value) for value in (found[own] if own else range(count)))
    if len(set(ids)) < len(ids):
        seen: set[str] = set()
        twice = [value for value in ids if value in seen or seen.add(value)]
        raise DataError(
            f"reading scores from {place}", received=f"{len(twice)} ids that occur twice, such as {twice[0]!r}",
            expected="one row for each id", remedy="drop the repeated rows",
        )  # fmt: skip
    columns = {
        name: values for name, column in found.items() if name != own and (values := _numbers(column)) is not None
    }
    if not columns:
        raise DataError(
            f"reading scores from {place}", received=f"columns {', '.join(found) or 'none'}, none of numbers",
            expected="at least one column of numbers beside the ids", remedy="write the scores as numbers",
        )  # fmt: skip
    for name, values in columns.items():
        _require_finite(place, name, values)
    return ScoreTable(ids, columns)


def _columns(place: Path) -> dict[str, list[Any]]:
    try:
        if place.suffix.lower() == ".csv":
            with place.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            return {name: [row[name] for row in rows] for name in (rows[0] if rows else {})}
        return {name: column.to_pylist() for name, column in zip(*_parquet(place), strict=True)}
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise SourceError(
            f"reading scores from {place}", received=f"a file that cannot be read ({error})",
            expected="a parquet or csv file with a column of ids and columns of numbers",
            remedy="check the path; `decoct score` writes scores.parquet",
        ) from error  # fmt: skip


def _parquet(place: Path) -> tuple[list[str], list[Any]]:
    table = pq.read_table(place)
    return table.column_names, table.columns


def _numbers(column: list[Any]) -> Float[Tensor, " n"] | None:
    try:
        return torch.tensor([math.nan if value is None else float(value) for value in column], dtype=torch.float32)
    except (TypeError, ValueError):
        return None


def _require_finite(place: Path, name: str, values: Float[Tensor, " n"]) -> None:
    bad: Bool[Tensor, " n"] = ~torch.isfinite(values)
    if bad.any():
        raise DataError(
            f"reading scores from {place}",
            received=f"{int(bad.sum())} values of {name!r} that are missing, NaN or infinite, first in row "
            f"{int(bad.nonzero()[0])}",
            expected="a finite number in every row", remedy="fill in or drop those rows",
        )  # fmt: skip


def cartography_png(dynamics: Dynamics, limit: int = 5000) -> bytes:
    """The map of a data set: mean probability of the label against its spread, coloured by the share of right passes.

    At most `limit` rows are drawn, evenly spread over the split. Swayamdipta et al., "Dataset Cartography", EMNLP
    2020, https://arxiv.org/abs/2009.10795.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = np.unique(np.linspace(0, len(dynamics) - 1, min(limit, len(dynamics))).astype(int))
    figure = Figure(figsize=(6.4, 4.8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    seen = axes.scatter(
        dynamics.probability.std(1).numpy()[rows], dynamics.probability.mean(1).numpy()[rows],
        c=dynamics.correct.float().mean(1).numpy()[rows], s=5, cmap="viridis", vmin=0, vmax=1, linewidths=0,
    )  # fmt: skip
    axes.set(xlabel="variability (spread of the label's probability)", ylabel="confidence (its mean)", ylim=(0, 1))
    axes.set_title(f"{len(rows)} of {len(dynamics)} training rows, {dynamics.passes} passes", fontsize=10)
    for word, x, y in (("easy", 0.02, 0.96), ("ambiguous", 0.78, 0.5), ("hard", 0.02, 0.04)):
        axes.text(x, y, word, transform=axes.transAxes, va="center", color="0.35")
    figure.colorbar(seen, label="share of passes that were right")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
