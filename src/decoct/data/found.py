"""What a source is asked (`Wish`) and what it hands over (`Found`) before splitting and normalising."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decoct.data.cache import Cache
from decoct.data.dataset import Split
from decoct.errors import ConfigError

PARTS = ("all", "train", "val", "test")
ID_NAMES = ("uid", "id", "key")
"""Names under which sources keep what their rows are called, the one that counts first."""
MODES = {"gray": 1, "rgb": 3}
_ALIASES = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


def part_named(name: str) -> str | None:
    """The part that a folder, file or split of this name ("training_set") holds: "train", "val", "test", or None."""
    return _ALIASES.get(re.sub(r"[-_ ]?set$", "", name.lower()))


@dataclass(frozen=True)
class Wish:
    """How the caller wants the rows of a source, whatever the source."""

    cache: Cache
    """Where decoded images are kept, and from which size on arrays are memory-mapped."""
    size: tuple[int, int] | None = None
    """Height and width of images in pixels; None for the source's own."""
    mode: str | None = None
    """"gray" or "rgb"; None for the source's own."""
    skip_bad: bool = False
    """Leave out images that cannot be read instead of refusing the source."""


@dataclass(frozen=True, eq=False)
class Found:
    """The rows of a source by part: "all" alone, or "train" with "val" and "test" where the source has them.

    Rows are raw as `Split` wants them; labels are whole numbers whose range nobody has checked yet. `class_names` is
    None where the source has no names.
    """

    parts: dict[str, Split]
    class_names: tuple[str, ...] | None = None
    notices: tuple[str, ...] = ()

    @property
    def base(self) -> str:
        """The part from which missing ones are cut."""
        return "train" if "train" in self.parts else "all"


def file_state(path: Path) -> tuple[int, int]:
    """Size and time of change; a link to nothing has none, and is found unreadable later."""
    try:
        status = path.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def numbered_ids(part: str, count: int) -> NDArray[Any]:
    """Ids of rows that have no names of their own: "train/0", "train/1"."""
    return np.char.add(f"{part}/", np.arange(count).astype(f"U{len(str(count))}"))


def parse_size(size: object) -> tuple[int, int] | None:
    """`size` as (height, width); raises `ConfigError` unless it is one or two positive whole numbers."""
    if size is None:
        return None
    sides = _sides(size)
    if len(sides) != 2 or min(sides) <= 0:
        raise ConfigError(
            "reading the image size",
            received=f"size={size!r}",
            expected="a whole number of pixels above 0, or (height, width)",
            remedy="write size=32 or size=(24, 32)",
        )
    return sides[0], sides[1]


def _sides(size: Any) -> list[int]:
    """The whole numbers of `size`, also those of NumPy, and one alone twice; nothing where it is another thing."""
    try:
        values = list(size) if isinstance(size, Iterable) else [size, size]
        return [] if any(isinstance(value, bool) for value in values) else [operator.index(value) for value in values]
    except TypeError:
        return []


def parse_mode(mode: str | None) -> str | None:
    """`mode` as "gray" or "rgb" (Pillow's "L" and "RGB" are understood too); raises `ConfigError` for another."""
    known = {"gray": "gray", "grey": "gray", "l": "gray", "rgb": "rgb", "color": "rgb", "colour": "rgb"}
    if mode is None:
        return None
    if mode.lower() not in known:
        raise ConfigError(
            "reading the image mode",
            received=f"mode={mode!r}",
            expected="'gray' or 'rgb'",
            remedy="write mode='gray' or mode='rgb', or leave it out to keep the source's own",
        )
    return known[mode.lower()]
