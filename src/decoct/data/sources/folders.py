"""Walking folders of images: which folders and files count, in a fixed order, and what the system does not let in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from decoct.errors import SourceError

SUFFIXES = frozenset({
    ".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".bmp", ".dib", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm",
    ".pnm", ".avif", ".jp2",
})  # fmt: skip


def visible_folders(folder: Path) -> list[str]:
    """Names of the folders inside `folder` that are neither hidden nor left by an archiver, sorted."""
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not _ignored(entry.name))


def images_below(folder: Path) -> Iterator[Path]:
    """Image files anywhere below `folder`, folder by folder in sorted order; links are followed once, and never up.

    Raises `PermissionError` and the like for a folder that cannot be read.
    """
    # A link to a folder above would bring in what lies beside this one.
    seen = {os.path.realpath(above) for above in (*folder.absolute().parents, *folder.resolve().parents)}
    for here, inner, files in os.walk(folder, followlinks=True, onerror=_raised):
        real = os.path.realpath(here)
        inner[:] = [] if real in seen else sorted(name for name in inner if not _ignored(name))
        if real not in seen:
            yield from (Path(here, name) for name in sorted(files) if is_image(name))
        seen.add(real)


def is_image(name: str) -> bool:
    """Whether a file of this name counts as an image: by its ending, unless it is hidden."""
    return not _ignored(name) and os.path.splitext(name)[1].lower() in SUFFIXES


@contextmanager
def readable(called: str) -> Iterator[None]:
    """What the system does not let this person read, as `SourceError`."""
    try:
        yield
    except PermissionError as error:
        raise SourceError(
            called,
            received=f"no permission to read {error.filename}",
            expected="folders and files that you may read",
            remedy="ask their owner, change their mode (chmod -R u+rX FOLDER), or copy what you may read",
        ) from error


def _raised(error: OSError) -> None:
    raise error


def _ignored(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"
