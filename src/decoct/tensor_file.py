"""Tensors in one safetensors file that a reader never sees half of."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from decoct.files import write_atomically


def write_tensors(path: Path, tensors: Mapping[str, Tensor], head: Mapping[str, str] | None = None) -> None:
    """Write tensors, and text beside them, to `path` atomically; raises `OutputError` for a full disk and the like."""
    write_atomically(path, lambda file: _save(file, dict(tensors), dict(head) if head else None))


def _save(path: Path, tensors: dict[str, Tensor], head: dict[str, str] | None) -> None:
    """Raises `OSError` where the library tells a refusal of the system only in words."""
    try:
        save_file(tensors, path, head)
    except SafetensorError as error:
        if told := re.search(r"os error (\d+)", str(error)):
            number = int(told[1])
            raise OSError(number, os.strerror(number), str(path)) from error
        raise
