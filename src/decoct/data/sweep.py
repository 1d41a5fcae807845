"""Files of the cache that nobody uses any more: marked at every use, removed where the last one is long ago."""

from __future__ import annotations

import os
import re
import shutil
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

UNUSED_SECONDS = 30 * 24 * 3600
"""What was not used for so long goes."""
LEFTOVER_SECONDS = 24 * 3600
"""What is half written, and was not written to for so long, was left by a process that was killed."""
# A person may have named a folder in which other files lie, too: only names that the cache gives are touched.
_NAME = r"(?:(?:npz-)?[0-9a-f]{16}-[0-9a-f]{32}|(?:npz|taken)-[0-9a-f]{32})\.(?:json|npy|rows\.npy|labels\.npy)"
_KEPT = re.compile(_NAME)
_HALF_WRITTEN = re.compile(rf"\.(?:{_NAME}|\.probe)\.\w{{8}}\.part")
_COPY = re.compile(r"\.(csv|parquet)-\w{8}")
"""Folders in which earlier versions had the library copy a table."""


def mark_used(path: Path) -> None:
    """Note that `path` is used now, where that is allowed: a cache may be one of another person."""
    with suppress(OSError):
        os.utime(path)


@cache
def sweep(folder: Path) -> None:
    """Remove what was not used for 30 days and what killed processes left in the cache `folder`, once in a process.

    A process that has mapped such a file goes on with it: it only loses its name. What cannot be removed stays.
    """
    now = time.time()
    with suppress(OSError), os.scandir(folder) as found:
        for one in found:
            with suppress(OSError):
                _remove_old(one, now)


def _remove_old(one: os.DirEntry[str], now: float) -> None:
    status = one.stat(follow_symlinks=False)
    # Who may read a cache but not mark its files leaves the time of reading.
    unused, unwritten = now - max(status.st_mtime, status.st_atime), now - status.st_mtime
    copy = _COPY.fullmatch(one.name)
    if copy and unwritten > LEFTOVER_SECONDS and Path(one.path, copy[1]).is_dir():
        shutil.rmtree(one.path)
    elif (_KEPT.fullmatch(one.name) and unused > UNUSED_SECONDS) or (
        _HALF_WRITTEN.fullmatch(one.name) and unwritten > LEFTOVER_SECONDS
    ):
        os.unlink(one.path)
