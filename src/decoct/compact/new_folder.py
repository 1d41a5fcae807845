"""A folder that appears whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from decoct.errors import OutputError
from decoct.files import make_folder, writing


def write_new_folder(path: Path, fill: Callable[[Path], object]) -> None:
    """Let `fill` write a staging folder beside `path`, then rename it into place; on failure nothing is left.

    Raises `OutputError` where something stands at `path` that is no empty folder, and where it cannot be written.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise OutputError(
            f"exporting a set to {path}",
            received="something that stands there already",
            expected="a new or an empty folder",
            remedy="choose another path, or remove what is there",
        )
    make_folder(path.parent)
    with writing(path):
        staging = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
        try:
            whole = staging / "whole"
            whole.mkdir()
            fill(whole)
            if path.exists():
                path.rmdir()
            whole.replace(path)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
