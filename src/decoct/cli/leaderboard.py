"""`decoct leaderboard DIR...`: the scorecards of many runs on one page."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional

from decoct.cli.opening import Output, left_out
from decoct.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Options:
    """Merge what was judged in some folders: a table for each data set, protocol and network."""

    folders: Annotated[Positional[tuple[Path, ...]], left_out("DIR...")]
    """Folders written by evaluate, compare, select, distill or import, or folders of such folders."""
    out: Path = Path("leaderboard.html")
    """The page."""
    output: Output = field(default_factory=Output)


def run(options: Options) -> dict[str, Any]:
    """Find the scorecards, group them and write the page."""
    from decoct.evaluation.leaderboard import leaderboard, table_of_groups
    from decoct.report.leaderboard import scorecards_in, write_leaderboard

    if not options.folders:
        raise ConfigError(
            "making a leaderboard",
            received="no folder",
            expected="at least one folder of a run that was judged",
            remedy="name some, such as decoct leaderboard runs/*",
        )
    groups = leaderboard(scorecards_in(options.folders))
    path = write_leaderboard(options.out, groups)
    tables = [
        {
            "data": dict(group.data),
            "protocol": dict(group.protocol),
            "network": group.network,
            "places": [
                {"run": place.run, "label": place.entry.label, "kind": place.entry.kind, "nbytes": place.entry.nbytes,
                 "mean": place.entry.mean, "interval": place.entry.interval, "seeds": list(place.entry.seeds),
                 "gain": list(place.gain), "rival": place.rival}
                for place in group.places
            ],
        }
        for group in groups
    ]  # fmt: skip
    return {"page": str(path), "tables": tables, "text": table_of_groups(groups)}


def show(result: dict[str, Any]) -> str:
    """The tables, and where the page is."""
    return f"{result['text']}\nleaderboard: {Path(result['page']).resolve()}"
