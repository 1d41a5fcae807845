"""Many pictures: decoded in parallel, once, into the cache, with the unreadable ones listed by name."""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from decoct.data.cache import Entry, Key
from decoct.data.found import MODES, Wish
from decoct.data.images import UNREADABLE, Look, common_look, decode, look
from decoct.errors import SourceError
from decoct.machine import require_memory, usable_cores
from decoct.progress import progress

BLOCK_ROWS = 64
SHOWN = 10
Job = TypeVar("Job")
Answer = TypeVar("Answer")
Fetched = tuple[int, Sequence[Path | bytes | None]]


@runtime_checkable
class Pictures(Protocol):
    """Pictures that can be fetched as files or bytes, a few at a time, from one thread."""

    def __len__(self) -> int: ...

    def fetch(self, start: int, stop: int) -> Sequence[Path | bytes | None]: ...

    def name(self, row: int) -> str: ...


@dataclass(frozen=True)
class Bad:
    """A picture that cannot be read; `passing` where the system refused, which may be different next time."""

    row: int
    reason: str
    passing: bool


def decode_and_keep(
    called: str, key: Key, wish: Wish, pictures: Pictures, labels: NDArray[np.int64], *, about: dict[str, Any]
) -> Entry:
    """Decode all pictures into the cache and return the entry; `about` is kept with it.

    With a false "keep" in it the entry is not used again. The entry's facts gain "bad" (row, name, reason of each
    unreadable picture) and "notices". Raises `SourceError` where no picture can be read, and `OutputError` where the
    cache cannot be written.
    """
    with warnings.catch_warnings():
        # Pillow refuses pictures of more than 179 megapixels as bombs, and talks of one that is half as large.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return _decode_and_keep(called, key, wish, pictures, labels, about)


def _decode_and_keep(
    called: str, key: Key, wish: Wish, pictures: Pictures, labels: NDArray[np.int64], about: dict[str, Any]
) -> Entry:
    looks, bad = _look_at_all(called, pictures, wish)
    if not looks:
        raise _unreadable(called, [[one.row, pictures.name(one.row), one.reason] for one in bad], len(pictures))
    size, mode, notices = common_look(looks, wish.size, wish.mode)

    def facts() -> dict[str, Any]:
        seen = {one.row: one for one in reversed(bad)}
        listed = [[row, pictures.name(row), seen[row].reason] for row in sorted(seen)]
        keep = about.get("keep", True) and not any(one.passing for one in bad)
        return {**about, "bad": listed, "keep": keep, "notices": [*about.get("notices", []), *notices]}

    return wish.cache.save(key, _decoded(called, pictures, size, mode, bad), labels, facts)


def good_rows(called: str, entry: Entry, skip_bad: bool) -> tuple[NDArray[np.int64], list[str]]:
    """The rows of the source that the entry holds, in order, and notices about those left out.

    Raises `SourceError` naming the unreadable pictures unless `skip_bad`.
    """
    bad = entry.about["bad"]
    total = len(entry.labels)
    if bad and (not skip_bad or len(bad) == total):
        raise _unreadable(called, bad, total)
    notices = [f"{_count(len(bad), total)} could not be read and were left out: {_names(bad)}"] if bad else []
    return np.delete(np.arange(total), [row for row, _, _ in bad]), notices


def _look_at_all(called: str, pictures: Pictures, wish: Wish) -> tuple[list[Look], list[Bad]]:
    if wish.size is not None and wish.mode is not None:
        return [Look(*wish.size, gray=wish.mode == "gray")], []
    looks: list[Look] = []
    bad: list[Bad] = []
    with progress(f"{called}: looking at {len(pictures)} images", float(len(pictures))) as tick:
        for start, found in _ordered(_look_at, _fetched(pictures)):
            looks += [one for one in found if isinstance(one, Look)]
            bad += [one for one in found if isinstance(one, Bad)]
            tick(float(start + len(found)))
    return looks, bad


def _look_at(job: Fetched) -> tuple[int, list[Look | Bad]]:
    start, fetched = job
    return start, [_attempt(start + offset, picture, look) for offset, picture in enumerate(fetched)]


def _decoded(
    called: str, pictures: Pictures, size: tuple[int, int], mode: str, bad: list[Bad]
) -> Iterator[NDArray[np.uint8]]:
    """Blocks of decoded rows in order; unreadable ones are left out and added to `bad`."""
    shape = (MODES[mode], *size)
    # Finished blocks wait their turn, see `_ordered`.
    require_memory(
        f"{called}: decoding {len(pictures)} images to {size[0]}x{size[1]}",
        needed=min(len(pictures), (2 * usable_cores() + 1) * BLOCK_ROWS) * math.prod(shape),
        remedy="choose a smaller size, such as --size 64",
    )

    def work(job: Fetched) -> tuple[int, int, NDArray[np.uint8], list[Bad]]:
        start, fetched = job
        rows = np.empty((len(fetched), *shape), np.uint8)
        failed, filled = [], 0
        for offset, picture in enumerate(fetched):
            pixels = _attempt(start + offset, picture, lambda file: decode(file, size, mode))
            if isinstance(pixels, Bad):
                failed.append(pixels)
            else:
                rows[filled] = pixels
                filled += 1
        return start, len(fetched), rows[:filled], failed

    with progress(f"{called}: decoding {len(pictures)} images", float(len(pictures))) as tick:
        for start, count, rows, failed in _ordered(work, _fetched(pictures)):
            bad += failed
            yield rows
            tick(float(start + count), f"{len(bad)} unreadable" if bad else "")


def _attempt(row: int, picture: Path | bytes | None, read: Callable[[Path | bytes], Answer]) -> Answer | Bad:
    if picture is None:
        return Bad(row, "no image", passing=False)
    try:
        return read(picture)
    except UNREADABLE as error:
        refused = isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None)
        text = " ".join(str(error).split()) or type(error).__name__
        if "cannot identify image file" in text:
            text = "not an image"
        return Bad(row, text[:80], passing=refused)


def _fetched(pictures: Pictures) -> Iterator[Fetched]:
    for start in range(0, len(pictures), BLOCK_ROWS):
        yield start, pictures.fetch(start, min(start + BLOCK_ROWS, len(pictures)))


def _ordered(work: Callable[[Job], Answer], jobs: Iterable[Job]) -> Iterator[Answer]:
    """`work(job)` for each job on all cores, answers in the order of the jobs, only a few jobs ahead.

    Threads: Pillow decodes and scales without the interpreter's lock.
    """
    workers = usable_cores()
    pool = ThreadPoolExecutor(workers)
    try:
        waiting: deque = deque()
        for job in jobs:
            waiting.append(pool.submit(work, job))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _count(bad: int, total: int) -> str:
    return f"{bad} of {total} images"


def _names(bad: list[list[Any]]) -> str:
    shown = ", ".join(f"{name} ({reason})" for _, name, reason in bad[:SHOWN])
    return shown + (f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else "")


def _unreadable(called: str, bad: list[list[Any]], total: int) -> SourceError:
    lines = "".join(f"\n    {name}: {reason}" for _, name, reason in bad[:SHOWN])
    rest = f"\n    and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
    return SourceError(
        called,
        received=f"{_count(len(bad), total)} that cannot be read:{lines}{rest}",
        expected="whole image files",
        remedy="repair or remove them, or pass skip_bad=True (--skip-bad) to go on without them"
        if len(bad) < total
        else "check that these are image files that Pillow can read",
    )
