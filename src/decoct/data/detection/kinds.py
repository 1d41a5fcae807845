"""Which sources hold images with boxes; no torch here, so that the command line may ask before anything is loaded."""

from __future__ import annotations

KINDS = ("coco", "voc")
"""Prefixes of sources with boxes, which `detection.open` opens."""


def is_detection(source: str) -> bool:
    """Whether `source` names a set with boxes: "coco:..." or "voc:..."."""
    return source.partition(":")[0] in KINDS
