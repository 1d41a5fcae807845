"""Ctrl-C that waits for the end of a step, so that what is saved is a state that a whole run has too."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from decoct.durations import show_duration
from decoct.errors import InterruptedRunError

if TYPE_CHECKING:
    from decoct.distillation.run import Distillation
    from decoct.distillation.workplace import Workplace

_NAME_A_FOLDER = "name a folder (--out DIR) to be able to resume; without one nothing was kept"
NOTICE = b"\nstopping after this step; press Ctrl-C again to stop at once, without saving\n"


@contextmanager
def held_back() -> Iterator[Callable[[], bool]]:
    """Hold Ctrl-C back; the function that is yielded says whether it was pressed. A second press stops at once.

    A step that is cut in two leaves random streams and moments between two states, and a run resumed from there ends
    with other bits. Nothing is held back outside the main thread, and where the program has its own way with SIGINT.
    """
    foreign = signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    if foreign or threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    pressed = False

    def hold(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True
        # Not print: a handler may come in the middle of another write.
        os.write(2, NOTICE)

    signal.signal(signal.SIGINT, hold)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def interrupted(run: Distillation, place: Workplace) -> InterruptedRunError:
    """Stopped between two steps, with the state saved where there is a folder."""
    kept = f"give the same command again: the state is saved in {place.folder} and the run goes on from there"
    return _stopped(run, kept if place.folder is not None else _NAME_A_FOLDER)


def cut_off(run: Distillation | None, place: Workplace) -> InterruptedRunError:
    """Stopped in the middle of a step, or before there is a run (`None`), from where nothing can go on."""
    again = "give the same command again: the run goes on from its last checkpoint" + (
        f" in {place.folder}" if place.has_checkpoint else ", or from its beginning where there is none yet"
    )
    return _stopped(run, again if place.folder is not None else _NAME_A_FOLDER)


def _stopped(run: Distillation | None, remedy: str) -> InterruptedRunError:
    when = "while it was set up" if run is None else f"at step {run.step}, after {show_duration(run.elapsed)}"
    return InterruptedRunError(
        "distilling",
        received=f"an interrupt {when}",
        expected="the run to reach its end",
        remedy=remedy,
    )
