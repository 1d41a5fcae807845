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
from decoct.report.gallery import PNG_BUDGET, Quality, data_address, montage
from decoct.report.page import POLICY
from decoct.report.piles import Pile, piles_of

SIDES = (128, 96, 64, 48, 32, 24, 16)
"""Longest sides of a picture in pixels, the first that fits the page's budget is taken."""
STYLE = """
.pile { display: grid; grid-template-columns: repeat(auto-fill, minmax(7.25rem, 1fr)); gap: 1.25rem 1rem; padding: 0; }
.pile li { list-style: none; min-width: 0; }
.pile .pair { display: flex; gap: 3px; }
.pile img { width: 100%; min-width: 0; aspect-ratio: 1; object-fit: contain; image-rendering: pixelated; border-radius: 2px; }
.pile b, .pile span { display: block; font-size: .75rem; line-height: 1.35; overflow-wrap: anywhere; }
.pile span { color: var(--muted); }
.map img { width: min(100%, 40rem); background: #fff; border-radius: 4px; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin-top: 1.5rem; }
"""  # noqa: E501


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
    network and appears whole. Raises `MismatchError` for scores of other rows, and `OutputError`.
    """
    path = Path(path)
    write_text(path, examples_page(data, piles_of(data, scores, features), picture))
    return path


def examples_page(data: Dataset, piles: Sequence[Pile], picture: bytes | None = None) -> str:
    """The HTML text; everything that comes from data is escaped."""
    css = files("decoct.report").joinpath("page.css").read_text(encoding="utf-8")
    links = "".join(f'<a href="#{pile.name}">{escape(pile.title)}</a>' for pile in piles)
    addresses = _addresses(data, piles, PNG_BUDGET - len(picture or b""))
    sections = "".join(_section(data, pile, addresses) for pile in piles)
    chart = ""
    if picture:
        words = "Map of the data: each dot is a training row, its mean probability against its spread."
        chart = (
            f'<section class="map"><h2 id="map">Map of the data</h2><p>{words} Hard rows lie low, ambiguous ones to '
            f'the right.</p><img src="{data_address(picture)}" alt="{escape(words)}"></section>'
        )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>decoct: rows of {escape(data.spec.source)}</title><style>\n{css}{STYLE}</style></head>\n<body><main>"
        f'<header><p class="kicker">decoct score · {escape(data.spec.source)}</p>'
        f"<h1>What stands out among {len(data.train):,} training rows</h1>"
        '<p class="lead">One network was trained once and watched; every row is judged by how that went.</p>'
        f'<nav aria-label="On this page">{links}</nav></header>{chart}{sections}</main></body></html>\n'
    )


def _section(data: Dataset, pile: Pile, addresses: Mapping[int, str]) -> str:
    twins = pile.twins or (None,) * len(pile.rows)
    items = "".join(
        _item(data, [row] if twin is None else [row, twin], note, addresses)
        for row, twin, note in zip(pile.rows, twins, pile.notes, strict=True)
    )
    return (
        f'<section><h2 id="{pile.name}">{escape(pile.title)}</h2><p>{escape(pile.line)}</p>'
        f'<ul class="pile">{items}</ul></section>'
    )


def _item(data: Dataset, rows: Sequence[int], note: str, addresses: Mapping[int, str]) -> str:
    """One row, or a row beside its twin: pictures, class, ids, note."""
    label = data.spec.class_names[int(data.train.y[rows[0]])]
    ids = [str(data.train.ids[row]) for row in rows]
    shown = "".join(
        f'<img src="{addresses[row]}" alt="{escape(f"{name}, class {label}")}">'
        for row, name in zip(rows, ids, strict=True)
        if row in addresses
    )
    pictures = f'<div class="pair">{shown}</div>' if shown else ""
    return f"<li>{pictures}<b>{escape(label)}</b><span>{escape(' = '.join(ids))}</span><span>{escape(note)}</span></li>"


def _addresses(data: Dataset, piles: Sequence[Pile], budget: int) -> dict[int, str]:
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
    return {row: data_address(png) for row, png in found.items()}
