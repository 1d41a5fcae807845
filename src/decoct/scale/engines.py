"""Engines by name, for the command line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from decoct.engine import Engine, Local
from decoct.registry import Registry

ENGINES = Registry(
    "engine", {"local": "decoct.scale.engines:local_engine", "ray": "decoct.scale.ray_engine:ray_engine"}
)
"""Name -> context manager `(workers, address)` that gives an `Engine`."""


@contextmanager
def local_engine(workers: int | None = None, address: str | None = None) -> Iterator[Engine]:
    """This process, unit after unit."""
    yield Local()


@contextmanager
def engine(name: str, workers: int | None = None, address: str | None = None) -> Iterator[Engine]:
    """The engine of that name, started, and stopped at the end; raises `UnknownNameError` and what starting raises."""
    with ENGINES.load(name)(workers, address) as found:
        yield found
