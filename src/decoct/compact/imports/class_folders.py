"""A folder of pictures for each class, as SRe2L, RDED and others publish their sets."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from decoct.compact.imports.weights_only import read_tensors
from decoct.data.images import UNREADABLE, decode, look
from decoct.errors import MismatchError, SourceError

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
LABEL_FILES = ("labels.npz", "labels.safetensors", "labels.pt")


def read_class_folders(
    folder: Path, class_names: tuple[str, ...], shape: tuple[int, ...]
) -> tuple[UInt8[Tensor, "n c h w"], Int64[Tensor, " n"], Float[Tensor, "n C"] | None, tuple[Path, ...]]:
    """Pictures `[n, c, h, w]` of the sorted paths, their classes, soft labels where there is a file of them, all files.

    Folders bear the names of the classes, or end in numbers ("new003", "00003") that are places in the order of the
    classes; every class must have one. Which class a folder means is never guessed from its rank. Pictures must have
    the size of the data: a published set is not resized behind anyone's back.
    Raises `MismatchError` and `SourceError`.
    """
    named = {path.name: path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")}
    places = _places(folder, tuple(named), class_names)
    files = [(p, place) for name, place in places.items() for p in sorted(named[name].rglob("*"))
             if p.suffix.lower() in PICTURES]  # fmt: skip
    files.sort(key=lambda item: item[0].relative_to(folder).as_posix())
    empty = set(range(len(class_names))) - {place for _, place in files}
    if empty:
        names = ", ".join(class_names[place] for place in sorted(empty)[:5])
        raise SourceError(
            f"importing {folder}",
            received=f"no picture of {len(empty)} classes ({names})",
            expected=f"pictures ({', '.join(PICTURES)}) of every class",
            remedy="check the folder",
        )
    pictures = torch.stack([_picture(path, shape) for path, _ in files])
    classes = torch.tensor([place for _, place in files])
    labels, more = _labels(folder, classes, len(class_names))
    return pictures, classes, labels, (*(path for path, _ in files), *more)


def _places(folder: Path, names: tuple[str, ...], class_names: tuple[str, ...]) -> dict[str, int]:
    if set(names) == set(class_names):
        return {name: class_names.index(name) for name in names}
    numbers = {name: int(match.group(1)) for name in names if (match := re.search(r"(\d+)$", name))}
    if len(numbers) == len(names) and sorted(numbers.values()) == list(range(len(class_names))):
        return numbers
    unknown = sorted(set(names) - set(class_names))[:5]
    raise MismatchError(
        f"importing {folder}",
        received=f"{len(names)} folders" + (f", among them {', '.join(unknown)}" if unknown else ""),
        expected=f"one for each of {len(class_names)} classes ({', '.join(class_names[:5])}, ...), or numbers from 0",
        remedy="name the folders after the classes of the data; their order is never guessed",
    )


def _picture(path: Path, shape: tuple[int, ...]) -> UInt8[Tensor, "c h w"]:
    try:
        seen = look(path)
        pixels = decode(path, (seen.height, seen.width), "gray" if shape[0] == 1 else "rgb")
    except UNREADABLE as error:
        raise SourceError(
            f"importing {path}",
            received=f"a picture that cannot be read ({type(error).__name__})",
            expected="a whole picture",
            remedy="take a fresh copy of the set",
        ) from error
    if pixels.shape != shape:
        raise MismatchError(
            f"importing {path}",
            received=f"a picture of {seen.height}x{seen.width}",
            expected=f"{shape[1]}x{shape[2]}, the size of the data",
            remedy=f"open the data with --size {seen.height}x{seen.width}",
        )
    return torch.from_numpy(np.ascontiguousarray(pixels))


def _labels(
    folder: Path, classes: Int64[Tensor, " n"], count: int
) -> tuple[Float[Tensor, "n C"] | None, tuple[Path, ...]]:
    path = next((folder / name for name in LABEL_FILES if (folder / name).is_file()), None)
    if path is None:
        return None, ()
    found = read_tensors(path)
    values = found if isinstance(found, Tensor) else found.get("labels") if isinstance(found, dict) else None
    if not isinstance(values, Tensor) or tuple(values.shape) != (len(classes), count):
        shown = f"shape {list(values.shape)}" if isinstance(values, Tensor) else "no tensor 'labels'"
        raise MismatchError(
            f"importing {path}",
            received=shown,
            expected=f"[{len(classes)}, {count}]: one soft label a picture, in the order of the sorted paths",
            remedy="write them in that order, or remove the file to use hard labels",
        )
    return values.float(), (path,)
