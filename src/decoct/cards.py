"""Cards that say which paper a method comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MethodCard:
    """Who a method is: what `decoct methods` lists and `decoct cite` prints."""

    name: str
    """The name in the registry."""
    line: str
    """What it does, in one line."""
    axes: str
    """Where it stands: what is stored, what is optimised, which labels go with it."""
    paper: str
    """Authors, title, year."""
    link: str
    """Where to read the paper."""
    bibtex: str
    """One or more BibTeX entries."""
