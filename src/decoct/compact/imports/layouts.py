"""The layouts in which the field publishes sets, each brought to images and labels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxtyping import Int64, Shaped
from torch import Tensor

from decoct.compact.imports.class_folders import read_class_folders
from decoct.compact.imports.weights_only import read_tensors
from decoct.errors import ConfigError, SourceError

IMAGE_KEYS = ("images", "image", "x", "x_syn", "x_proto", "image_syn", "syn_images", "data", "pixels")
LABEL_KEYS = ("labels", "label", "y", "y_syn", "y_proto", "label_syn", "syn_labels", "target", "targets")
RATE_KEYS = ("lr", "syn_lr", "lr_best")


@dataclass(frozen=True, eq=False)
class Foreign:
    """What a published file holds: images, labels where there are any, and a step size learned with them."""

    images: Shaped[Tensor, "n ..."]
    labels: Shaped[Tensor, "_ ..."] | None
    layout: str
    """Which layout it was, in words."""
    files: tuple[Path, ...]
    """Everything that was read."""
    learned: dict[str, Any] = field(default_factory=dict)
    classes: Int64[Tensor, " n"] | None = None
    """The class of each row, where something but the labels says it."""


def read_layout(path: Path, class_names: tuple[str, ...], shape: tuple[int, ...], experiment: int = 0) -> Foreign:
    """Read `path`, whatever its layout.

    - DC, DSA, DM: `{"data": [[images, labels], ...]}`, an entry an experiment (`experiment` picks one, and is 0 for all
      other layouts);
    - MTT, TESLA, FTD, DATM: `images_best.pt` beside `labels_best.pt` and perhaps `lr_best.pt` (name the images, or the
      folder: "best" is taken, else the highest number);
    - IDC, NCFM: `[images, labels]` in one file;
    - a dictionary, `.npz` or `.safetensors` with images and labels under one of the usual names;
    - SRe2L, RDED, D4M: a folder with a folder of pictures for each class, and perhaps `labels.npz`, `.pt` or
      `.safetensors` with one soft label a picture, in the order of the sorted paths.

    Raises `SourceError` for what is none of these, `IntegrityError` for pickled code and damaged files,
    `MismatchError` for class folders that are not the classes of the data, and `ConfigError` for an `experiment` of a
    layout that holds one set.
    """
    if path.is_dir():
        _require_first(path, experiment)
        images = _best_images(path)
        if images is not None:
            return _pair(images, read_tensors(images))
        pictures, classes, labels, files = read_class_folders(path, class_names, shape)
        return Foreign(pictures, classes if labels is None else labels, "a folder for each class", files, {}, classes)
    found = read_tensors(path)
    if isinstance(found, dict) and isinstance(found.get("data"), list | tuple):
        return _experiment(path, found["data"], experiment)
    _require_first(path, experiment)
    if isinstance(found, Tensor):
        return _pair(path, found)
    if isinstance(found, list | tuple):
        return _two(path, found, "a list of images and labels")
    if isinstance(found, dict):
        return _named(path, found)
    raise _unknown(path, f"a {type(found).__name__}")


def _best_images(folder: Path) -> Path | None:
    best = folder / "images_best.pt"
    if best.is_file():
        return best
    numbered = {int(m.group(1)): p for p in folder.glob("images_*.pt") if (m := re.fullmatch(r"images_(\d+)", p.stem))}
    return numbered[max(numbered)] if numbered else None


def _pair(path: Path, images: Any) -> Foreign:
    """Images in one file, labels and step size in files named alike."""
    if not isinstance(images, Tensor):
        raise _unknown(path, f"a {type(images).__name__} where images were expected")
    files, labels, learned = [path], None, {}
    beside = path.with_name(path.name.replace("images", "labels", 1))
    if beside != path and beside.is_file():
        labels = read_tensors(beside)
        files.append(beside)
        if not isinstance(labels, Tensor):
            raise _unknown(beside, f"a {type(labels).__name__} where labels were expected")
    rate = path.with_name(path.name.replace("images", "lr", 1))
    if rate != path and rate.is_file():
        learned = _rate(read_tensors(rate))
        files.append(rate)
    return Foreign(images, labels, "images and labels in files of their own", tuple(files), learned)


def _experiment(path: Path, entries: Any, experiment: int) -> Foreign:
    if not 0 <= experiment < len(entries):
        raise SourceError(
            f"importing {path}",
            received=f"experiment {experiment} of {len(entries)}",
            expected=f"a number from 0 to {len(entries) - 1}",
            remedy="choose one with --experiment",
        )
    return _two(path, entries[experiment], f"experiment {experiment} of {len(entries)}")


def _require_first(path: Path, experiment: int) -> None:
    if experiment != 0:
        raise ConfigError(
            f"importing {path}",
            received=f"experiment {experiment} of a layout that holds one set",
            expected="a file of several, {'data': [[images, labels], ...]} (DC, DSA, DM)",
            remedy="leave --experiment out, or name the file that has several",
        )


def _two(path: Path, found: Any, layout: str) -> Foreign:
    two = isinstance(found, list | tuple) and len(found) == 2 and all(isinstance(part, Tensor) for part in found)
    if not two:
        shown = f"{len(found)} parts" if isinstance(found, list | tuple) else f"a {type(found).__name__}"
        raise _unknown(path, shown)
    return Foreign(found[0], found[1], layout, (path,))


def _named(path: Path, found: Mapping[Any, Any]) -> Foreign:
    def first(names: tuple[str, ...]) -> Any:
        return next((found[name] for name in names if isinstance(found.get(name), Tensor)), None)

    images, labels = first(IMAGE_KEYS), first(LABEL_KEYS)
    if images is None:
        raise _unknown(path, f"a dictionary with {', '.join(sorted(map(str, found)))[:200] or 'nothing'}")
    rate = next((found[name] for name in RATE_KEYS if name in found), None)
    return Foreign(images, labels, "a dictionary of tensors", (path,), _rate(rate))


def _rate(value: Any) -> dict[str, Any]:
    """One positive step size, or nothing: a schedule belongs to one order of the rows."""
    number = value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
    return {"lr": float(number)} if isinstance(number, int | float) and number > 0 else {}


def _unknown(path: Path, received: str) -> SourceError:
    return SourceError(
        f"importing {path}",
        received=received,
        expected="one of the layouts of the field: {'data': [[images, labels], ...]}, images_best.pt beside "
        f"labels_best.pt, [images, labels], images and labels by name ({', '.join(IMAGE_KEYS[:4])}, ...), or a folder "
        "for each class",
        remedy="save images and labels with torch.save({'images': ..., 'labels': ...}, path) and import that",
    )
