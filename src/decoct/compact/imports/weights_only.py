"""Reading foreign files of tensors without running anything that stands in them."""

from __future__ import annotations

import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from decoct.compact.imports.numpy_numbers import stand_ins
from decoct.data.archives import DAMAGED
from decoct.errors import IntegrityError, SourceError

MOST_BYTES = 4 << 30
"""Of a file and of what it unpacks to; published sets are far below, so more is a mistake or an attack."""
MOST_LEVELS = 32
"""Of lists and dictionaries in one another; published sets have three."""
_BROKEN = (
    RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError, AssertionError, OverflowError,
    MemoryError, struct.error, zipfile.BadZipFile,
)  # fmt: skip
"""What `torch.load` raises for a file that is not whole, beside `UnpicklingError`; the old form, without an archive and
its sums, is read up to the place where it breaks."""


def read_tensors(path: Path) -> Any:
    """What stands in a `.pt`, `.pth`, `.npz` or `.safetensors` file: tensors in dictionaries and lists.

    `.pt` files are read by `torch.load(weights_only=True)`: tensors, numbers, text, lists and dictionaries, and the
    numpy numbers that the field's scripts keep beside them (accuracies), as plain ones. Anything else in the pickle,
    every function and every class, is refused before it is called. `.npz` files are read without pickle.

    Raises `SourceError` where there is no such file or its kind is unknown, and for sparse and other tensors that are
    no plain numbers, `IntegrityError` for pickled code, a damaged file, more than `MOST_BYTES` in it or unpacked out
    of it, tensors larger than what the file holds, and lists in more than `MOST_LEVELS` others.
    """
    if not path.is_file():
        raise SourceError(
            f"importing {path}",
            received="no such file",
            expected="a .pt, .pth, .npz or .safetensors file, or a folder",
            remedy="check the path",
        )
    if path.stat().st_size > MOST_BYTES:
        raise _damaged(path, f"{path.stat().st_size:,} bytes", f"at most {MOST_BYTES:,}")
    if path.suffix == ".npz":
        return _npz(path)
    if path.suffix == ".safetensors":
        return _safetensors(path)
    if path.suffix in (".pt", ".pth"):
        return _pt(path)
    raise SourceError(
        f"importing {path}",
        received=f"a file ending in {path.suffix or 'nothing'}",
        expected=".pt, .pth, .npz or .safetensors",
        remedy="save the tensors in one of these forms",
    )


def _pt(path: Path) -> Any:
    try:
        if zipfile.is_zipfile(path):
            _require_small(path)
        with torch.serialization.safe_globals(stand_ins()):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise IntegrityError(
            f"importing {path}",
            received=f"a pickle that wants more than tensors and numbers: {_first_line(error)}",
            expected="tensors, numbers, text, lists and dictionaries; code in a file is never run",
            remedy="ask its authors for the tensors alone, or, if you trust them, load the file yourself and save "
            "images and labels with torch.save({'images': ..., 'labels': ...}, path)",
        ) from error
    except _BROKEN as error:
        raise _damaged(path, f"{type(error).__name__}: {_first_line(error)}", "a whole file") from error
    _require_whole(path, found)
    return found


def _npz(path: Path) -> dict[str, Tensor]:
    try:
        _require_small(path)
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
        return {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in found.items() if a.dtype.kind in "biuf"}
    except DAMAGED as error:
        words = "arrays of numbers; arrays of objects are pickles and never read"
        raise _damaged(path, f"{type(error).__name__}: {_first_line(error)}", words) from error


def _require_small(path: Path) -> None:
    """Refuse an archive that unpacks to more than `MOST_BYTES`: its members may be packed, in a `.pt` file too."""
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > MOST_BYTES:
        raise _damaged(path, f"an archive that unpacks to {size:,} bytes", f"at most {MOST_BYTES:,}")


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged(path, f"{type(error).__name__}: {_first_line(error)}", "a safetensors file") from error


def _require_whole(path: Path, found: Any) -> None:
    """Refuse tensors that read the same bytes over and over, which a few bytes can make as large as they like, those
    that are no plain numbers, and what is nested without end."""
    left = [(found, 0)]
    # A list that stands in many places is looked at once for each depth: neither one that holds itself nor one that
    # doubles with each level takes longer than the file is large.
    seen: set[tuple[int, int]] = set()
    while left:
        value, depth = left.pop()
        if depth > MOST_LEVELS:
            raise _damaged(path, "lists in lists, or one that holds itself", f"at most {MOST_LEVELS} levels")
        if isinstance(value, Tensor):
            _require_held(path, value)
        elif isinstance(value, dict | list | tuple) and (id(value), depth) not in seen:
            seen.add((id(value), depth))
            left += [(inner, depth + 1) for inner in (value.values() if isinstance(value, dict) else value)]


def _require_held(path: Path, found: Tensor) -> None:
    _require_plain(path, found)
    if found.numel() * found.element_size() > max(found.untyped_storage().nbytes(), 1):
        raise _damaged(
            path, f"a tensor of shape {list(found.shape)} over {found.untyped_storage().nbytes()} bytes",
            "tensors whose values all stand in the file",
        )  # fmt: skip


def _require_plain(path: Path, found: Tensor) -> None:
    odd = [
        name for name, there in (
            (f"{found.layout}".removeprefix("torch."), found.layout != torch.strided), ("nested", found.is_nested),
            ("quantised", found.is_quantized), ("complex", found.is_complex()), ("empty (meta)", found.is_meta),
        ) if there
    ]  # fmt: skip
    if odd:
        raise SourceError(
            f"importing {path}",
            received=f"a {odd[0]} tensor",
            expected="dense tensors of real numbers",
            remedy="load the file yourself and save images and labels as plain tensors (tensor.to_dense())",
        )


def _first_line(error: BaseException) -> str:
    """The line of torch's message that names what was refused."""
    told = str(error).rpartition("WeightsUnpickler error:")[2]
    lines = [line.strip() for line in told.splitlines() if line.strip()] or [type(error).__name__]
    return next((line for line in lines if "GLOBAL" in line), lines[0])[:300]


def _damaged(path: Path, received: str, expected: str) -> IntegrityError:
    return IntegrityError(
        f"importing {path}", received=received, expected=expected, remedy="take a fresh copy of the file"
    )
