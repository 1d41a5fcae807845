"""The first screen of a report: one sentence, and the numbers that carry it."""

from __future__ import annotations

from html import escape

from decoct.durations import show_bytes
from decoct.report.contents import Contents, Estimate, Row
from decoct.report.numbers import count, estimate


def headline(contents: Contents) -> str:
    kicker = f'<p class="kicker">decoct report · {escape(contents.source)}</p>'
    best = contents.best()
    if best is None:
        title = "What sets are good for" if contents.findings else "No set has been judged yet"
        if contents.scored and not (contents.findings or contents.galleries):
            title = f"What stands out among {sum(found.rows for _, found in contents.scored):,} training rows"
        return f"<header>{kicker}<h1>{title}</h1></header>"
    accuracy, times = f"{100 * best.entry.mean:.1f} %", _times(contents, best)
    smaller = f", <em>{times} times smaller</em>," if times else f" in <em>{show_bytes(best.entry.nbytes)}</em>"
    title = f"{escape(_short(contents.source))}{smaller} trains a network to <em>{accuracy}</em>."
    lead = f'<p class="lead">{_lead(contents, best)}</p>'
    warnings = "".join(f'<p class="lead warning">{escape(warning)}</p>' for warning in contents.warnings)
    return f"<header>{kicker}<h1>{title}</h1>{warnings}{lead}{_figures(contents, best, times)}</header>"


def _lead(contents: Contents, best: Row) -> str:
    entry, full = best.entry, contents.full(best.entry.network, best.place)
    said = [f"<b>{escape(entry.label)}</b> keeps {count(best.ipc)} per class in {show_bytes(entry.nbytes)}."]
    if full:
        said.append(f"All {full.rows:,} real rows reach {100 * full.mean:.1f} %.")
    if best.gain:
        said.append(_beside_random(best.gain, best.rival))
    runs = f"Mean of {len(entry.seeds)} runs" if len(entry.seeds) > 1 else "One run"
    said.append(f"{runs} of {escape(entry.network)}.")
    if len(contents.judged(entry.network)) > 1:
        said.append("The set shown here was chosen by validation accuracy, never by the test data.")
    return " ".join(said)


def _beside_random(gain: Estimate, rival: str) -> str:
    picks = "Random picks" if rival == "random" else "Random picks with the labels of a teacher"
    points = f"{100 * abs(gain.mean):.1f}"
    if gain.half is not None and abs(gain.mean) <= gain.half:
        return f"{picks} of the same bytes cannot be told from it ({gain.shown(sign=True)} points)."
    return f"{picks} of the same bytes reach {points} points {'less' if gain.mean >= 0 else 'more'}."


def _figures(contents: Contents, best: Row, times: str) -> str:
    entry, full = best.entry, contents.full(best.entry.network, best.place)
    rows = f"{entry.rows:,} rows instead of {best.whole.rows if best.whole else contents.train:,}"
    items = [(f"{times}×", f"fewer bytes: {rows}") if times else (show_bytes(entry.nbytes), rows)]
    items.append((estimate(Estimate.of(entry.last), small=True), "% of the test data right"))
    if full:
        items.append((estimate(Estimate.of(full.last), small=True), "% with all of the data"))
    if best.gain:
        items.append((estimate(best.gain, sign=True, small=True), f"points over {best.rival} at the same bytes"))
    cells = "".join(f"<div><dt>{escape(words)}</dt><dd>{number}</dd></div>" for number, words in items)
    return f'<dl class="figures">{cells}</dl>'


def _times(contents: Contents, best: Row) -> str:
    """How many times the bytes of the set those of all the data are; empty where these are not known."""
    whole = contents.full(best.entry.network, best.place) or best.whole
    if whole is None:
        return ""
    times = whole.nbytes / max(best.entry.nbytes, 1)
    return f"{times:.1f}" if times < 10 else f"{times:,.0f}"


def _short(source: str) -> str:
    """The last part of a source: "imagefolder:/data/flowers/" is read as "flowers"."""
    tail = source.rstrip("/").replace("\\", "/").rpartition("/")[2]
    return tail.rpartition(":")[2] or source
