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
LASTED_SECONDS = 2.0


@runtime_checkable
class Ticker(Protocol):
    """What a long loop calls after each piece of work."""

    def __call__(self, done: float | int, note: str = "") -> None: ...


@contextmanager
def progress(
    title: str, total: float | int, stream: TextIOBase | None = None, *, timed: bool = False
) -> Iterator[Ticker]:
    """Show how far `title` is on standard error: `tick(done, note)` with `done` out of `total`, with rate and ETA.

    With `timed`, `done` and `total` are seconds, which have no rate. On a terminal a bar that lasted is left standing.
    Standard output stays free for results.
    """
    shown = stream or sys.stderr
    pace = _Pace(float(total), timed)
    with _bar(title, pace) if shown.isatty() else _lines(title, pace, shown) as tick:
        yield tick


class _Pace:
    """How much is done of `total`, and how fast; what was done before the first tick does not count as speed."""

    def __init__(self, total: float, timed: bool) -> None:
        self.total, self.timed = total, timed
        self.start = time.monotonic()
        self.first: tuple[float, float] | None = None
        self.done, self.rate = 0.0, 0.0

    def tick(self, done: float | int, now: float) -> None:
        self.done = float(done)
        first, then = self.first = self.first or (self.done, now)
        self.rate = (self.done - first) / (now - then) if now > then else 0.0

    def shown(self) -> str:
        """Such as "12/50, 3.1/s", or "40s of 2min 00s" where seconds are counted."""
        if self.timed:
            return f"{show_duration(self.done)} of {show_duration(self.total)}"
        rate = f"{self.rate:,.0f}" if self.rate >= 100 else f"{self.rate:.3g}"
        return f"{_amount(self.done)}/{_amount(self.total)}" + (f", {rate}/s" if self.rate > 0 else "")

    def eta(self) -> str:
        """How long the rest will take; nothing before that can be known or when all is done."""
        left = self.total - self.done
        return f"eta {show_duration(left / self.rate)}" if self.rate > 0 and left > 0 else ""


def _amount(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:.1f}"


@contextmanager
def _bar(title: str, pace: _Pace) -> Iterator[Ticker]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(bar_width=20),
        TextColumn("{task.percentage:>3.0f}%"), TimeElapsedColumn(), TextColumn("{task.fields[note]}", markup=False),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=pace.total, note="")

        def tick(done: float | int, note: str = "") -> None:
            pace.tick(done, time.monotonic())
            said = ", ".join(part for part in (pace.shown(), pace.eta(), note) if part)
            bar.update(task, completed=done, note=said)

        yield tick
        # Dozens of bars that came and went would bury the result.
        bar.live.transient = time.monotonic() - pace.start < LASTED_SECONDS


@contextmanager
def _lines(title: str, pace: _Pace, stream: TextIO | TextIOBase) -> Iterator[Ticker]:
    last = pace.start

    def tick(done: float | int, note: str = "") -> None:
        nonlocal last
        now = time.monotonic()
        pace.tick(done, now)
        if now - last < LINE_EVERY_SECONDS:
            return
        last = now
        said = ", ".join(part for part in (pace.shown(), pace.eta(), note) if part)
        print(f"{title}: {said}", file=stream, flush=True)

    yield tick
