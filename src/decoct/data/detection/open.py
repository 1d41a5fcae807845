"""`open_detection`: a set of images with boxes, from its name."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl

from decoct.data.detection.coco import read_coco
from decoct.data.detection.detection_set import DetectionSet
from decoct.data.detection.voc import read_voc
from decoct.errors import SourceError


def open_detection(source: str, *, images: str | Path | None = None, skip_bad: bool = False) -> DetectionSet:
    """Open "coco:JSON", "voc:FOLDER" or "voc:FOLDER?set=train" (a list in `ImageSets/Main`).

    `images` is the folder of the pictures where it cannot be guessed. `skip_bad` goes on without images and boxes that
    cannot be used, and counts them in `notices`. Raises as `read_coco` and `read_voc`.
    """
    kind, _, place = source.partition(":")
    if kind == "coco" and place:
        return read_coco(place, images=images, skip_bad=skip_bad)
    path, _, asked = place.partition("?")
    options = dict(parse_qsl(asked, keep_blank_values=True))
    if kind == "voc" and path and set(options) <= {"set"}:
        return read_voc(path, images=images, listed=options.get("set"), skip_bad=skip_bad)
    raise SourceError(
        f"opening {source!r}",
        received=repr(source),
        expected="'coco:JSON', 'voc:FOLDER' or 'voc:FOLDER?set=NAME'",
        remedy="name the json of the boxes, or the folder that holds Annotations and JPEGImages",
    )
