"""`select_images`: from a set of images with boxes and a budget to a `DetectionCoreset`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from decoct.compact.budget import Budget
from decoct.data.detection.detection_set import DetectionSet
from decoct.errors import ConfigError
from decoct.machine import library_versions
from decoct.registry import Registry, unknown_name
from decoct.selection.detection.csod import NO_BOXES, Csod, ImagePicks, prototypes
from decoct.selection.detection.detection_coreset import DetectionCoreset, require_place
from decoct.selection.detection.region_features import Features, detection_features
from decoct.selection.features import Table
from decoct.selection.methods import METHODS, method_name, selector
from decoct.selection.selector import Selector
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
    same seed gives the same picks. `out` is a folder for `subset.json`, `selection.parquet` and the manifest.

    Raises `ConfigError` unless exactly one budget is given, `BudgetError`, `UnknownNameError`, `DataError`,
    `MismatchError`, `SourceError` for unreadable images, `OutputError`.
    """
    began = time.monotonic()
    chosen = image_method(method)
    name = "csod" if isinstance(chosen, Csod) else method_name(chosen)
    total = int(Budget(count=count, fraction=fraction).quota(torch.tensor([len(data)]), 1))
    if out is not None:
        require_place(Path(out))
    asked = isinstance(chosen, Csod) or chosen.needs_features
    if isinstance(chosen, Csod) and not len(data.boxes):
        # Told before a detector is trained in vain.
        chosen.pick(prototypes(data, torch.zeros(0, 1)), total, Streams(seed)("select"))
    found = features if isinstance(features, Features) else None
    if found is None and asked:
        found = detection_features(
            data, features if not isinstance(features, Features) else "auto", seed, device, config
        )
    generator = Streams(seed)("select")
    if isinstance(chosen, Csod):
        assert found is not None
        picks = chosen.pick(prototypes(data, found.regions), total, generator)
    else:
        table = found.images if found is not None else torch.zeros(len(data), 1)
        rows = chosen.pick(table, total, generator)
        picks = ImagePicks(rows.rows, torch.full_like(rows.rows, NO_BOXES), rows.scores)
    provenance = {
        "kind": "selection of images",
        "method": name,
        "config": dataclasses.asdict(chosen) if dataclasses.is_dataclass(chosen) else {},
        "budget": {"count": count} if count is not None else {"fraction": fraction},
        "features": found.kind if found is not None and asked else "none",
        "seed": seed,
        "seconds": round(time.monotonic() - began, 3),
        "versions": library_versions(),
    }
    kind = str(provenance["features"])
    result = DetectionCoreset(
        data, picks.rows, picks.reasons, picks.scores, tuple(_because(chosen, picks, data, kind)), provenance
    )
    if out is not None:
        result.save(out)
    return result


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
