"""The lists of a COCO json: what each entry has to say, and ids that tell the entries apart."""

from __future__ import annotations

from collections import Counter
from typing import Any, TypeGuard

from decoct.data.detection.detection_set import ImageId
from decoct.errors import DataError

SHOWN = 5
Entry = dict[str, Any]


def entries_of(
    called: str, document: Any, name: str, keys: tuple[str, ...], *, may_be_empty: bool = False
) -> list[Entry]:
    """The list `name` of the document, each entry an object with these keys. Raises `DataError` for anything else."""
    listed = document.get(name) if isinstance(document, dict) else None
    wrong = ""
    if not isinstance(document, dict):
        wrong = f"JSON that is a {type(document).__name__}"
    elif not isinstance(listed, list):
        wrong = f"an object without a list {name!r}; it has {some([str(key) for key in document]) or 'nothing'}"
    elif not listed and not may_be_empty:
        wrong = f"an empty list {name!r}"
    else:
        for place, entry in enumerate(listed):
            lacking = [key for key in keys if not isinstance(entry, dict) or key not in entry]
            if lacking:
                wrong = f"{name}[{place}] without {' and '.join(map(repr, lacking))}"
                break
            if name != "annotations" and not is_id(entry["id"]):
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


def is_id(value: object) -> TypeGuard[ImageId]:
    """Whether `value` is a whole number or a text, as COCO calls images and categories."""
    return isinstance(value, int | str) and not isinstance(value, bool)


def require_own_ids(called: str, name: str, entries: list[Entry]) -> None:
    """Raise `DataError` for an id that two entries share."""
    twice = [f"{value!r} ({count} times)" for value, count in Counter(e["id"] for e in entries).items() if count > 1]
    if twice:
        raise DataError(
            called,
            received=f"{len(twice)} ids that occur more than once in {name!r}: {some(twice)}",
            expected=f"an id of its own for each of the {len(entries)} {name}",
            remedy="number them anew, or remove the copies: nothing tells which box belongs to which of them",
        )


def some(names: list[str]) -> str:
    """The first few of these names, and how many more there are."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
