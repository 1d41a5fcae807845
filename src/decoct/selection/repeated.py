"""Whether a folder holds the very selection that is asked for, told before any work is done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decoct.compact.coreset import Coreset
from decoct.compact.folder import is_finished
from decoct.compact.load import load
from decoct.compact.manifest import parse
from decoct.data.feature_table import PREFIX as TABLE
from decoct.errors import IntegrityError, OutputError
from decoct.selection.pretrained import PREFIX as BACKBONE

NOT_ASKED = ("seconds", "versions", "record", "device")
"""What the provenance says of how and where a selection went, rather than of what was asked."""


def identity(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What makes it this selection, of all that a provenance says: contents by their hashes, and no paths beside them.

    What lies elsewhere now, or was named in another way, is the same; what was edited in its place is not. The rows of
    a table are compared by who asks.
    """
    asked = {key: value for key, value in provenance.items() if key not in NOT_ASKED}
    kind = str(asked.get("features"))
    if kind.startswith(TABLE) or (kind.startswith(BACKBONE) and "features_key" in asked):
        asked["features"] = kind.partition(":")[0]
    if "scores_key" in asked:
        # A column in a file of its own has no other name than that of the file.
        asked.pop("scores", None)
        asked["config"] = _without("score", asked.get("config"))
    if "scores" in asked:
        asked["scores"] = _without("file", asked["scores"])
    return asked


def _without(key: str, facts: Any) -> Any:
    return {own: value for own, value in facts.items() if own != key} if isinstance(facts, dict) else facts


def standing(folder: Path, asked: Mapping[str, Any], spec: Mapping[str, Any] | None = None) -> Coreset | None:
    """The coreset in `folder` that answers this very question; None where nothing is finished there.

    `asked` is the provenance of the answer without what is only known afterwards, of which the `identity` is compared;
    `spec` is what its manifest has to say of the data. None, too, where the answer was damaged since: then it may be
    made again in its place.

    Raises `OutputError` for a folder that holds another result, or a manifest that cannot be read.
    """
    if answer_to(folder, "coreset", asked, spec or {}, lambda manifest: manifest.get("spec") or {}) is None:
        return None
    try:
        found = load(folder)
    except IntegrityError:
        return None
    return found if isinstance(found, Coreset) else None


def answer_to(
    folder: Path,
    kind: str,
    asked: Mapping[str, Any],
    data: Mapping[str, Any],
    of_data: Callable[[dict[str, Any]], Mapping[str, Any]],
) -> dict[str, Any] | None:
    """The manifest in `folder` where it is of a result of this kind that answers this very question, see `standing`.

    `data` is what the part of the manifest that `of_data` takes out of it has to say of the data.
    """
    if not is_finished(folder):
        return None
    try:
        manifest = parse(folder)
    except IntegrityError as error:
        raise occupied(folder, f"a manifest that cannot be read ({error.received})") from error
    if manifest.get("kind") != kind:
        raise occupied(folder, f"a finished {manifest.get('kind')!r}")
    made, wanted = identity(manifest.get("provenance") or {}), identity(json.loads(json.dumps(asked)))
    told, keys = of_data(manifest), sorted(made.keys() | wanted.keys())
    other = [_difference(key, made.get(key), wanted.get(key)) for key in keys if made.get(key) != wanted.get(key)]
    other += [f"other data ({key})" for key, value in data.items() if told.get(key) != value]
    if other:
        raise occupied(folder, f"a finished selection with {', '.join(other)}")
    return manifest


def occupied(folder: Path, found: str) -> OutputError:
    """The error for a folder in which another result stands."""
    return OutputError(
        f"writing a selection into {folder}",
        received=found,
        expected="a new folder, or one with this very selection",
        remedy="choose another folder, or remove this one if you do not need it",
    )


def digest(values: NDArray[Any]) -> str:
    """A hash of an array: its numbers, their type, and its shape."""
    facts = f"{values.dtype.str} {values.shape} ".encode()
    return hashlib.sha256(facts + np.ascontiguousarray(values).tobytes()).hexdigest()


def _difference(key: str, made: Any, wanted: Any) -> str:
    shown = [json.dumps(value) for value in (made, wanted)]
    return f"{key} {shown[0]} (asked: {shown[1]})" if sum(map(len, shown)) <= 120 else f"another {key}"
