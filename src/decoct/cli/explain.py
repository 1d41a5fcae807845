"""`decoct explain DIR SOURCE ID...`: why rows were kept or dropped by a selection that was made before."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from decoct.cli import select_table
from decoct.cli.opening import Folder, Output, Source, left_out
from decoct.cli.select_opening import Selecting

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from decoct.compact.coreset import Coreset
    from decoct.data.dataset import Dataset
    from decoct.selection.explanation import Explanation
    from decoct.selection.score_table import ScoreTable

NOT_FOR_TABLES = ("features", "score", "device")
"""Options of `decoct explain` that say nothing about a table of features."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Say why rows were kept or dropped by a selection that was made before."""

    folder: Folder
    """What `decoct select` wrote."""
    source: Source
    """What it selected from; --size and the other options of opening as they were then."""
    ids: Annotated[Positional[tuple[str, ...]], arg(metavar="ID...")]
    """Training rows; ids are those of selection.parquet, and of features:PATH.npy row numbers from 0."""
    features: Annotated[str | None, left_out("NAME")] = None
    """What rows are compared by, as in `decoct select`; without it, what the selection compared them by."""
    scores: Annotated[Path | None, left_out("FILE")] = None
    """For selections by score: the scores of all rows, as `decoct score` wrote them; without it the file that the
    selection read, where it is still there. For features:PATH.npy, a .npy file of one number a row."""
    labels: Annotated[Path | None, left_out("FILE")] = None
    """For features:PATH.npy that was selected from with --labels: those labels, a .npy file of class numbers."""
    score: Annotated[str | None, left_out("NAME")] = None
    """With --scores: the column that holds the score, as in `decoct select`; without it, what the selection calls it,
    or the only column there is."""
    device: str = "cpu"
    """cpu, cuda or cuda:1: where a network for the features is trained."""
    opening: Selecting = field(default_factory=Selecting)
    output: Output = field(default_factory=Output)


def run(options: Options) -> dict[str, Any]:
    """Explain every row that was asked about."""
    from decoct.data.feature_table import PREFIX
    from decoct.machine import usable_device
    from decoct.selection.explain import explain, row_of
    from decoct.selection.sources import Sources

    if options.source.startswith(PREFIX):
        return _of_table(options)
    select_table.refuse_labels(options.labels, f"explaining a selection from {options.source}")
    _require_scores(options)
    core = _coreset(options.folder)
    data = options.opening.open(options.source)
    rows = [row_of(data, name) for name in options.ids]
    kind = options.features or _features(core)
    made_by = str(core.provenance.get("features", "none"))
    if options.features is None and made_by == "array":
        print("note: rows were selected by features that only you have; give them with --features", file=sys.stderr)
    seed = int(core.provenance.get("seed", 0))
    table = Sources(data, kind, seed, usable_device(options.device), options.opening.cache).table
    scores = _scores(options, core, data)
    return _result(kind, [explain(core, data, row, features=table, scores=scores) for row in rows])


def _of_table(options: Options) -> dict[str, Any]:
    """Explain rows of a table of features, which is not loaded; raises `ConfigError` for options of other sources."""
    from decoct.data.feature_table import feature_table
    from decoct.errors import ConfigError
    from decoct.selection.explain_table import explain_table
    from decoct.selection.repeated import digest

    given = select_table.changed((options, NOT_FOR_TABLES), (options.opening, select_table.NOT_FOR_OPENING))
    if given:
        raise ConfigError(
            f"explaining a selection from {options.source}",
            received=" and ".join("--" + name.replace("_", "-") for name in given),
            expected="--labels and --scores (.npy files) beside a table of features, whose rows are compared as they "
            "are",
            remedy="leave these out",
        )
    core = _coreset(options.folder)
    scores = options.scores or _file_of_scores(core)
    table = feature_table(options.source, labels=options.labels, scores=scores)
    if options.scores is None and scores and digest(table.read_scores()) != core.provenance.get("scores_key"):
        print(f"note: {scores} has changed since; what is said of scores is of kept rows alone", file=sys.stderr)
        table = replace(table, scores=None)
    return _result(table.name, explain_table(core, table, options.ids, seed=int(core.provenance.get("seed", 0))))


def _result(features: str, said: list[Explanation]) -> dict[str, Any]:
    from dataclasses import asdict

    return {"features": features, "rows": [{**asdict(one), "sentence": one.sentence} for one in said]}


def _require_scores(options: Options) -> None:
    """Raise `ConfigError` for a score without scores."""
    from decoct.errors import ConfigError

    if options.score is not None and options.scores is None:
        raise ConfigError(
            "explaining a selection", received=f"--score {options.score} without --scores",
            expected="--score beside --scores FILE, of which it names a column",
            remedy="add --scores FILE, or leave --score out",
        )  # fmt: skip


def _coreset(folder: Path) -> Coreset:
    from decoct.compact.coreset import Coreset
    from decoct.compact.load import load
    from decoct.errors import MismatchError

    found = load(folder)
    if isinstance(found, Coreset):
        return found
    raise MismatchError(
        f"explaining the selection in {folder}", received="a distilled set, whose rows are not those of a source",
        expected="a coreset", remedy="name the folder that `decoct select --out` wrote",
    )  # fmt: skip


def _features(core: Coreset) -> str:
    """What the selection compared rows by, where that can be computed again without being told how."""
    kind = str(core.provenance.get("features", "none"))
    named = kind in ("pixels", "pca") or kind.startswith(("network:", "transformers:"))
    return kind if named else "auto"


def _scores(options: Options, core: Coreset, data: Dataset) -> Float[Tensor, " n"] | None:
    """The score of every row, where the selection went by one that is in a file."""
    from decoct.selection.scored import read_scores

    made, file = core.provenance.get("config", {}).get("score"), options.scores or _file_of_scores(core)
    if made is None or file is None:
        return None
    found = read_scores(file)
    return found.for_data(data, options.score or _column(found, str(made), file))[:, 0]


def _file_of_scores(core: Coreset) -> Path | None:
    """The file that the selection read its scores from, where it is still there."""
    file = (core.provenance.get("scores") or {}).get("file")
    return Path(file) if file and Path(file).is_file() else None


def _column(found: ScoreTable, made: str, file: Path) -> str:
    """The column of a score that the selection calls `made`; raises `ConfigError` where nothing says which it is."""
    from decoct.errors import ConfigError
    from decoct.selection.own_scores import UNNAMED

    if made != UNNAMED:
        return made
    if len(found.columns) == 1:
        return next(iter(found.columns))
    raise ConfigError(
        f"explaining a selection by the scores in {file}",
        received=f"columns {', '.join(found.columns)}, and a selection by an array without a name",
        expected="the column that holds the score of the selection",
        remedy=f"name it, such as --score {next(iter(found.columns))}",
    )


def show(result: dict[str, Any]) -> str:
    """A sentence for each row."""
    return "\n".join(one["sentence"] for one in result["rows"])
