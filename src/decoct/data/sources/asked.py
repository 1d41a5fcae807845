"""What a person asks of a source behind a question mark: `PATH?image=NAME&label=NAME&id=NAME&group=NAME`."""

from __future__ import annotations

from collections.abc import Sequence

from decoct.errors import SourceError

KNOWN = ("image", "label", "id", "group")
"""Columns of a table; that of the groups, which rows may share, is no feature."""
TABLES = ("parquet", "csv", "hub")
"""Prefixes of sources that have columns to be asked for."""


def columns_asked(source: str) -> dict[str, str]:
    """What the name of a source that was opened, such as "hub:NAME?id=NAME", asks for; nothing of one without columns.

    Raises as `names_asked`.
    """
    kind, _, place = source.partition(":")
    return names_asked(f"reading what {source} asks for", place)[1] if kind in TABLES else {}


def names_asked(called: str, place: str, known: Sequence[str] = KNOWN) -> tuple[str, dict[str, str]]:
    """The place without the question mark and what follows, and the names that are asked for.

    `id=` alone is the empty name, which asks for row numbers. Raises `SourceError` for anything but `known` words.
    """
    path, mark, query = place.rpartition("?")
    if not mark:
        return place, {}
    pairs = [pair.partition("=") for pair in query.split("&")]
    asked = {word: name for word, _, name in pairs}
    if set(asked) - set(known) or not all(name or word == "id" for word, name in asked.items()):
        form = "?" + "&".join(f"{word}=NAME" for word in known)
        raise SourceError(
            called, received=f"?{query}", expected=form + (", or some of these" if len(known) > 1 else ""),
            remedy=f"write the names of the columns after {' and '.join(f'{word}=' for word in known)}; "
            "id= alone goes by row numbers",
        )  # fmt: skip
    return path, dict(sorted(asked.items()))
