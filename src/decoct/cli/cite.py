"""`decoct cite METHOD`: the reference of a method as BibTeX."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from tyro.conf import Positional, arg

from decoct.cli.methods import cards
from decoct.cli.opening import Output
from decoct.registry import unknown_name


@dataclass(frozen=True, kw_only=True)
class Options:
    """Print the BibTeX of the paper behind a method."""

    method: Annotated[Positional[str], arg(metavar="METHOD")]
    """A recipe, a selection method, an analysis, an application, or a way to make or weigh a bias."""
    output: Output = field(default_factory=Output)


def run(options: Options) -> dict[str, Any]:
    """The card of the method; raises `UnknownNameError` with the nearest names."""
    known = {card.name: card for found in cards().values() for card in found}
    if options.method not in known:
        raise unknown_name("method", options.method, list(known))
    return asdict(known[options.method])


def show(result: dict[str, Any]) -> str:
    """The BibTeX alone, so that it can be appended to a file."""
    return result["bibtex"].strip()
