"""The page itself: one HTML file that asks nothing of the network and works by keyboard, in light and in dark."""

from __future__ import annotations

from html import escape
from importlib.resources import files

from decoct.report.charts import charts
from decoct.report.contents import Contents
from decoct.report.findings import findings
from decoct.report.gallery import PNG_BUDGET, gallery_html, gallery_pngs, heat_html
from decoct.report.headline import headline
from decoct.report.label_section import label_section
from decoct.report.matrix_section import fair_section, matrix_section
from decoct.report.scored_section import scored_section
from decoct.report.tables import accuracies, costs

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def page(contents: Contents) -> str:
    """The whole HTML text of a report; everything that comes from data is escaped."""
    # Both kinds of galleries share what pictures may take.
    budget = PNG_BUDGET // 2 if contents.galleries and contents.scored else PNG_BUDGET
    sections = (
        headline(contents), charts(contents), accuracies(contents), costs(contents),
        fair_section(contents.scores), matrix_section(contents.matrices), label_section(contents.label_cards),
        _galleries(contents, budget), _heats(contents), findings(contents), scored_section(contents.scored, budget),
        _provenance(contents),
    )  # fmt: skip
    style = files("decoct.report").joinpath("page.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>decoct: {escape(contents.source)}</title><style>\n{style}</style></head>\n"
        '<body><a class="skip" href="#accuracy">Skip to the numbers</a><main>\n'
        + "\n".join(section for section in sections if section)
        + "\n</main></body></html>\n"
    )


def _galleries(contents: Contents, budget: int) -> str:
    if not contents.galleries:
        return ""
    pngs = gallery_pngs(contents.galleries, budget)
    parts = []
    for place, gallery in enumerate(contents.galleries):
        own = {(c, k): png for (g, c, k), png in pngs.items() if g == place}
        open_mark = " open" if place < 2 else ""
        parts.append(
            f"<details{open_mark}><summary>{escape(gallery.title)}</summary>{gallery_html(gallery, own)}</details>"
        )
    return (
        '<section><h2 id="images">Real beside compact</h2><p>The first column shows real training images of each '
        f"class, the others what each set keeps of it.</p>{''.join(parts)}</section>"
    )


def _heats(contents: Contents) -> str:
    if not contents.heats:
        return ""
    return (
        '<section><h2 id="labels">Learned labels</h2><p>Hard labels would show one full square a row; what else is '
        "there is what the labels teach beyond the class.</p>"
        f'<div class="heats">{"".join(map(heat_html, contents.heats))}</div></section>'
    )


def _provenance(contents: Contents) -> str:
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in contents.facts)
    commands = "\n".join(escape(command) for command in contents.commands)
    again = f'<h3>Make it again</h3><pre tabindex="0"><code>{commands}</code></pre>' if commands else ""
    notes = "".join(f"<li>{escape(note)}</li>" for note in contents.notes)
    told = f'<h3>Notes</h3><ul class="notes">{notes}</ul>' if notes else ""
    return (
        '<section><h2 id="provenance">Where it comes from</h2><p>Everything that is needed to judge these numbers, or '
        f'to get them again.</p><dl class="facts">{facts}</dl>{again}{told}</section>'
    )
