"""Which boxes of a COCO json can be learned from, as far as they lie in their image."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from decoct.data.detection.detection_set import ImageId
from decoct.data.detection.entries import Entry, is_id, some
from decoct.errors import DataError

MARKS = ("iscrowd", "difficult")
"""What says of a box that nothing is to be learned from it alone."""
Box = tuple[int, int, tuple[float, float, float, float], bool, bool]
"""Row of the image, class, (left, top, right, bottom), around a crowd, marked difficult."""


def usable_boxes(
    called: str,
    annotations: list[Entry],
    known: set[ImageId],
    rows: Mapping[ImageId, int],
    numbers: Mapping[ImageId, int],
    sizes: list[tuple[int, int]],
    skip_bad: bool,
) -> tuple[list[Box], list[str]]:
    """Usable boxes, image by image, and notices on the rest.

    `known` are the ids of all images, `rows` those of the good ones, whose `sizes` are (height, width); `numbers` are
    the classes of the categories. Raises `DataError` for boxes that cannot be used, unless `skip_bad`.
    """
    boxes: list[Box] = []
    faults: dict[str, list[str]] = {}
    cut = 0
    for place, entry in enumerate(annotations):
        name = f"annotation {entry.get('id', f'number {place}')}"
        image, category = entry["image_id"], entry["category_id"]
        if not is_id(image) or image not in known:
            faults.setdefault("of an image that the json does not know", []).append(f"{name} (image {image!r})")
        elif not is_id(category) or category not in numbers:
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
    told = [f"{len(found)} boxes {what}: {some(found)}" for what, found in faults.items()]
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
