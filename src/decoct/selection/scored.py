"""`score`: every score of every training row from one training, as a table with stable ids."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from decoct.data.dataset import Dataset
from decoct.engine import Engine, Local
from decoct.errors import DataError, OutputError
from decoct.files import make_folder
from decoct.machine import usable_device
from decoct.networks.build import narrow_network
from decoct.networks.identity import network_identity
from decoct.progress import progress
from decoct.selection.score_files import columns_of, facts_in
from decoct.selection.score_table import ScoreTable
from decoct.selection.scores import SCORES, dynamic_uncertainty, require_window
from decoct.selection.settings import whole
from decoct.training.dynamics import Dynamics, Look, record_dynamics

FILE = "scores.parquet"
"""The table in the folder of scores."""


def score(
    data: Dataset, *, network: str | None = None, epochs: int = 20, seed: int = 0, out: str | Path | None = None,
    device: str | None = None, engine: Engine | None = None, window: int | None = None, look: Look = "after",
) -> tuple[ScoreTable, Dynamics]:  # fmt: skip
    """Train `network` (a narrow ConvNet or an MLP by default) once and score every training row in every way.

    An `engine` looks at the rows after each pass, block by block; None is `Local`, with the same scores as any other.
    `look` "during" takes what their batches show in the training itself, at hardly any cost (`record_dynamics`).
    `window` is that of dynamic uncertainty, in passes. With `out`, a folder: `scores.parquet`, and the recording of the
    training, which the same call reads again, or goes on with where it was killed on its way; scores of another
    training are not written over.
    Cost: one training, and unless rows are looked at during it one forward pass over the training split after each of
    its `epochs`. Raises what `record_dynamics` raises, and `OutputError` (before the training for scores of another
    one).
    """
    seed, epochs = whole("seed", seed), whole("epochs", epochs)
    if window is not None:
        window = whole("window", window)
        # A wrong one is told before the training.
        require_window(window, epochs)
    name = network or narrow_network(data.spec.shape)
    facts = {
        "fingerprint": data.spec.fingerprint, "transform": data.spec.transform.kind, "rows_key": data.rows_key,
        "network": network_identity(name, data.spec.shape, data.spec.classes), "seed": seed, "epochs": epochs,
        "look": look,
    }  # fmt: skip
    cache = None if out is None else make_folder(Path(out))
    if cache is not None:
        _require_own(cache, facts)
    with progress("training and watching every row", float(epochs)) as tick:
        dynamics = record_dynamics(
            data, name, epochs, seed, usable_device(device), cache=cache, tick=tick, engine=engine or Local(),
            look=look,
        )  # fmt: skip
    columns = {name: kind.of(dynamics) for name, kind in SCORES.items()}
    columns["dyn-unc"] = dynamic_uncertainty(dynamics, window)
    told = {**facts, "source": data.spec.source, "window": window}
    table = ScoreTable(tuple(data.train.ids.tolist()), columns, told)
    if cache is not None:
        names = data.spec.class_names
        table.save(cache / FILE, [names[label] for label in data.train.labels().tolist()])
    return table, dynamics


def _require_own(folder: Path, facts: dict[str, Any]) -> None:
    """Raise `OutputError` where scores of another training stand in the folder, or of nobody knows which."""
    path = folder / FILE
    if not path.exists():
        return
    try:
        found = facts_in(pq.read_schema(path).metadata)
    except (OSError, ValueError, pa.ArrowException):
        found = {}
    # Scores from before there were two kinds of looks have those after each pass.
    other = [key for key, value in facts.items() if found.get(key, "after" if key == "look" else None) != value]
    if other:
        told = f"scores of {found['source']} with another {', '.join(other)}" if "source" in found else "other scores"
        raise OutputError(
            f"writing scores into {folder}", received=f"a {FILE} there: {told}",
            expected="a new folder, or one with the scores of this very training",
            remedy=f"choose another folder (--out), or move that {FILE} away",
        )  # fmt: skip


def read_scores(source: Any) -> ScoreTable:
    """Scores from a parquet or csv file or a data frame: what rows are called, and the columns of numbers.

    Rows are called by a column `uid`, `id`, `key`, `ids`, `index`, `example_id` or `sample_id`, else by the index of
    the data frame (as pandas writes it into parquet and csv, too), else by their row numbers. Tables of other tools are
    read as they are, with values missing where they are; `ScoreTable.for_rows` takes a column out of them and says
    which way round. Raises `SourceError` for what cannot be read, `DataError` for ids that occur twice and for a table
    without numbers.
    """
    called = f"reading scores from {source if isinstance(source, (str, Path)) else 'a data frame'}"
    found = columns_of(source)
    ids = found.ids()
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice:
        raise DataError(
            called, received=f"{len(twice)} ids that occur twice, such as {twice[0]!r}",
            expected="one row for each id", remedy="drop the repeated rows",
        )  # fmt: skip
    columns = found.numbers()
    if not columns:
        raise DataError(
            called, received=f"columns {', '.join(found.values) or 'none'}, none of numbers",
            expected="at least one column of numbers beside the ids", remedy="write the scores as numbers",
        )  # fmt: skip
    return ScoreTable(ids, columns, found.facts)


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
