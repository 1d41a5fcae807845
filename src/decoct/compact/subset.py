"""A coreset over the user's own torch data set: `Subset`, and a sampler that draws rows by their weights."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sized
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from torch.utils.data import Dataset, Subset, WeightedRandomSampler

from decoct.data.sources.arrow import Feature
from decoct.data.sources.asked import TABLES, columns_asked
from decoct.data.sources.columns import ids_among, label_among
from decoct.errors import MismatchError
from decoct.streams import Streams

if TYPE_CHECKING:
    from decoct.compact.coreset import Coreset

Item = TypeVar("Item")
_NUMBERED = re.compile(r"(?:all|train)/(\d+)")


def subset_of(core: Coreset, dataset: Dataset[Item] | Any) -> Subset[Item]:
    """The rows of `core` in `dataset`, the data set that was opened, in the order picked.

    Rows are found by their ids: those of a Hugging Face data set stand in the column that `decoct.open` took them from
    (that of "?id=NAME", else `uid`, `id` or `key`); numbers ("all/12", "train/12") are places in the data set; file
    names are looked for in its `samples`, as torchvision's image folders have them, below its `root`, and else at the
    end of their paths. Where the data set tells its `targets`, or has a column of labels, the classes are compared.
    Raises `MismatchError` where a row is not found, is one of several, or has another class.
    """
    asked = columns_asked(core.spec.source)
    places = _by_column(core, dataset, asked)
    if places is None:
        places = _by_number(core, len(cast(Sized, dataset)))
    if places is None:
        places = _by_file(core, getattr(dataset, "samples", ()), getattr(dataset, "root", None))
    classes = core.classes.tolist()
    for place, own, found in zip(places, classes, _classes_at(places, dataset, core, asked) or classes, strict=True):
        if found != own:
            raise _mismatch(f"row {place} of class {found}, which was of class {own}")
    return Subset(dataset, places)


def sampler_of(core: Coreset, seed: int = 0, num_samples: int | None = None) -> WeightedRandomSampler:
    """Draws places of `subset_of` with replacement, each as often as its weight says; one pass is `num_samples`.

    Without `num_samples` a pass is as long as the coreset. The same seed draws the same places.
    """
    weights = core.weights.double().tolist()
    return WeightedRandomSampler(weights, num_samples or len(weights), True, Streams(seed)("sampler"))


def _by_column(core: Coreset, dataset: Any, asked: Mapping[str, str]) -> list[int] | None:
    """Places of the ids in the column that they were read from; None where that does not have them."""
    features = _features(dataset)
    name = ids_among(features, asked)
    if name is None or name not in features:
        return None
    values, ids = [str(own) for own in _column(dataset, name)], [str(own) for own in core.ids]
    known = {own: place for place, own in enumerate(values)}
    if not all(own in known for own in ids):
        return None
    counts = Counter(values)
    several = [own for own in ids if counts[own] > 1]
    if several:
        raise _mismatch(f"{len(several)} ids that several rows have in the column {name!r}, such as {several[0]!r}")
    return [known[own] for own in ids]


def _classes_at(places: list[int], dataset: Any, core: Coreset, asked: Mapping[str, str]) -> list[Any]:
    """The class of the rows in these places, as a number of `core`; the data set's own word for a class that is none.

    Nothing where the data set tells no classes, or the rows of `core` were not labelled by a column.
    """
    targets = getattr(dataset, "targets", None)
    if targets is not None:
        return np.asarray(targets)[places].tolist()
    features = _features(dataset)
    label = label_among(features, asked, ids_among(features, asked))
    if label is None or label not in features or core.spec.source.partition(":")[0] not in (*TABLES, "hf"):
        return []
    column = _column(dataset, label)
    said: dict[int, str] = dict(enumerate(getattr(features[label], "names", None) or ()))
    values = [column[place] for place in places]
    named = [said.get(value, value) if type(value) is int else value for value in values]
    number = {name: c for c, name in enumerate(core.spec.class_names)}
    return [number.get(value, value) if isinstance(value, str) else value for value in named]


def _features(dataset: Any) -> Mapping[str, Any]:
    """What the columns of a Hugging Face data set hold; nothing for data sets without columns."""
    names, features = getattr(dataset, "column_names", None) or (), getattr(dataset, "features", None)
    # Of what wraps one only the names are known. Any column may hold ids; labels go by the name of theirs.
    return features if names and isinstance(features, Mapping) else dict.fromkeys(names, Feature("int64"))


def _column(dataset: Any, name: str) -> list[Any]:
    return list((dataset.with_format(None) if hasattr(dataset, "with_format") else dataset)[name])


def _by_number(core: Coreset, length: int) -> list[int] | None:
    matches = [_NUMBERED.fullmatch(str(name)) for name in core.ids]
    places = [int(match[1]) for match in matches if match]
    if len(places) < len(matches):
        return None
    if max(places) >= length:
        raise _mismatch(f"a data set of {length} rows, and the id {core.ids[int(np.argmax(places))]!r}")
    return places


def _by_file(core: Coreset, samples: Iterable[Any], root: object) -> list[int]:
    """Places of the files with these ids: paths below `root`, the folder that was opened, else ends of paths."""
    paths = [_slashes(sample[0]) for sample in samples]
    ids = [str(name) for name in core.ids]
    if isinstance(root, (str, os.PathLike)):
        above = _slashes(root).rstrip("/") + "/"
        below = {path.removeprefix(above): place for place, path in enumerate(paths) if path.startswith(above)}
        if all(name in below for name in ids):
            return [below[name] for name in ids]
    known = _ends(paths, {name.count("/") + 1 for name in ids})
    missing = [name for name in ids if name not in known]
    if missing:
        raise _mismatch(f"{len(missing)} of {len(core)} ids that it does not name, such as {missing[0]!r}")
    several = [name for name in ids if len(known[name]) > 1]
    if several:
        here = ", ".join(paths[place] for place in known[several[0]][:2])
        raise _mismatch(f"{len(several)} ids in which several of its paths end, such as {several[0]!r}: {here}")
    return [known[name][0] for name in ids]


def _ends(paths: list[str], lengths: set[int]) -> dict[str, list[int]]:
    """For each end of a path with so many parts the places of the paths that end in it."""
    found: dict[str, list[int]] = {}
    for place, path in enumerate(paths):
        parts = path.split("/")
        for length in lengths:
            if length <= len(parts):
                found.setdefault("/".join(parts[-length:]), []).append(place)
    return found


def _slashes(path: Any) -> str:
    return os.fspath(path).replace("\\", "/")


def _mismatch(received: str) -> MismatchError:
    return MismatchError(
        "taking a coreset's rows out of a torch data set",
        received=received,
        expected="the data set that was opened and selected from, in the same order",
        remedy="give that data set, or look the ids up yourself: coreset.ids and coreset.weights; coreset.to_torch() "
        "needs no data set",
    )
