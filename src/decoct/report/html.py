"""`write_report`: one self-contained file about one or many judged sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from decoct.data.dataset import Dataset
from decoct.evaluation.comparison import Comparison
from decoct.evaluation.scorecard import Scorecard
from decoct.files import write_text
from decoct.report.collect import contents_of
from decoct.report.find import findings_in
from decoct.report.judged import Judged, with_refused
from decoct.report.page import page


def write_report(
    path: str | Path,
    result: Comparison | Scorecard | Sequence[Judged],
    data: Dataset | None = None,
    commands: Sequence[str] = (),
) -> Path:
    """Write the report about `result` to `path` and return the path.

    `data` gives the real pictures beside the compact ones; `commands` are the command lines that make the result
    again. The file is under 3 MB, asks nothing of the network and appears whole. Raises `OutputError`.
    """
    path = Path(path)
    write_text(path, page(contents_of(judged_of(result), data, commands)))
    return path


def judged_of(result: Comparison | Scorecard | Sequence[Judged]) -> Sequence[Judged]:
    """The judged sets in a result of `compare` or `evaluate`."""
    if isinstance(result, Comparison):
        found = [
            Judged(c.method, c.compact_set, c.scorecard, float(c.ipc), c.seconds, findings_in(c.path) if c.path else ())
            for c in result.contests
        ]
        return with_refused(found, result.refused)
    if isinstance(result, Scorecard):
        return [Judged(result.judged[0].label if result.judged else "set", None, result)]
    return result
