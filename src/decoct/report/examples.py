"""`write_examples`: one self-contained page of the training rows that a person should look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from decoct.data.dataset import Dataset
from decoct.files import write_text
from decoct.report.gallery import PNG_BUDGET, Quality, montage
from decoct.report.page import POLICY
from decoct.report.piles import Pile, piles_of
from decoct.report.scored_rows import FILE_NAME, Item, ScoredRows, Shown
from decoct.report.scored_section import items_html, map_html

SIDES = (128, 96, 64, 48, 32, 24, 16)
"""Longest sides of a picture in pixels, the first that fits the page's budget is taken."""


def write_examples(
    path: str | Path,
    data: Dataset,
    scores: Mapping[str, Float[Tensor, " n"]],
    features: Float[Tensor, "n d"] | None = None,
    *,
    picture: bytes | None = None,
) -> Path:
    """Write the page to `path` and return it.

    `scores` are columns of a `ScoreTable` in the order of `data.train`; `features` are what the redundant rows are
    found by; `picture` is a PNG shown at the top (`cartography_png`). The file is under 3 MB, asks nothing of the
    network and appears whole. Beside it the same rows are written as JSON (`ScoredRows`), for reports.
    Raises `MismatchError` for scores of other rows, and `OutputError`.
    """
    path, found = Path(path), scored_rows(data, piles_of(data, scores, features), picture)
    found.save(path.with_name(FILE_NAME))
    write_text(path, _page(found))
    return path


def scored_rows(data: Dataset, piles: Sequence[Pile], picture: bytes | None = None) -> ScoredRows:
    """The rows of these piles with their pictures, as large as one page allows."""
    pngs = _pngs(data, piles, PNG_BUDGET - len(picture or b""))

    def item(rows: Sequence[int], note: str) -> Item:
        label = data.spec.class_names[int(data.train.y[rows[0]])]
        ids = tuple(str(data.train.ids[row]) for row in rows)
        return Item(label, ids, note, tuple(pngs[row] for row in rows if row in pngs))

    shown = []
    for pile in piles:
        members = zip(pile.rows, pile.twins, strict=True) if pile.twins else ((row,) for row in pile.rows)
        items = tuple(item(rows, note) for rows, note in zip(members, pile.notes, strict=True))
        shown.append(Shown(pile.name, pile.title, pile.line, items))
    return ScoredRows(data.spec.source, len(data.train), tuple(shown), picture)


def examples_page(data: Dataset, piles: Sequence[Pile], picture: bytes | None = None) -> str:
    """The HTML text; everything that comes from data is escaped."""
    return _page(scored_rows(data, piles, picture))


def _page(found: ScoredRows) -> str:
    css = files("decoct.report").joinpath("page.css").read_text(encoding="utf-8")
    links = "".join(f'<a href="#{pile.name}">{escape(pile.title)}</a>' for pile in found.piles)
    sections = "".join(
        f'<section><h2 id="{pile.name}">{escape(pile.title)}</h2><p>{escape(pile.line)}</p>{items_html(pile.items)}'
        "</section>"
        for pile in found.piles
    )
    chart = f'<section><h2 id="map">Map of the data</h2>{map_html(found.picture)}</section>' if found.picture else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>decoct: rows of {escape(found.source)}</title><style>\n{css}</style></head>\n<body><main>"
        f'<header><p class="kicker">decoct score · {escape(found.source)}</p>'
        f"<h1>What stands out among {found.rows:,} training rows</h1>"
        '<p class="lead">One network was trained once and watched; every row is judged by how that went.</p>'
        f'<nav aria-label="On this page">{links}</nav></header>{chart}{sections}</main></body></html>\n'
    )


def _pngs(data: Dataset, piles: Sequence[Pile], budget: int) -> dict[int, bytes]:
    """A picture for every row that is shown, as large as `budget` bytes in all allow; none for tables of features."""
    if not data.spec.is_image:
        return {}
    rows = sorted({row for pile in piles for row in (*pile.rows, *pile.twins)})
    pictures = np.ascontiguousarray(data.train.raw(np.array(rows, np.int64)).numpy().transpose(0, 2, 3, 1))
    found: dict[int, bytes] = {}
    for side in SIDES:
        drawn = (montage(pictures[place : place + 1], Quality(side, 0, 1)) for place in range(len(rows)))
        found = dict(zip(rows, drawn, strict=True))
        # A row in two piles is drawn in both.
        if sum(len(found[row]) for pile in piles for row in (*pile.rows, *pile.twins)) <= budget:
            break
    return found
