"""From a COCO json as it was read to a `DetectionSet`: every check that a source has to pass, and what is put right."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch

from decoct.data.detection.detection_set import DetectionSet, ImageId
from decoct.data.images import UNREADABLE, look
from decoct.errors import DataError, SourceError

SHOWN = 5
MARKS = ("iscrowd", "difficult")
"""What says of a box that nothing is to be learned from it alone."""
Entry = dict[str, Any]
Locate = Callable[[list[Entry]], Path]


def assemble(called: str, source: str, document: Any, locate: Locate, skip_bad: bool) -> DetectionSet:
    """Check `document` and make a `DetectionSet` of it; `locate` gives the folder that `file_name` starts at.

    Put right and told in `notices`: boxes that reach out of their image count as far as they lie in it; categories of
    the same name get their ids behind it. Told only: images without boxes, categories without boxes. Crowds (`iscrowd`)
    and boxes marked `difficult` are ignored boxes.
    Bad, and refused unless `skip_bad`: images whose file is missing, unreadable or of another size than the json says
    (left out then); boxes without area, wholly outside, not four finite numbers, of a category or an image that the
    json does not know, or with a mark that is no whole number (they stay in the json, and are not used). The json
    itself is never changed.

    Raises `DataError` for another form of JSON, no images, no categories, ids that occur twice and bad boxes;
    `SourceError` for bad images.
    """
    images = _entries(called, document, "images", ("id", "file_name"))
    categories = _entries(called, document, "categories", ("id", "name"))
    annotations = _entries(called, document, "annotations", ("image_id", "category_id", "bbox"), may_be_empty=True)
    _require_own_ids(called, "images", images)
    _require_own_ids(called, "categories", categories)
    document = {**document, "images": images, "annotations": annotations, "categories": categories}
    files, notices = _files(called, images, locate(images), skip_bad)
    rows: dict[ImageId, int] = {images[place]["id"]: row for row, place in enumerate(files)}
    kept = [images[place] for place in files]
    sizes = [size for _, size in files.values()]
    names, doubled = _class_names(categories)
    known = {entry["id"] for entry in images}
    numbers = {entry["id"]: number for number, entry in enumerate(categories)}
    boxes, told = _boxes(called, annotations, known, rows, numbers, sizes, skip_bad)
    found = DetectionSet(
        source=source,
        class_names=names,
        ids=tuple(rows),
        images=tuple(path for path, _ in files.values()),
        sizes=torch.tensor(sizes, dtype=torch.int64).reshape(-1, 2),
        boxes=torch.tensor([box for _, _, box, *_ in boxes], dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor([label for _, label, *_ in boxes], dtype=torch.int64),
        owners=torch.tensor([row for row, *_ in boxes], dtype=torch.int64),
        ignored=torch.tensor([crowd or hard for *_, crowd, hard in boxes], dtype=torch.bool),
        crowded=torch.tensor([crowd for *_, crowd, _ in boxes], dtype=torch.bool),
        document={**document, "images": kept},
        notices=(*notices, *doubled, *told),
    )
    return _with_counts(found)


def _class_names(categories: list[Entry]) -> tuple[tuple[str, ...], list[str]]:
    """A name of its own for each category, and a notice on those that the json gives to several.

    What is counted by name, in results and in manifests, would otherwise be one class in the place of two.
    """
    said = [str(entry["name"]) for entry in categories]
    counts = Counter(said)
    doubled = [name for name, count in counts.items() if count > 1]
    names: list[str] = []
    for entry, name in zip(categories, said, strict=True):
        own = name if counts[name] == 1 else f"{name} (id {entry['id']})"
        while own in names or (own != name and own in counts):
            own += "'"
        names.append(own)
    told = [f"{len(doubled)} names of several categories, which are told apart by their ids: {_some(doubled)}"]
    return tuple(names), told if doubled else []


def _with_counts(found: DetectionSet) -> DetectionSet:
    """Say which images and classes have no boxes."""
    shown = found.presence()
    notices = list(found.notices)
    if bare := int((~shown.any(1)).sum()):
        notices.append(f"{bare} of {len(found)} images have no boxes")
    if empty := [found.class_names[c] for c in (~shown.any(0)).nonzero()[:, 0].tolist()]:
        notices.append(f"{len(empty)} of {found.classes} categories have no boxes: {_some(empty)}")
    return replace(found, notices=tuple(notices))


def _entries(
    called: str, document: Any, name: str, keys: tuple[str, ...], *, may_be_empty: bool = False
) -> list[Entry]:
    """The list `name` of the document, each entry an object with these keys."""
    listed = document.get(name) if isinstance(document, dict) else None
    wrong = ""
    if not isinstance(document, dict):
        wrong = f"JSON that is a {type(document).__name__}"
    elif not isinstance(listed, list):
        wrong = f"an object without a list {name!r}; it has {_some([str(key) for key in document]) or 'nothing'}"
    elif not listed and not may_be_empty:
        wrong = f"an empty list {name!r}"
    else:
        for place, entry in enumerate(listed):
            lacking = [key for key in keys if not isinstance(entry, dict) or key not in entry]
            if lacking:
                wrong = f"{name}[{place}] without {' and '.join(map(repr, lacking))}"
                break
            if name != "annotations" and not _is_id(entry["id"]):
                wrong = f"{name}[{place}] with id {str(entry['id'])[:40]!r} of type {type(entry['id']).__name__}"
                break
            if name == "images" and not isinstance(entry["file_name"], str):
                wrong = f"{name}[{place}] with file_name {str(entry['file_name'])[:40]!r}"
                break
    if wrong:
        raise DataError(
            called,
            received=wrong,
            expected="an object with images (id, file_name), categories (id, name) and annotations (image_id, "
            "category_id, bbox), as COCO calls them; ids are whole numbers or texts",
            remedy="give the json of the boxes (instances_*.json); captions and lists of test images have none",
        )
    return listed or []


def _is_id(value: object) -> TypeGuard[ImageId]:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _require_own_ids(called: str, name: str, entries: list[Entry]) -> None:
    twice = [f"{value!r} ({count} times)" for value, count in Counter(e["id"] for e in entries).items() if count > 1]
    if twice:
        raise DataError(
            called,
            received=f"{len(twice)} ids that occur more than once in {name!r}: {_some(twice)}",
            expected=f"an id of its own for each of the {len(entries)} {name}",
            remedy="number them anew, or remove the copies: nothing tells which box belongs to which of them",
        )


def _files(
    called: str, images: list[Entry], folder: Path, skip_bad: bool
) -> tuple[dict[int, tuple[Path, tuple[int, int]]], list[str]]:
    """The good images: place in the json -> file, (height, width); and a notice on those left out."""
    good, bad = {}, []
    for place, entry in enumerate(images):
        path = folder / entry["file_name"]
        try:
            good[place] = (path, _size(path, entry))
        except UNREADABLE as error:
            text = "no such file" if isinstance(error, FileNotFoundError) else " ".join(str(error).split())[:80]
            bad.append(f"{entry['file_name']} ({'not an image' if 'cannot identify' in text else text})")
    if bad and (not skip_bad or not good):
        raise SourceError(
            called,
            received=f"{len(bad)} of {len(images)} images that cannot be used, looked for in {folder}: {_some(bad)}",
            expected="every image that the json names, whole and of the size it says",
            remedy="name the folder of the pictures (images=..., --images), or pass skip_bad=True (--skip-bad) to go "
            "on without them",
        )
    return good, [f"{len(bad)} of {len(images)} images were left out: {_some(bad)}"] if bad else []


def _size(path: Path, entry: Entry) -> tuple[int, int]:
    """Height and width in which boxes are counted: what the json says where the file can be read so, upright or not."""
    seen = look(path)
    said = tuple(entry.get(side) for side in ("height", "width"))
    if not all(isinstance(side, int) and side > 0 for side in said):
        return seen.height, seen.width
    if said not in ((seen.height, seen.width), (seen.width, seen.height)):
        raise ValueError(f"{seen.width}x{seen.height} pixels, {said[1]}x{said[0]} in the json")
    return int(said[0] or 0), int(said[1] or 0)


Box = tuple[int, int, tuple[float, float, float, float], bool, bool]
"""Row of the image, class, (left, top, right, bottom), around a crowd, marked difficult."""


def _boxes(
    called: str,
    annotations: list[Entry],
    known: set[ImageId],
    rows: Mapping[ImageId, int],
    numbers: Mapping[ImageId, int],
    sizes: list[tuple[int, int]],
    skip_bad: bool,
) -> tuple[list[Box], list[str]]:
    """Usable boxes, image by image, and notices on the rest."""
    boxes: list[Box] = []
    faults: dict[str, list[str]] = {}
    cut = 0
    for place, entry in enumerate(annotations):
        name = f"annotation {entry.get('id', f'number {place}')}"
        image, category = entry["image_id"], entry["category_id"]
        if not _is_id(image) or image not in known:
            faults.setdefault("of an image that the json does not know", []).append(f"{name} (image {image!r})")
        elif not _is_id(category) or category not in numbers:
            faults.setdefault("of an unknown category", []).append(f"{name} (category {category!r})")
        elif image in rows:
            row = rows[image]
            box, moved = _inside(entry["bbox"], sizes[row])
            marks = tuple(_mark(entry.get(key)) for key in MARKS)
            if box is None:
                faults.setdefault("without area inside the image", []).append(f"{name} ({_short(entry['bbox'])})")
            elif None in marks:
                said = ", ".join(f"{key} {_short(entry[key])}" for key in MARKS if _mark(entry.get(key)) is None)
                faults.setdefault("with a mark that is no whole number", []).append(f"{name} ({said})")
            else:
                cut += moved
                boxes.append((row, numbers[category], box, bool(marks[0]), bool(marks[1])))
    told = [f"{len(found)} boxes {what}: {_some(found)}" for what, found in faults.items()]
    if told and not skip_bad:
        raise DataError(
            called,
            received="; ".join(told),
            expected="boxes [left, top, width, height] in pixels with area inside their image, of a category and an "
            "image that the json lists, with 0 or 1 as iscrowd and difficult where they are marked",
            remedy="correct or remove them, or pass skip_bad=True (--skip-bad): they then stay in the json, unused",
        )
    notices = [f"{one}; they stay in the json and are not used" for one in told]
    if cut:
        notices.append(f"{cut} boxes reach out of their image; they count as far as they lie in it")
    return sorted(boxes, key=lambda box: box[0]), notices


def _inside(box: Any, size: tuple[int, int]) -> tuple[tuple[float, float, float, float] | None, bool]:
    """The part of `[left, top, width, height]` inside the image as sides, None without area; whether it was cut."""
    numbers = isinstance(box, list) and len(box) == 4 and all(isinstance(value, int | float) for value in box)
    # Compared, not asked whether they are finite: of a whole number with 400 digits that is an error.
    if not numbers or not all(abs(value) <= sys.float_info.max for value in box):
        return None, False
    left, top, wide, high = map(float, box)
    sides = (left, top, left + wide, top + high)
    inner = (max(0.0, left), max(0.0, top), min(float(size[1]), sides[2]), min(float(size[0]), sides[3]))
    if wide <= 0 or high <= 0 or not _has_area(inner):
        return None, False
    # Sums of decimals miss the edge by a rounding.
    moved = max(abs(a - b) for a, b in zip(inner, sides, strict=True)) > 1e-6 * max(size)
    return inner, moved


def _has_area(inner: tuple[float, float, float, float]) -> bool:
    """Whether there is something between the sides, in single precision too, in which boxes are kept."""
    if inner[2] <= inner[0] or inner[3] <= inner[1]:
        return False
    left, top, right, bottom = map(np.float32, inner)
    return bool(right > left and bottom > top)


def _mark(value: Any) -> int | None:
    """A whole number, also as a text; 0 where nothing is said, None for anything else."""
    try:
        number = 0.0 if value is None else float(value)
        return int(number) if number.is_integer() else None
    except (TypeError, ValueError, OverflowError):
        return None


def _short(value: Any) -> str:
    return str(value)[:60]


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
