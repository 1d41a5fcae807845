"""Ctrl-C that waits for the end of a step, so that what is saved is a state that a whole run has too."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

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
