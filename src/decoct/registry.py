"""Lazy tables from a name to an object, open to other packages through entry points."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib import import_module
from typing import Any

from decoct.errors import ConfigError, UnknownNameError


def load_object(target: str) -> Any:
    """Import the object named `"package.module:attribute"`.

    Raises `ConfigError` where the module or the attribute does not exist.
    """
    module_name, _, attribute = target.partition(":")
    try:
        value = import_module(module_name)
        for part in attribute.split("."):
            value = getattr(value, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"loading {target!r}",
            received=f"{type(error).__name__}: {error}",
            expected="an importable 'package.module:object'",
            remedy="check the spelling and that the module is on the Python path (PYTHONPATH or installed)",
        ) from error
    return value


class Registry(Mapping[str, str]):
    """A table name -> "module:object" that imports an object only when it is asked for.

    `kind` names what is listed, in the singular ("network"). Packages add names through the entry-point group
    `decoct.<kind>` without touching decoct.
    """

    def __init__(self, kind: str, table: Mapping[str, str]) -> None:
        self.kind = kind
        self._own = dict(table)

    @cached_property
    def _table(self) -> dict[str, str]:
        # Looking through the installed packages takes as long as drawing a network, so it is done once, and the module
        # that does it is not loaded before.
        from importlib.metadata import entry_points

        foreign = {point.name: point.value for point in entry_points(group=f"decoct.{self.kind}")}
        return {**foreign, **self._own}

    def __getitem__(self, name: str) -> str:
        table = self._table
        if name not in table:
            raise unknown_name(self.kind, name, sorted(table))
        return table[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)

    def __contains__(self, name: object) -> bool:
        return name in self._table

    def load(self, name: str) -> Any:
        """Return the object listed under `name`; raises `UnknownNameError` with the nearest names."""
        return load_object(self[name])


def unknown_name(kind: str, name: str, known: list[str]) -> UnknownNameError:
    """The error for a `name` that is not among `known`, with the nearest ones first."""
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    guess = f"did you mean {' or '.join(repr(n) for n in near)}? " if near else ""
    return UnknownNameError(
        f"looking up the {kind} {name!r}",
        received=repr(name),
        expected="one of " + ", ".join(known),
        remedy=f"{guess}choose a name from the list",
    )
