"""`analyze`: ask one question about a set, and keep the answer beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from decoct.analysis.finding import Finding
from decoct.analysis.study import Analysis, Study
from decoct.analysis.table import ANALYSES
from decoct.compact.compact_set import CompactSet
from decoct.data.dataset import Dataset
from decoct.progress import progress


def analyze(
    what: str | Analysis,
    compact_set: CompactSet,
    data: Dataset,
    *,
    network: str | None = None,
    seeds: int | Sequence[int] = 5,
    out: str | Path | None = None,
    device: str | None = None,
) -> Finding:
    """The finding of the analysis `what` (a name with its usual settings, or settings) about `compact_set` on `data`.

    `network` is a name, by default the field's for the size of the images; `seeds` a number or the seeds themselves.
    With `out`, the finding is written to `out/NAME.json`, where the report finds it if `out` is the folder "analysis"
    of the set; every finished training is kept in `out/cells` and never done again, so that the same call resumes.

    Raises `UnknownNameError` for an analysis or network that does not exist, `MismatchError` where set and data do not
    belong together, `ConfigError` for settings that cannot be worked with, `DataError` and `OutputError`.
    """
    asked: Analysis = ANALYSES.load(what)() if isinstance(what, str) else what
    study = Study.of(compact_set, data, network, seeds, out=out, device=device)
    with progress(f"analysing {asked.name}", 1.0) as tick:
        found = asked.run(study.said_by(tick))
    found = replace(found, notes=tuple(dict.fromkeys([*found.notes, *study.notes()])))
    if out is not None:
        found.save(Path(out) / f"{asked.name}.json")
    return found
