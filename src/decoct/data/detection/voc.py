"""Pascal VOC: one xml file for each image, read into the form of a COCO json."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from decoct.data.detection.assemble import assemble
from decoct.data.detection.detection_set import DetectionSet
from decoct.data.detection.entries import some
from decoct.errors import DataError, SourceError

MARKS = ("difficult", "truncated", "occluded")
SHOWS = re.compile(r"\s+(?:-1|0|1)$")
"""Absent, difficult or there: what the list of a class says behind the name of an image."""
SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG", ".bmp")


def read_voc(
    path: str | Path, *, images: str | Path | None = None, listed: str | None = None, skip_bad: bool = False
) -> DetectionSet:
    """The images and boxes of a folder in the form of Pascal VOC.

    `path` holds `Annotations/*.xml` and `JPEGImages` (or the xml files themselves). `images` is another folder of
    pictures. `listed` names a list in `ImageSets/Main` ("train"): only its images are taken, in its order. Classes are
    the names that occur, sorted; image ids count from 1. VOC counts pixels from 1, both ends included, so a box from
    xmin to xmax covers `xmin - 1 .. xmax`; objects marked difficult are ignored boxes. Parts of an object (heads,
    hands) are passed over. Subsets are written as COCO json, which keeps difficult, truncated, occluded and pose.

    Raises `SourceError` for a missing folder or list, for xml that is broken (left out with `skip_bad`) and for
    missing images; `DataError` where two files speak of one image, and as `assemble.assemble`.
    """
    root = Path(path).expanduser()
    called = f"opening voc:{path}"
    files = _files(called, root, listed)
    folder = Path(images).expanduser() if images is not None else _picture_folder(root)
    read, broken = [], []
    for file in files:
        try:
            read.append((file, _parsed(file)))
        except (ElementTree.ParseError, OSError, ValueError, UnicodeError) as error:
            broken.append(f"{file.name} ({' '.join(str(error).split())[:80]})")
    if broken and (not skip_bad or not read):
        raise SourceError(
            called,
            received=f"{len(broken)} of {len(files)} xml files that cannot be read: {some(broken)}",
            expected="one whole xml file for each image",
            remedy="repair or remove them, or pass skip_bad=True (--skip-bad) to go on without them",
        )
    document = _document(called, read, folder)
    found = assemble(called, f"voc:{path}", document, lambda _: folder, skip_bad)
    notices = [f"{len(broken)} xml files could not be read and were left out: {some(broken)}"] if broken else []
    return replace(found, notices=(*notices, *found.notices))


def _files(called: str, root: Path, listed: str | None) -> list[Path]:
    folder = root / "Annotations" if (root / "Annotations").is_dir() else root
    if listed is None:
        files = sorted(folder.glob("*.xml"))
    else:
        files = _named(folder, _listed(called, root / "ImageSets" / "Main" / f"{listed}.txt"))
    missing = [file.name for file in files if not file.is_file()]
    if not files or missing:
        what = f"no xml file for {some(missing)}" if missing else "no xml file there"
        raise SourceError(
            called,
            received=what if root.exists() else "no such folder",
            expected="a folder with Annotations/*.xml and JPEGImages, or with xml files and pictures",
            remedy="check the path; relative paths start at the current folder",
        )
    return files


def _listed(called: str, file: Path) -> list[str]:
    try:
        # Names that are no UTF-8 are those of files whose names are none either.
        content = file.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        there = sorted(one.stem for one in file.parent.glob("*.txt"))
        raise SourceError(
            called,
            received=f"no list {file.name} in {file.parent}",
            expected=f"one of {some(there)}" if there else "a list of images, one name a line",
            remedy="name another list, or none for all images",
        ) from error
    return [name for line in content.splitlines() if (name := line.strip())]


def _named(folder: Path, lines: list[str]) -> list[Path]:
    """The xml files of the lines of a list, each once. Lists of one class say after the name whether the image shows
    it, names with blanks may end in such a number themselves."""
    whole = ((line, folder / f"{line}.xml") for line in lines)
    return list(dict.fromkeys(
        file if file.is_file() else folder / f"{SHOWS.sub('', line)}.xml" for line, file in whole
    ))  # fmt: skip


def _picture_folder(root: Path) -> Path:
    above = root.parent if root.name == "Annotations" else root
    return next((place for place in (above / "JPEGImages", above / "images") if place.is_dir()), root)


def _parsed(file: Path) -> ElementTree.Element:
    content = file.read_bytes()
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise ValueError("it defines entities, which no annotation needs")
    root = ElementTree.fromstring(content)
    if root.tag != "annotation":
        raise ValueError(f"it holds <{root.tag}> instead of <annotation>")
    return root


def _document(called: str, read: list[tuple[Path, ElementTree.Element]], folder: Path) -> dict[str, Any]:
    """The COCO json of these files."""
    names = sorted({_text(one, "name") for _, root in read for one in root.findall("object")} - {""})
    numbers = {name: number for number, name in enumerate(names, 1)}
    images, annotations = [], []
    sources: dict[str, Path] = {}
    for number, (file, root) in enumerate(read, 1):
        entry = {"id": number, "file_name": _picture(file, root, folder), **_size(root)}
        if (other := sources.setdefault(entry["file_name"], file)) != file:
            raise DataError(
                called,
                received=f"{other.name} and {file.name} both speak of {entry['file_name']}",
                expected="one xml file for each image",
                remedy="remove one of them, or correct <filename>",
            )
        images.append(entry)
        for one in root.findall("object"):
            annotations.append(_annotation(one, len(annotations) + 1, number, numbers))
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


def _picture(file: Path, root: ElementTree.Element, folder: Path) -> str:
    """The name of the picture: what the file says where it is there, else the name of the xml file with a suffix."""
    said = Path(_text(root, "filename")).name
    if said and (folder / said).is_file():
        return said
    return next((file.stem + suffix for suffix in SUFFIXES if (folder / (file.stem + suffix)).is_file()), said)


def _size(root: ElementTree.Element) -> dict[str, int]:
    """Width and height where the file says them; what is none, as the 0 of some tools, is left out and then read off
    the image."""
    sides = {side: _number(root.find(f"size/{side}")) for side in ("width", "height")}
    return {side: int(value) for side, value in sides.items() if value is not None and 0 < value < math.inf}


def _annotation(one: ElementTree.Element, number: int, image: int, numbers: Mapping[str, int]) -> dict[str, Any]:
    box = [_number(one.find(f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax")]
    known = [value for value in box if value is not None]
    left, top, right, bottom = known if len(known) == 4 else (1.0, 1.0, 0.0, 0.0)
    width, height = right - left + 1, bottom - top + 1
    marks = {name: _mark(value) for name in MARKS if (value := _number(one.find(name))) is not None}
    pose = {"pose": text} if (text := _text(one, "pose")) else {}
    return {
        "id": number, "image_id": image, "category_id": numbers.get(_text(one, "name"), 0),
        "bbox": [left - 1, top - 1, width, height], "area": width * height, "iscrowd": 0, **marks, **pose,
    }  # fmt: skip


def _mark(value: float) -> int | str:
    """As the json has it. What is no whole number goes along as a text, to be a fault of the box: json has no NaN."""
    return int(value) if value.is_integer() else str(value)


def _text(one: ElementTree.Element, name: str) -> str:
    return (one.findtext(name) or "").strip()


def _number(one: ElementTree.Element | None) -> float | None:
    try:
        return float((one.text or "").strip()) if one is not None else None
    except ValueError:
        return None
