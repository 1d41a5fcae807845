"""AP by hand, beside plain loops, and at the edges."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from decoct.data.detection.detection_set import DetectionSet
from decoct.errors import ConfigError
from decoct.evaluation.average_precision import average_precision, overlaps
from decoct.training.detector import Found


def truth_of(boxes: list[Any], classes: int = 1, images: int = 1, **marks: Any) -> DetectionSet:
    """Boxes as (image, class, left, top, right, bottom), image by image."""
    table = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 6)
    none = torch.zeros(len(table), dtype=torch.bool)
    found = DetectionSet(
        source="toy", class_names=tuple(f"c{c}" for c in range(classes)), ids=tuple(range(images)),
        images=tuple(Path(f"{n}.png") for n in range(images)), sizes=torch.full((images, 2), 1000),
        boxes=table[:, 2:], labels=table[:, 1].long(), owners=table[:, 0].long(), ignored=none, crowded=none,
        document={},
    )  # fmt: skip
    return replace(found, **{name: torch.tensor(value) for name, value in marks.items()})


def found_of(boxes: list[Any]) -> Found:
    """Boxes as (image, class, score, left, top, right, bottom)."""
    table = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 7)
    return Found(table[:, 3:], table[:, 1].long(), table[:, 2], table[:, 0].long())


A, B, C = (0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10)
FAR = (90, 90, 99, 99)


def test_a_case_done_by_hand() -> None:
    # Right, wrong, right, and one box not found: precision 1 up to recall 1/3, then 2/3 up to 2/3, then 0.
    truth = truth_of([(0, 0, *A), (0, 0, *B), (0, 0, *C)])
    found = found_of([(0, 0, 0.9, *A), (0, 0, 0.8, *FAR), (0, 0, 0.7, *B)])
    got = average_precision(found, truth)
    assert got.by_class == (pytest.approx((34 * 1 + 33 * 2 / 3) / 101),)
    assert got.objects == (3,)


@pytest.mark.parametrize("right", range(1, 11))
def test_round_recalls_are_read_as_the_authors_code_reads_them(right: int) -> None:
    """Of 10 boxes the first so many are found: precision 1 up to that recall, at the recalls that numpy makes."""
    truth = truth_of([(0, 0, 20 * n, 0, 20 * n + 10, 10) for n in range(10)])
    found = found_of([(0, 0, 1 - n / 50, 20 * n, 0 if n < right else 500, 20 * n + 10, 10 if n < right else 510)
                      for n in range(20)])  # fmt: skip
    expected = (np.linspace(0, 1, 101) <= right / 10).mean()
    assert average_precision(found, truth).mean == pytest.approx(expected, abs=1e-12)
    if right == 7:
        assert expected == pytest.approx(70 / 101), "numpy's 0.7 is above 7 / 10"


def test_everything_right_is_one_and_nothing_found_is_zero() -> None:
    truth = truth_of([(0, 0, *A), (1, 0, *B), (1, 1, *C)], classes=3, images=2)
    right = found_of([(0, 0, 0.3, *A), (1, 0, 0.2, *B), (1, 1, 0.1, *C)])
    assert average_precision(right, truth).by_class == (1.0, 1.0, None)
    assert average_precision(right, truth).mean == 1.0
    assert average_precision(found_of([]), truth).by_class == (0.0, 0.0, None)
    assert average_precision(found_of([]), truth_of([], classes=2)).mean is None


def test_a_second_box_around_the_same_object_is_wrong() -> None:
    truth = truth_of([(0, 0, *A), (0, 0, *B)])
    twice = found_of([(0, 0, 0.9, *A), (0, 0, 0.8, *A), (0, 0, 0.7, *B)])
    assert average_precision(twice, truth).mean == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)


def test_overlap_decides_at_the_very_edge() -> None:
    truth = truth_of([(0, 0, 0, 0, 10, 10)])
    half = found_of([(0, 0, 0.9, 0, 0, 10, 5)])
    assert average_precision(half, truth, 0.5).mean == 1.0
    assert average_precision(half, truth, 0.51).mean == 0.0


def test_ignored_boxes_count_neither_way() -> None:
    marks = {"ignored": [False, True], "crowded": [False, True]}
    truth = truth_of([(0, 0, *A), (0, 0, 20, 0, 60, 40)], **marks)
    inside = found_of([(0, 0, 0.9, 22, 2, 30, 9), (0, 0, 0.8, 25, 5, 35, 20), (0, 0, 0.7, *A)])
    got = average_precision(inside, truth)
    assert (got.mean, got.objects) == (1.0, (1,))
    # The same boxes inside a single object marked difficult are too small for it, and so are wrong.
    single = replace(truth, crowded=torch.tensor([False, False]))
    assert average_precision(inside, single).mean == pytest.approx(1 / 3)
    both = found_of([(0, 0, 0.9, 20, 0, 60, 40), (0, 0, 0.8, 20, 0, 60, 39), (0, 0, 0.7, *A)])
    assert average_precision(both, single).mean == 1.0


def reference(found: Found, truth: DetectionSet, label: int, overlap: float) -> float | None:
    """AP of one class from its definition, box by box, cut by cut."""
    total = sum(1 for c, i in zip(truth.labels, truth.ignored, strict=True) if c == label and not i)
    if not total:
        return None
    order = sorted(range(len(found.scores)), key=lambda k: -float(found.scores[k]))
    taken: set[int] = set()
    curve = []
    right = wrong = 0
    for k in order:
        if int(found.labels[k]) != label:
            continue
        best, score = None, overlap
        for g in range(len(truth.boxes)):
            if int(truth.labels[g]) != label or int(truth.owners[g]) != int(found.owners[k]) or g in taken:
                continue
            a, b = found.boxes[k].tolist(), truth.boxes[g].tolist()
            w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
            inner = max(0.0, w) * max(0.0, h)
            iou = inner / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner)
            if iou >= score:
                best, score = g, iou
        right, wrong = right + (best is not None), wrong + (best is None)
        if best is not None:
            taken.add(best)
        curve.append((right / total, right / (right + wrong)))
    values = [max((p for r, p in curve if r >= wanted), default=0.0) for wanted in np.linspace(0, 1, 101)]
    return sum(values) / 101


@pytest.mark.parametrize("seed", range(4))
def test_the_same_as_plain_loops(seed: int) -> None:
    torch.manual_seed(seed)

    def boxes(count: int) -> torch.Tensor:
        corner = torch.rand(count, 2) * 60
        return torch.cat([corner, corner + 5 + torch.rand(count, 2) * 30], 1)

    owners = torch.randint(4, (40,)).sort().values
    real = boxes(40)
    truth = replace(
        truth_of([], classes=3, images=4), boxes=real, owners=owners, labels=torch.randint(2, (40,)),
        ignored=torch.zeros(40, dtype=torch.bool), crowded=torch.zeros(40, dtype=torch.bool),
    )  # fmt: skip
    near = real[torch.randint(40, (60,))] + torch.randn(60, 4) * 2
    near[:, 2:] = torch.maximum(near[:, 2:], near[:, :2] + 1)
    found = Found(near, torch.randint(3, (60,)), torch.rand(60), torch.randint(4, (60,)))
    for overlap in (0.3, 0.5):
        got = average_precision(found, truth, overlap).by_class
        assert got == pytest.approx([reference(found, truth, c, overlap) for c in range(3)], abs=1e-9)


def test_overlaps_of_known_boxes() -> None:
    a, b = torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[1.0, 0.0, 3.0, 2.0], [5.0, 5.0, 6.0, 6.0]])
    assert overlaps(a, b).tolist() == [pytest.approx([1 / 3, 0])]
    assert overlaps(a, b, torch.tensor([True, False])).tolist() == [pytest.approx([0.5, 0])]


def test_only_a_hundred_boxes_of_a_class_count_in_an_image() -> None:
    wrong = [(0, 0, 0.9 - 0.001 * k, *FAR) for k in range(100)]
    found = found_of([*wrong, (0, 0, 0.1, *A)])
    assert average_precision(found, truth_of([(0, 0, *A)])).mean == 0.0
    assert average_precision(found_of([*wrong[1:], (0, 0, 0.1, *A)]), truth_of([(0, 0, *A)])).mean == pytest.approx(
        0.01
    )


@pytest.mark.parametrize("overlap", [0.0, -1.0, 1.5, float("nan")])
def test_an_overlap_that_is_none(overlap: float) -> None:
    with pytest.raises(ConfigError, match=r"above 0 and at most 1"):
        average_precision(found_of([]), truth_of([]), overlap)
