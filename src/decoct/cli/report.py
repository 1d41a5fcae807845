"""`decoct report DIR...`: one page about the results in some folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional

from decoct.cli.opening import Opening, Output, left_out
from decoct.errors import ConfigError

if TYPE_CHECKING:
    from decoct.report.judged import Judged


@dataclass(frozen=True, kw_only=True)
class Options:
    """Write one self-contained page about the comparisons, scorecards, sets and scored rows in some folders."""

    folders: Annotated[Positional[tuple[Path, ...]], left_out("DIR...")]
    """Folders written by compare, evaluate, distill, select, import, apply or score, or folders of such folders."""
    out: Annotated[Path | None, left_out("PATH")] = None
    """The page; without it, report.html in the only folder, or here for several."""
    data: Annotated[str | None, left_out("SOURCE")] = None
    """The source, to show real pictures beside the compact ones."""
    opening: Opening = field(default_factory=Opening)
    output: Output = field(default_factory=Output)


def run(options: Options) -> dict[str, Any]:
    """Find what is there and write the page."""
    from decoct.report.find import results_in, runs_in
    from decoct.report.html import write_report

    if not options.folders:
        raise ConfigError(
            "writing a report",
            received="no folder",
            expected="at least one folder written by compare, evaluate, distill, select, import, apply or score",
            remedy="name one, such as decoct report decoct-demo",
        )
    found: list[Judged] = [one for folder in options.folders for run in runs_in(folder) for one in results_in(run)]
    data = options.opening.open(options.data) if options.data else None
    out = options.out or _beside(options.folders)
    path = write_report(out, found, data)
    judged = sum(one.scorecard is not None for one in found)
    scored = sum(one.scored is not None for one in found)
    sets = sum(one.compact_set is not None or one.scorecard is not None for one in found)
    others = sum(one.compact_set is None and one.scorecard is None and one.scored is None for one in found)
    counts = {"sets": sets, "judged": judged, "scored": scored, "applications": others}
    return {"report": str(path), **counts, "bytes": path.stat().st_size}


def _beside(folders: Sequence[Path]) -> Path:
    return folders[0] / "report.html" if len(folders) == 1 else Path("report.html")


def show(result: dict[str, Any]) -> str:
    """Where the page is and what stands in it."""
    scored = f", {result['scored']} scored folders" if result["scored"] else ""
    scored += f", {result['applications']} applications" if result["applications"] else ""
    sets = f"{result['sets']} sets, {result['judged']} of them judged"
    return f"report: {Path(result['report']).resolve()} ({sets}{scored})"
