"""`select_images`: from a set of images with boxes and a budget to a `DetectionCoreset`."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from decoct.compact.budget import Budget
from decoct.data.detection.detection_set import DetectionSet
from decoct.errors import ConfigError
from decoct.machine import library_versions
from decoct.registry import Registry, unknown_name
from decoct.selection.detection.csod import NO_BOXES, Csod, ImagePicks, prototypes
from decoct.selection.detection.detection_coreset import DetectionCoreset, require_place, standing_images
from decoct.selection.detection.region_features import Features, detection_features, followed
from decoct.selection.features import Table
from decoct.selection.methods import METHODS, method_name, selector
from decoct.selection.selector import Selector
from decoct.selection.settings import plain, whole
from decoct.streams import Streams
from decoct.training.detector import DetectorConfig

IMAGE_METHODS = Registry("image selector", {"csod": "decoct.selection.detection.csod:Csod"})
"""Methods that look at boxes. Those of `METHODS` that need features alone pick whole images as well."""
WHOLE = ("random", "k-center", "herding", "k-means", "k-median", "facility-location", "graph-cut", "log-det")
"""Methods for rows that also pick images, by the features of the whole image."""


def select_images(
    data: DetectionSet,
    method: str | Csod | Selector = "csod",
    *,
    count: int | None = None,
    fraction: float | None = None,
    features: str | Table | Features = "auto",
    seed: int = 0,
    out: str | Path | None = None,
    device: str = "cpu",
    config: DetectorConfig | None = None,
) -> DetectionCoreset:
    """Pick images of a detection set within a budget, `count` or `fraction`.

    `method` is "csod", which compares what is in the boxes class by class, or a selector of rows (`WHOLE`), which
    compares whole images. `features`: see `detection_features`, which are handed over where the caller has them. The
    same seed gives the same picks. `out` is a folder for `subset.json`, `selection.parquet` and the manifest; where it
    holds the answer to this very question, that is returned and nothing is computed.

    Raises `ConfigError` unless exactly one budget is given, `BudgetError`, `UnknownNameError`, `DataError`,
    `MismatchError`, `SourceError` for unreadable images, `OutputError` (for a folder with another result before
    anything is trained).
    """
    began = time.monotonic()
    chosen, seed = image_method(method), whole("seed", seed)
    name = "csod" if isinstance(chosen, Csod) else method_name(chosen)
    budget, config = Budget(count=count, fraction=fraction), config or DetectorConfig()
    total = int(budget.quota(torch.tensor([len(data)]), 1))
    if out is not None:
        require_place(Path(out))
    if isinstance(chosen, Csod) and bool(data.ignored.all()):
        # Told before a detector is trained in vain.
        chosen.pick(prototypes(data, torch.zeros(len(data.boxes), 1)), total, Streams(seed)("select"))
    compared = features if isinstance(chosen, Csod) or chosen.needs_features else None
    asked: dict[str, Any] = {
        "kind": "selection of images",
        "method": name,
        "config": _settings(chosen),
        "budget": {unit: value for unit, value in vars(budget).items() if value is not None},
        "seed": seed,
        **({"features": "none"} if compared is None else followed(data, compared, device, config)),
    }
    # Settings of a user's own selector may be unknown, so that nothing tells what it would pick.
    if out is not None and dataclasses.is_dataclass(chosen):
        kept = standing_images(Path(out), asked, data)
        if kept is not None:
            return kept
    if compared is None or isinstance(compared, Features):
        found = compared
    else:
        found = detection_features(data, compared, seed, device, config)
    picks = _picked(chosen, found, data, total, seed)
    provenance = {**asked, "seconds": round(time.monotonic() - began, 3), "versions": library_versions()}
    because = tuple(_because(chosen, picks, data, asked["features"]))
    result = DetectionCoreset(data, picks.rows, picks.reasons, picks.scores, because, provenance)
    if out is not None:
        result.save(out)
    return result


def _settings(method: Csod | Selector) -> dict[str, Any]:
    """The options of the method as plain JSON; notes of a user's own objects are kept as texts."""
    found = plain(dataclasses.asdict(method)) if dataclasses.is_dataclass(method) else {}
    return json.loads(json.dumps(found, default=str))


def _picked(method: Csod | Selector, found: Features | None, data: DetectionSet, count: int, seed: int) -> ImagePicks:
    generator = Streams(seed)("select")
    if isinstance(method, Csod):
        assert found is not None
        return method.pick(prototypes(data, found.regions), count, generator)
    table = found.images if found is not None else torch.zeros(len(data), 1)
    rows = method.pick(table, count, generator)
    return ImagePicks(rows.rows, torch.full_like(rows.rows, NO_BOXES), rows.scores)


def _because(method: Csod | Selector, picks: ImagePicks, data: DetectionSet, kind: str) -> Iterator[str]:
    """Why each image was picked, one clause."""
    for label, score in zip(picks.reasons.tolist(), picks.scores.tolist(), strict=True):
        if not isinstance(method, Csod):
            yield method.reason(score, kind)
        elif label == NO_BOXES:
            yield "no image with boxes was left"
        else:
            name = data.class_names[label]
            yield f"best of the images left with {name}: like the others, unlike the picks (gain {score:.4g})"


def image_method(method: str | Csod | Selector) -> Csod | Selector:
    """The method of that name; raises `UnknownNameError`, and `ConfigError` for methods that need a label a row."""
    if not isinstance(method, str):
        return method
    if method in IMAGE_METHODS:
        return IMAGE_METHODS.load(method)()
    if method not in METHODS:
        raise unknown_name("method for images with boxes", method, [*IMAGE_METHODS, *WHOLE])
    if method not in WHOLE:
        raise ConfigError(
            f"selecting images with boxes by {method}",
            received="a method that trains a classifier or needs one label for each image",
            expected=f"one of {', '.join([*IMAGE_METHODS, *WHOLE])}",
            remedy="take csod, which compares boxes class by class",
        )
    return selector(method)
