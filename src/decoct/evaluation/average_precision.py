"""Average precision of found boxes, as COCO defines it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from decoct.data.detection.detection_set import DetectionSet
from decoct.errors import ConfigError
from decoct.training.detector import Found

MOST = 100
"""Boxes of one class that count in one image, the surest first."""
POINTS = 101
"""Recalls at which precision is read: 0, 0.01, ..., 1."""


@dataclass(frozen=True)
class Precision:
    """Average precision of every class, and what it was measured on. Fractions, never per cent."""

    by_class: tuple[float | None, ...]
    """In the order of the classes; None where there is no box of the class to find."""
    objects: tuple[int, ...]
    """Boxes to find, of every class."""
    overlap: float
    """Intersection over union from which a box counts as found."""

    @property
    def mean(self) -> float | None:
        """The mean over classes that have boxes to find: AP50 where `overlap` is 0.5. None where none has."""
        known = [value for value in self.by_class if value is not None]
        return sum(known) / len(known) if known else None


def average_precision(found: Found, truth: DetectionSet, overlap: float = 0.5) -> Precision:
    """AP of every class at one overlap.

    Within an image, boxes are taken from the surest on; each takes the box of the truth with which it overlaps most,
    at least by `overlap`, that no surer one has taken: right, otherwise wrong. A box that can only take an ignored box
    counts neither way, and any number may take the same one; the overlap with a crowd is the share of the found box in
    it.
    Over all images from the surest on: recall r_k and precision p_k after k boxes,

        AP = mean over r in {0, 0.01, ..., 1} of max { p_k : r_k >= r }, and 0 where no r_k reaches r.

    Lin et al., "Microsoft COCO: Common Objects in Context", 2014, https://arxiv.org/abs/1405.0312, and the authors'
    code https://github.com/cocodataset/cocoapi, with all areas and 100 boxes an image. Cost: O(k g) for k found and g
    true boxes of a class in an image. Boxes marked difficult, which COCO does not know, are ignored as VOC does it.
    Raises `ConfigError` unless 0 < overlap <= 1.
    """
    if not 0 < overlap <= 1:
        raise ConfigError(
            "measuring average precision",
            received=f"overlap={overlap}",
            expected="a number above 0 and at most 1",
            remedy="take 0.5 for AP50",
        )
    values, objects = [], []
    for label in range(truth.classes):
        mine, own = found.labels == label, truth.labels == label
        objects.append(int((own & ~truth.ignored).sum()))
        scores, right, counted = [], [], []
        for row in torch.unique(found.owners[mine]).tolist():
            seen = (mine & (found.owners == row)).nonzero()[:, 0]
            seen = seen[found.scores[seen].argsort(descending=True, stable=True)][:MOST]
            there = (own & (truth.owners == row)).nonzero()[:, 0]
            hit, aside = _match(
                found.boxes[seen], truth.boxes[there], truth.ignored[there], truth.crowded[there], overlap
            )
            scores.append(found.scores[seen])
            right.append(hit)
            counted.append(~aside)
        values.append(_area(scores, right, counted, objects[-1]) if objects[-1] else None)
    return Precision(tuple(values), tuple(objects), overlap)


def overlaps(
    a: Float[Tensor, "k 4"], b: Float[Tensor, "g 4"], crowd: Bool[Tensor, " g"] | None = None
) -> Float[Tensor, "k g"]:
    """Intersection over union of every pair; over the area of `a` alone for crowds."""
    corner, end = torch.maximum(a[:, None, :2], b[:, :2]), torch.minimum(a[:, None, 2:], b[:, 2:])
    inner = (end - corner).clamp_min(0).prod(2)
    own, other = (a[:, 2:] - a[:, :2]).prod(1)[:, None], (b[:, 2:] - b[:, :2]).prod(1)
    union = own + other - inner
    if crowd is not None:
        union = torch.where(crowd, own.expand_as(union), union)
    return inner / union.clamp_min(1e-12)


def _match(
    boxes: Float[Tensor, "k 4"],
    truth: Float[Tensor, "g 4"],
    ignored: Bool[Tensor, " g"],
    crowd: Bool[Tensor, " g"],
    overlap: float,
) -> tuple[Bool[Tensor, " k"], Bool[Tensor, " k"]]:
    """Which of the found boxes of one class and image are right, and which are set aside."""
    right, aside = (torch.zeros(len(boxes), dtype=torch.bool) for _ in range(2))
    if not len(truth):
        return right, aside
    table = overlaps(boxes.double(), truth.double(), crowd)
    free = torch.ones(len(truth), dtype=torch.bool)
    for k in range(len(boxes)):
        fits = (table[k] >= min(overlap, 1 - 1e-10)) & (free | ignored)
        # A box that counts goes before one that does not, however much more the latter overlaps.
        fits = fits & ~ignored if bool((fits & ~ignored).any()) else fits
        if not bool(fits.any()):
            continue
        best = table[k].masked_fill(~fits, -1.0)
        # The last of equals, as in the authors' code.
        taken = len(best) - 1 - int(best.flip(0).argmax())
        free[taken] = False
        right[k], aside[k] = not bool(ignored[taken]), bool(ignored[taken])
    return right, aside


def _area(scores: list[Tensor], right: list[Tensor], counted: list[Tensor], objects: int) -> float:
    """Mean precision at 101 recalls of the boxes of all images."""
    if not scores:
        return 0.0
    order = torch.cat(scores).argsort(descending=True, stable=True)
    hits = torch.cat(right)[order][torch.cat(counted)[order]].double()
    if not len(hits):
        return 0.0
    total = hits.cumsum(0)
    recall = total / objects
    precision = total / torch.arange(1, len(hits) + 1)
    best = precision.flip(0).cummax(0).values.flip(0)
    # As numpy rounds them, whose 0.7 is above 7 / 10: where recalls are round, other roundings move a whole step.
    wanted = torch.from_numpy(np.linspace(0, 1, POINTS))
    place = torch.searchsorted(recall, wanted, right=False)
    return float(torch.where(place < len(best), best[place.clamp_max(len(best) - 1)], 0.0).mean())
