"""What `decoct select` says of single rows, kept or dropped, from what the selection has computed already."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from decoct.cli.select import Options
    from decoct.compact.coreset import Coreset
    from decoct.data.dataset import Dataset
    from decoct.engine import Engine
    from decoct.selection.selector import Selector

DROPPED = "dropped.parquet"


@contextmanager
def kept(options: Options) -> Iterator[Path | None]:
    """A folder for features and trainings: the user's, or, where rows are asked about, one that goes away.

    What is said of rows looks at both again, and finds them there.
    """
    if options.opening.cache is not None or not (options.explain or options.dropped):
        yield options.opening.cache
        return
    with TemporaryDirectory(prefix="decoct-explain-") as folder:
        yield Path(folder)


def require_ids(options: Options, data: Dataset) -> None:
    """Raise `UnknownNameError` for rows that the data do not have, before anything is computed."""
    from decoct.selection.explain import row_of

    for name in options.explain:
        row_of(data, name)


def explained(
    options: Options, picked: Coreset, data: Dataset, method: Selector, compared: Any, cache: Path | None,
    engine: Engine,
) -> list[str]:  # fmt: skip
    """A sentence for each row that was asked about; with `--dropped` the file of all dropped rows is written."""
    if not (options.explain or options.dropped):
        return []
    from decoct.machine import usable_device
    from decoct.selection.by_score import ByScore
    from decoct.selection.dropped import write_dropped
    from decoct.selection.explain import explain
    from decoct.selection.own_scores import OwnScores
    from decoct.selection.sources import Sources

    device = usable_device(options.device)
    table = Sources(data, options.features, options.seed, device, cache, engine=engine).table
    scores = None
    if isinstance(method, ByScore):
        values = compared.values if isinstance(compared, OwnScores) else compared
        scores = method.values(Sources(data, values, options.seed, device, cache, engine=engine))
    if options.dropped:
        write_dropped(options.out / DROPPED, picked, data, table, scores)
    return [explain(picked, data, name, features=table, scores=scores).sentence for name in options.explain]
