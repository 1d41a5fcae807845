"""Progress for a person: a live bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOBase
from typing import Protocol, TextIO, runtime_checkable

from decoct.durations import show_duration

LINE_EVERY_SECONDS = 15.0


@runtime_checkable
class Ticker(Protocol):
    """What a long loop calls after each piece of work."""

    def __call__(self, done: float | int, note: str = "") -> None: ...


@contextmanager
def progress(title: str, total: float | int, stream: TextIOBase | None = None) -> Iterator[Ticker]:
    """Show how far `title` is on standard error: `tick(done, note)` with `done` out of `total`, with rate and ETA.

    Standard output stays free for results.
    """
    shown = stream or sys.stderr
    with _bar(title, total) if shown.isatty() else _lines(title, total, shown) as tick:
        yield tick


@contextmanager
def _bar(title: str, total: float | int) -> Iterator[Ticker]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(), TextColumn("eta"), TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total, note="")
        yield lambda done, note="": bar.update(task, completed=done, note=note)


@contextmanager
def _lines(title: str, total: float | int, stream: TextIO | TextIOBase) -> Iterator[Ticker]:
    start = last = time.monotonic()
    first: float | int | None = None

    def tick(done: float | int, note: str = "") -> None:
        nonlocal last, first
        first = done if first is None else first
        now = time.monotonic()
        if now - last < LINE_EVERY_SECONDS:
            return
        last = now
        rate = (done - first) / (now - start)
        eta = f", eta {show_duration((total - done) / rate)}" if rate > 0 else ""
        print(f"{title}: {done:g}/{total:g} ({rate:.3g}/s{eta}) {note}".rstrip(), file=stream, flush=True)

    yield tick
