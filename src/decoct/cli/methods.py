"""`decoct methods`: every method with one line, its axes and its paper."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, field
from typing import Any

from decoct.cards import MethodCard
from decoct.cli.opening import Output


@dataclass(frozen=True, kw_only=True)
class Options:
    """List every method with what it does, where it stands on the axes, and its paper."""

    output: Output = field(default_factory=Output)


def cards() -> dict[str, list[MethodCard]]:
    """The cards of all methods, for each command that takes them."""
    from decoct.analysis.cards import CARDS as ANALYSES
    from decoct.applications.cards import CARDS as APPLICATIONS
    from decoct.distillation.recipes.table import CARDS, RECIPES
    from decoct.selection.detection.csod import CARD as CSOD
    from decoct.selection.methods import METHODS, card
    from decoct.trust.bias.cards import CARDS as BIAS

    return {
        "distill": [CARDS.load(name) for name in RECIPES if name in CARDS],
        "select": [*(card(name) for name in METHODS), CSOD],
        "analyze": list(ANALYSES),
        "apply": list(APPLICATIONS),
        "bias": list(BIAS),
    }


def axes() -> dict[str, dict[str, str]]:
    """The members of each axis with what their file says of them in one line."""
    from decoct.distillation.recipes.table import LABELS, OBJECTIVES, STORAGES

    registries = {"storage": STORAGES, "objective": OBJECTIVES, "labels": LABELS}
    return {axis: {name: _line(registry.load(name)) for name in registry} for axis, registry in registries.items()}


def _line(member: type) -> str:
    first = (sys.modules[member.__module__].__doc__ or "").strip().partition("\n")[0]
    return first.partition("`: ")[2] or first


def settings() -> dict[str, dict[str, str]]:
    """The settings of every selector and analysis with their defaults, as --set takes them."""
    from decoct.analysis.table import ANALYSES
    from decoct.selection.detection.select import IMAGE_METHODS
    from decoct.selection.methods import METHODS, selector
    from decoct.selection.settings import settings_of

    found = {name: selector(name) for name in METHODS}
    made = {**found, **{name: IMAGE_METHODS.load(name)() for name in IMAGE_METHODS}}
    made |= {name: ANALYSES.load(name)() for name in ANALYSES}
    return {name: {one.name: one.shown for one in settings_of(method)} for name, method in made.items()}


def run(options: Options) -> dict[str, Any]:
    """All cards as plain JSON, and the settings of those that select or analyse."""
    listed = {command: [asdict(card) for card in found] for command, found in cards().items()}
    return {**listed, "axes": axes(), "settings": settings()}


def show(result: dict[str, Any]) -> str:
    """A short block for each method, under the command that takes it."""
    titles = {
        "distill": "decoct distill --recipe ...",
        "select": "decoct select --method ... --set NAME=VALUE ...",
        "analyze": "decoct analyze ... --set NAME=VALUE ...",
        "apply": "decoct apply ...",
        "bias": "decoct bias ...",
    }
    blocks = []
    for command, found in ((command, result[command]) for command in titles):
        width = max(len(card["name"]) for card in found)
        known = result["settings"] if command in ("select", "analyze") else {}
        blocks += [titles[command], *(_block(card, width, known.get(card["name"])) for card in found)]
    blocks += [_axis(axis, members) for axis, members in result["axes"].items()]
    return "\n\n".join([*blocks, "decoct cite METHOD prints the BibTeX of one."])


def _axis(axis: str, members: dict[str, str]) -> str:
    width = max(map(len, members))
    return "\n".join([f"{axis} (--{axis} NAME)", *(f"  {name.ljust(width)}  {line}" for name, line in members.items())])


def _block(card: dict[str, str], width: int, known: dict[str, str] | None = None) -> str:
    pad = " " * (width + 4)
    papers = card["paper"].split("; ")
    lines = [f"  {card['name'].ljust(width)}  {card['line']}", f"{pad}axes   {card['axes']}"]
    if known:
        lines.append(f"{pad}set    " + " ".join(f"{name}={default}" for name, default in known.items()))
    return "\n".join(
        [*lines, f"{pad}paper  {papers[0]}", *(f"{pad}       {line}" for line in [*papers[1:], card["link"]])]
    )
