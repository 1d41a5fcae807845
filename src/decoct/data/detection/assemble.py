"""From a COCO json as it was read to a `DetectionSet`: every check that a source has to pass, and what is put right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from decoct.data.detection.boxes import usable_boxes
from decoct.data.detection.detection_set import DetectionSet, ImageId
from decoct.data.detection.entries import Entry, entries_of, require_own_ids, some
from decoct.data.images import UNREADABLE, look
from decoct.errors import SourceError

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
    images = entries_of(called, document, "images", ("id", "file_name"))
    categories = entries_of(called, document, "categories", ("id", "name"))
    annotations = entries_of(called, document, "annotations", ("image_id", "category_id", "bbox"), may_be_empty=True)
    require_own_ids(called, "images", images)
    require_own_ids(called, "categories", categories)
    document = {**document, "images": images, "annotations": annotations, "categories": categories}
    files, notices = _files(called, images, locate(images), skip_bad)
    rows: dict[ImageId, int] = {images[place]["id"]: row for row, place in enumerate(files)}
    kept = [images[place] for place in files]
    sizes = [size for _, size in files.values()]
    names, doubled = _class_names(categories)
    known = {entry["id"] for entry in images}
    numbers = {entry["id"]: number for number, entry in enumerate(categories)}
    boxes, told = usable_boxes(called, annotations, known, rows, numbers, sizes, skip_bad)
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
    told = [f"{len(doubled)} names of several categories, which are told apart by their ids: {some(doubled)}"]
    return tuple(names), told if doubled else []


def _with_counts(found: DetectionSet) -> DetectionSet:
    """Say which images and classes have no boxes."""
    shown = found.presence()
    notices = list(found.notices)
    if bare := int((~shown.any(1)).sum()):
        notices.append(f"{bare} of {len(found)} images have no boxes")
    if empty := [found.class_names[c] for c in (~shown.any(0)).nonzero()[:, 0].tolist()]:
        notices.append(f"{len(empty)} of {found.classes} categories have no boxes: {some(empty)}")
    return replace(found, notices=tuple(notices))


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
            received=f"{len(bad)} of {len(images)} images that cannot be used, looked for in {folder}: {some(bad)}",
            expected="every image that the json names, whole and of the size it says",
            remedy="name the folder of the pictures (images=..., --images), or pass skip_bad=True (--skip-bad) to go "
            "on without them",
        )
    return good, [f"{len(bad)} of {len(images)} images were left out: {some(bad)}"] if bad else []


def _size(path: Path, entry: Entry) -> tuple[int, int]:
    """Height and width in which boxes are counted: what the json says where the file can be read so, upright or not."""
    seen = look(path)
    said = tuple(entry.get(side) for side in ("height", "width"))
    if not all(isinstance(side, int) and side > 0 for side in said):
        return seen.height, seen.width
    if said not in ((seen.height, seen.width), (seen.width, seen.height)):
        raise ValueError(f"{seen.width}x{seen.height} pixels, {said[1]}x{said[0]} in the json")
    return int(said[0] or 0), int(said[1] or 0)
