"""The card of the recipe that chooses by itself."""

from __future__ import annotations

from decoct.cards import MethodCard
from decoct.distillation.cards.distribution import IDM
from decoct.distillation.cards.real import SOFT_RANDOM
from decoct.distillation.cards.ridge import RIDGE, RIDGE_GRID

_CHOSEN = (RIDGE_GRID, RIDGE, IDM, SOFT_RANDOM)
"""What `auto` picks from."""


def _each_once(texts: list[str], between: str) -> str:
    """The parts of all texts in their order, without repeats."""
    return between.join(dict.fromkeys(part for text in texts for part in text.split(between)))


AUTO = MethodCard(
    name="auto",
    line="measure the machine, then choose storage, objective, labels and width for the size and the time",
    axes="chosen: that of ridge-grid, rfad, idm, ridge or soft-random",
    paper=_each_once([card.paper for card in _CHOSEN], "; "),
    link=RIDGE_GRID.link,
    bibtex="@" + _each_once([card.bibtex.removeprefix("@") for card in _CHOSEN], "\n@"),
)
