"""The folder in which the shards and picks of a selection are kept until it is finished."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from decoct.errors import OutputError
from decoct.files import alone, make_folder, writing

WORK = ".decoct-shards"
"""Its name inside the folder of the result."""
MARK = ".made-by-decoct"
"""The file in it that says whose it is."""
_PICKS = re.compile(r"\S+\.safetensors|\.\S+\.safetensors\.\S+\.part|\.partition-[0-9a-f]{16}\.lock")
_PARTITION = re.compile(r"partition-[0-9a-f]{16}(\.part)?")
_SHARDS = re.compile(r"\S+\.(rows|numbers)|partition\.json|\.partition\.json\.\S+\.part")


@contextmanager
def working(out: Path | None) -> Iterator[Path]:
    """Where shards and picks are kept: inside the folder of the result, else in a folder that goes away.

    Raises `OutputError` where something of that name stands there that decoct did not make, and where another process
    selects into the same folder: the first that ends would remove what the other picks from.
    """
    if out is None:
        with tempfile.TemporaryDirectory(prefix="decoct-shards-") as folder:
            yield Path(folder)
        return
    work = out / WORK
    require_own(work)
    make_folder(work)
    with writing(work / MARK):
        (work / MARK).touch()
    with alone(work / MARK, wait=False):
        yield work


def require_own(work: Path) -> None:
    """Raise `OutputError` for a folder that holds something and is not marked as decoct's."""
    if work.is_dir() and not (work / MARK).is_file() and any(work.iterdir()):
        raise OutputError(
            f"keeping shards in {work}",
            received="a folder of that name that decoct did not make",
            expected="no such folder, or what a stopped selection left",
            remedy="choose another folder for the result, or move this one away",
        )


def clear(work: Path) -> None:
    """Remove what a selection wrote into its folder, and the folder where nothing else is in it.

    What cannot be removed stays; so does everything in a folder without the mark. Nothing happens without a folder.
    """
    if not (work / MARK).is_file():
        # Without a mark an empty folder may go, which is what a stop between the last two steps leaves.
        with suppress(OSError):
            work.rmdir()
        return
    with suppress(OSError):
        for path in list(work.iterdir()):
            if path.is_dir() and not path.is_symlink() and _PARTITION.fullmatch(path.name):
                _remove_files(path, _SHARDS)
                with suppress(OSError):
                    path.rmdir()
        _remove_files(work, _PICKS)
        # The mark goes last, so that a stop in between leaves a folder that is known as ours.
        if [path.name for path in work.iterdir()] == [MARK]:
            (work / MARK).unlink()
            work.rmdir()


def _remove_files(folder: Path, names: re.Pattern[str]) -> None:
    for path in list(folder.iterdir()):
        if names.fullmatch(path.name) and not path.is_dir():
            path.unlink()
