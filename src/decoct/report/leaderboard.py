"""The page of a leaderboard: one self-contained file whose tables sort by a click, without the network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from statistics import fmean

from decoct.durations import show_bytes
from decoct.evaluation.leaderboard import Group, Place
from decoct.evaluation.scorecard import Scorecard
from decoct.files import write_text
from decoct.report.contents import Estimate
from decoct.report.find import results_in, runs_in
from decoct.report.numbers import estimate, over

SCRIPT = """
for (const table of document.querySelectorAll("table")) {
  table.querySelectorAll("thead button").forEach((button, column) => {
    button.addEventListener("click", () => {
      const head = button.closest("th"), down = head.getAttribute("aria-sort") !== "descending";
      table.querySelectorAll("th[aria-sort]").forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = row => row.cells[column].dataset.key ?? row.cells[column].textContent;
      const rows = [...table.tBodies[0].rows], numeric = rows.every(row => !isNaN(Number(key(row))));
      rows.sort((a, b) => (numeric ? Number(key(a)) - Number(key(b)) : key(a).localeCompare(key(b))) * (down ? -1 : 1));
      table.tBodies[0].append(...rows);
    });
  });
}
"""
"""The whole script of the page; the policy allows this text and no other."""
_HEADS = ("Set", "Run", "Accuracy, %", "Over random, points", "Bytes", "Rows", "Samples seen", "Runs")


def scorecards_in(folders: Sequence[Path]) -> list[tuple[str, Scorecard]]:
    """The scorecards in some folders, each with the name of its run; a folder of runs counts as its runs.

    Raises `SourceError` where a folder holds neither results nor folders with results.
    """
    found: list[tuple[str, Scorecard]] = []
    for folder in folders:
        for run in runs_in(folder):
            for one in results_in(run):
                cards = list(one.matrix.scorecards.values()) if one.matrix else []
                cards += [one.scorecard] if one.scorecard and one.scorecard not in cards else []
                found += [(run.name or str(run), card) for card in cards]
    return found


def write_leaderboard(path: str | Path, groups: Sequence[Group]) -> Path:
    """Write the page to `path` and return it; it appears whole. Raises `OutputError`."""
    path = Path(path)
    write_text(path, leaderboard_page(groups))
    return path


def leaderboard_page(groups: Sequence[Group]) -> str:
    """The HTML text; everything that comes from runs is escaped."""
    style = files("decoct.report").joinpath("page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    runs = len({place.run for group in groups for place in group.places})
    title = f"{_count(len(groups), 'table')} of {_count(runs, 'run')}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>decoct: leaderboard</title><style>\n{style}{_STYLE}</style></head>\n"
        '<body><a class="skip" href="#tables">Skip to the tables</a><main>\n'
        f'<header><p class="kicker">decoct leaderboard</p><h1>{title}</h1>'
        '<p class="lead">A table holds what was judged on the same data, under the same protocol, with the same '
        "network; numbers of different tables are not compared. Mean and half of the 95 % interval over seeds; "
        "an entry of one run has no interval. Sets with soft labels are compared with random rows that have the labels "
        "of a teacher, where these were judged; each gain names what it is over. A click on a heading sorts.</p>"
        "</header>\n"
        f'<div id="tables">{"".join(map(_section, groups))}</div>\n</main><script>{SCRIPT}</script></body></html>\n'
    )


def _section(group: Group) -> str:
    facts = (
        f"{group.data.get('train')} training and {group.data.get('test')} test rows, "
        f"{group.data.get('normalisation')}; "
        f"protocol {group.protocol.get('name')} ({str(group.protocol.get('hash'))[:12]}); data "
        f"{str(group.data.get('fingerprint'))[:12]}"
    )
    heads = "".join(f'<th scope="col"><button type="button">{escape(head)}</button></th>' for head in _HEADS)
    rows = "".join(map(_row, group.places))
    told = "".join(f"<li>{escape(note)}</li>" for note in group.diverged)
    notes = f'<ul class="notes">{told}</ul>' if told else ""
    return (
        f"<section><h2>{escape(group.title)}</h2><p>{escape(facts)}</p>"
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(group.title)}"><table>'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>{notes}</section>"
    )


def _row(place: Place) -> str:
    entry = place.entry
    gain = Estimate.of(place.gain) if place.gain else None
    cells = (
        (place.run, escape(place.run)),
        (entry.mean, estimate(Estimate.of(entry.last))),
        (fmean(place.gain) if place.gain else -9, over(gain, place.rival)),
        (entry.nbytes, show_bytes(entry.nbytes)),
        (entry.rows, f"{entry.rows:,}"),
        (entry.samples_seen, f"{entry.samples_seen:,}"),
        (len(entry.seeds), str(len(entry.seeds))),
    )
    quiet = ' class="quiet"' if entry.kind == "baseline" else ""
    data = "".join(f'<td data-key="{escape(str(key))}">{shown}</td>' for key, shown in cells)
    return f'<tr{quiet}><th scope="row">{escape(entry.label)}</th>{data}</tr>'


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + ("" if number == 1 else "s")


_STYLE = """
thead button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer; }
thead button:hover { text-decoration: underline; }
th[aria-sort=descending] button::after { content: " \\2193"; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
"""
