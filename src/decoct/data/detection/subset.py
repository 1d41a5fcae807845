"""The part of a COCO json that speaks of some images, with everything that it says of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def subset_document(document: Mapping[str, Any], ids: Sequence[int | str]) -> dict[str, Any]:
    """`document` with the images of these ids, in this order, and their annotations in the order of the source.

    Everything else (info, licences, categories, also those without boxes now, and keys of no standard) stays as it is,
    and so does every field of an image or annotation. So a prefix of the images is a smaller subset.
    """
    wanted = set(ids)
    entries = {entry["id"]: entry for entry in document["images"]}
    named = ((one, one.get("image_id")) for one in document["annotations"])
    own = [one for one, name in named if isinstance(name, int | str) and name in wanted]
    return {**document, "images": [entries[name] for name in ids], "annotations": own}


def document_bytes(document: Mapping[str, Any]) -> bytes:
    """The json as UTF-8. Numbers that are no JSON, which some tools write, are kept as the source had them."""
    return (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode("utf-8", "backslashreplace")
