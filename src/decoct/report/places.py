"""What tells the data and the protocol of one scorecard on a page from those of the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from decoct.evaluation.data_facts import DATA_KEYS
from decoct.evaluation.scorecard import Scorecard

_CUT = 12
"""Digits of a hash that are shown."""


def facts_of(card: Scorecard) -> dict[str, str]:
    """Everything that has to be the same for two numbers to be compared, as text."""
    found = {key: _shown(key, card.data.get(key)) for key in DATA_KEYS}
    return {**found, "protocol": f"protocol {card.protocol.get('name')} {str(card.protocol.get('hash'))[:_CUT]}"}


def places_among(cards: Sequence[Scorecard]) -> Callable[[Scorecard], str]:
    """The place of a card: equal texts where everything that has to be is the same, empty where it is for all cards."""
    differing = _differing(cards)

    def place(card: Scorecard) -> str:
        own = facts_of(card)
        return ", ".join(own[key] for key in differing)

    return place


def mixed(cards: Sequence[Scorecard]) -> tuple[str, ...]:
    """A warning for each thing that has to be the same for numbers to be compared, and is not."""
    differing, told = set(_differing(cards)), []
    if differing - {"weights", "protocol"}:
        shown = "; ".join(dict.fromkeys(_called(card, differing) for card in cards))
        told.append(f"These results are of different data ({shown}): compare none across them.")
    if "weights" in differing:
        told.append("These results are of training rows that are weighted differently: compare none across them.")
    if "protocol" in differing:
        names = {c.protocol.get("hash"): str(c.protocol.get("name")) for c in cards}
        told.append(f"These results are of different protocols ({', '.join(names.values())}): compare none across.")
    return tuple(told)


def _differing(cards: Sequence[Scorecard]) -> list[str]:
    """Which facts are not the same for all cards."""
    facts = [facts_of(card) for card in cards]
    return [key for key in (*DATA_KEYS, "protocol") if len({found[key] for found in facts}) > 1]


def _called(card: Scorecard, differing: set[str]) -> str:
    """The data of a card: source, shape, and what else differs; the fingerprint where nothing else does."""
    own = facts_of(card)
    more = [own[key] for key in ("normalisation", "train", "val", "test") if key in differing]
    if differing - {"weights", "protocol"} == {"fingerprint"}:
        more = [own["fingerprint"]]
    return ", ".join([f"{card.data.get('source')} as {'x'.join(map(str, card.data.get('shape', ())))}", *more])


def _shown(key: str, value: Any) -> str:
    if value in (None, ""):
        return f"no {key}"
    if key in ("train", "val", "test"):
        return f"{value} {key} rows"
    text = "x".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return f"{key} {text[:_CUT] if key in ('fingerprint', 'weights') else text}"
