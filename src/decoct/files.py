"""Writing files so that a reader never sees half of one, and hashing them."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from decoct.errors import OutputError

_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space or choose another folder; nothing half-written is left"),
    errno.EDQUOT: ("the disk quota is used up", "free some space or choose another folder"),
    errno.EFBIG: ("the file would be larger than the system allows", "raise that limit or choose another folder"),
    errno.EROFS: ("the file system is read-only", "choose a folder that you can write to"),
    errno.EACCES: ("no permission to write there", "choose a folder that you can write to"),
    errno.EPERM: ("no permission to write there", "choose a folder that you can write to"),
    errno.ENOTDIR: ("a file stands where a folder is needed", "choose another folder"),
    errno.EEXIST: ("something else of that name exists", "choose another name or remove it"),
    errno.EISDIR: ("a folder stands where a file is needed", "choose another name"),
}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals while writing `path` into `OutputError`."""
    try:
        yield
    except OSError as error:
        reason, remedy = _REASONS.get(error.errno or 0, (str(error), "check the path and try again"))
        raise OutputError(
            f"writing {path}", received=reason, expected="a writable folder with enough space", remedy=remedy
        ) from error


def require_folder(path: Path) -> None:
    """Raise `OutputError` where `path`, or something above it, is there and is no folder."""
    standing = next((above for above in (path, *path.parents) if above.exists()), path)
    if standing.exists() and not standing.is_dir():
        raise OutputError(
            f"writing into {path}",
            received=f"{standing} is a file",
            expected="a folder, or a path where one can be made",
            remedy="choose another folder",
        )


def make_folder(path: Path) -> Path:
    """Create `path` and its parents; raises `OutputError` where that is refused."""
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def alone(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Keep other processes of decoct from `path` (a file or folder that is there), or wait until they are out of it.

    The system gives it free when a process ends, killed or not. Where there are no locks, all go in. Without `wait`
    raises `OutputError` where another process is in.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with writing(path):
        handle = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise OutputError(
                f"working in {path.parent}",
                received="a folder in which another process works on the same result",
                expected="a folder to itself",
                remedy="wait until it has ended, or choose another folder",
            ) from error
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(handle)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it into place; on failure nothing is left.

    Raises `OutputError` for a full disk, a read-only folder and the like.
    """
    make_folder(path.parent)
    with writing(path):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
        temporary = Path(name)
        try:
            write(temporary)
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically, as UTF-8."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON; NaN and infinity are refused so that every reader can read it."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def sha256(path: Path) -> str:
    """Hex digest of a file, read in blocks of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
