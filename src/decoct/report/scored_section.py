"""The section of a report on rows that stand out by their scores: the galleries that `decoct score` made."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from decoct.report.gallery import data_address
from decoct.report.scored_rows import Item, ScoredRows, Shown

LADDER = (24, 16, 12, 8, 4, 2, 1, 0)
"""Rows of a gallery, the first number whose pictures fit the page's budget is taken."""
MAP = "Map of the data: each dot is a training row, its mean probability against its spread."


def scored_section(scored: Sequence[tuple[str, ScoredRows]], budget: int) -> str:
    """For each scored folder its map and its galleries, with pictures of `budget` bytes in all; nothing without any."""
    if not scored:
        return ""
    parts = [_folder(name, found, budget // len(scored)) for name, found in scored]
    return (
        '<section><h2 id="rows">Rows that stand out</h2><p>By <code>decoct score</code>: one network was trained once '
        "and watched, and every training row is judged by how that went; redundant rows lie near each other by "
        f"what they hold.</p>{''.join(parts)}</section>"
    )


def _folder(name: str, found: ScoredRows, budget: int) -> str:
    """One scored folder; the map goes where it would take more than half of the budget."""
    picture = found.picture if found.picture and len(found.picture) <= budget // 2 else None
    left = budget - len(picture or b"")

    def size(most: int) -> int:
        return sum(len(png) for pile in found.piles for item in pile.items[:most] for png in item.pngs)

    most = next(most for most in LADDER if size(most) <= left)
    galleries = "".join(_gallery(pile, most, place) for place, pile in enumerate(found.piles))
    head = f"<h3>{escape(name)}: {found.rows:,} training rows of {escape(found.source)}</h3>"
    return head + map_html(picture) + galleries


def _gallery(pile: Shown, most: int, place: int) -> str:
    left = len(pile.items) - most
    more = f" {left} more stand in rows.html of that folder." if left > 0 else ""
    return (
        f"<details{' open' if place < 2 else ''}><summary>{escape(pile.title)}</summary>"
        f'<p class="intro">{escape(pile.line)}{more}</p>{items_html(pile.items[:most])}</details>'
    )


def map_html(picture: bytes | None) -> str:
    """The map of the data as a figure; nothing where there is none."""
    if not picture:
        return ""
    return (
        f'<figure class="map"><img src="{data_address(picture)}" alt="{escape(MAP)}"><figcaption>{MAP} Hard rows lie '
        "low, ambiguous ones to the right.</figcaption></figure>"
    )


def items_html(items: Sequence[Item]) -> str:
    """A list of rows, each with its pictures, class, ids and note."""
    return f'<ul class="pile">{"".join(map(_item_html, items))}</ul>'


def _item_html(item: Item) -> str:
    shown = "".join(
        f'<img src="{data_address(png)}" alt="{escape(f"{name}, class {item.label}")}">'
        for name, png in zip(item.ids, item.pngs, strict=False)
    )
    pictures = f'<div class="pair">{shown}</div>' if shown else ""
    names = f"<b>{escape(item.label)}</b><span>{escape(' = '.join(item.ids))}</span>"
    return f"<li>{pictures}{names}<span>{escape(item.note)}</span></li>"
