"""COCO json: one file with images, categories and boxes; the pictures lie in a folder beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from decoct.data.detection.assemble import assemble
from decoct.data.detection.detection_set import DetectionSet
from decoct.errors import SourceError


def read_coco(path: str | Path, *, images: str | Path | None = None, skip_bad: bool = False) -> DetectionSet:
    """The images and boxes of a COCO json (`instances_train2017.json` and whatever has its form).

    `images` is the folder that `file_name` starts at; without it the usual places are tried: the folder of the json,
    `images` there, the same one folder up, and the folder that the json is named for (`train2017`).
    What is wrong, what is put right and what `skip_bad` does: `assemble.assemble`.

    Raises `SourceError` for a file that is missing or no JSON, and for missing or unreadable images; `DataError` for
    JSON of another form and for boxes that cannot be used.
    """
    file = Path(path).expanduser()
    called = f"opening coco:{path}"
    document = _load(called, file)
    folder = Path(images).expanduser() if images is not None else None

    def locate(entries: list[dict[str, Any]]) -> Path:
        return folder if folder is not None else _image_folder(file, entries)

    return assemble(called, f"coco:{path}", document, locate, skip_bad)


def _load(called: str, file: Path) -> Any:
    if not file.is_file():
        raise SourceError(
            called,
            received="a folder" if file.is_dir() else "no such file",
            expected="a COCO json, such as annotations/instances_train2017.json",
            remedy="name the json itself; relative paths start at the current folder",
        )
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise SourceError(
            called,
            received=f"a file that is no JSON ({' '.join(str(error).split())[:120]})",
            expected="a whole COCO json",
            remedy="check that the file was copied whole, and unpack it first where it is compressed",
        ) from error


def _image_folder(file: Path, entries: list[dict[str, Any]]) -> Path:
    """The usual place that holds most of the first images; the folder of the json where none holds any."""
    stem = file.stem.partition("_")[2] or file.stem
    here, above = file.parent, file.parent.parent
    places = [here, here / "images", above, above / "images", above / stem, here / stem, above / "images" / stem]
    names = [entry["file_name"] for entry in entries[:20]]
    return max(places, key=lambda place: sum((place / name).is_file() for name in names))
