"""Targets and losses of the detector of centres, beside loops over boxes and cells."""

from __future__ import annotations

import math

import pytest
import torch

from decoct.networks.centre_net import STRIDE
from decoct.training.centre_targets import box_loss, centre_loss, centre_targets, giou

BOXES = torch.tensor([[4.0, 4.0, 28.0, 20.0], [10.0, 8.0, 18.0, 16.0], [0.0, 0.0, 40.0, 32.0], [30.0, 2.0, 38.0, 30.0]])
LABELS = torch.tensor([0, 1, 0, 1])
OWNERS = torch.tensor([0, 0, 1, 1])
NONE = torch.zeros(4, dtype=torch.bool)
GRID = (8, 10)


def targets(ignored: torch.Tensor = NONE):
    return centre_targets(BOXES, LABELS, OWNERS, ignored, 2, 2, GRID)


def hill(box: list[float], y: int, x: int) -> float:
    cx, cy = math.floor((box[0] + box[2]) / 2 / STRIDE), math.floor((box[1] + box[3]) / 2 / STRIDE)
    sx, sy = (max(0.4, 0.09 * (box[2 + a] - box[a]) / STRIDE) for a in (0, 1))
    return math.exp(-((x - cx) ** 2) / (2 * sx**2) - (y - cy) ** 2 / (2 * sy**2))


def test_heat_is_the_largest_hill_of_the_class() -> None:
    heat = targets().heat
    for image in range(2):
        for label in range(2):
            for y in range(GRID[0]):
                for x in range(GRID[1]):
                    own = [BOXES[j].tolist() for j in range(4) if (OWNERS[j], LABELS[j]) == (image, label)]
                    expected = max((hill(box, y, x) for box in own), default=0.0)
                    assert float(heat[image, label, y, x]) == pytest.approx(expected, abs=1e-6)
    assert (heat == 1).sum() == 4


def test_cells_answer_for_the_smallest_box_whose_hill_they_stand_on() -> None:
    found = targets()
    for image in range(2):
        for y in range(GRID[0]):
            for x in range(GRID[1]):
                here = [j for j in range(4) if OWNERS[j] == image and hill(BOXES[j].tolist(), y, x) >= 0.1]
                assert (found.weight[image, y, x] > 0) == bool(here)
                if here:
                    small = min(here, key=lambda j: float((BOXES[j, 2:] - BOXES[j, :2]).prod()))
                    assert torch.equal(found.sides[image, :, y, x], BOXES[small])
    # The box that no smaller one covers keeps all of its weight.
    assert float(found.weight[0][(found.sides[0] == BOXES[1, :, None, None]).all(0)].sum()) == pytest.approx(1)


def test_ignored_boxes_ask_nothing() -> None:
    found = targets(torch.tensor([False, True, False, True]))
    assert found.objects == 2
    assert not found.heat[:, 1].any()
    assert found.silent[0, 1, 2, 3]
    assert not found.silent[:, 0].any()
    logits = torch.zeros(2, 2, *GRID)
    quiet = logits.clone()
    quiet[found.silent] = 5.0
    assert float(centre_loss(quiet, found)) == pytest.approx(float(centre_loss(logits, found)))


def test_the_focal_loss_is_that_of_the_paper() -> None:
    found = targets()
    torch.manual_seed(0)
    logits = torch.randn(2, 2, *GRID)
    total = 0.0
    for logit, heat in zip(logits.flatten().tolist(), found.heat.flatten().tolist(), strict=True):
        p = 1 / (1 + math.exp(-logit))
        total -= (1 - p) ** 2 * math.log(p) if heat == 1 else (1 - heat) ** 4 * p**2 * math.log(1 - p)
    assert float(centre_loss(logits, found)) == pytest.approx(total / 4, rel=1e-4)


def test_the_box_loss_is_zero_for_the_right_answer_and_only_then() -> None:
    found = targets()
    y, x = torch.meshgrid(torch.arange(GRID[0]), torch.arange(GRID[1]), indexing="ij")
    middle = torch.stack([x, y, x, y]).add(0.5).mul(STRIDE)
    right = (found.sides - middle) * torch.tensor([-1.0, -1.0, 1.0, 1.0])[:, None, None]
    assert float(box_loss(right, found)) == pytest.approx(0, abs=1e-6)
    assert float(box_loss(right + 2, found)) > 0.1


def test_giou_of_known_boxes() -> None:
    a = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 2.0, 1.0]])
    b = torch.tensor([[0.0, 0.0, 2.0, 2.0], [2.0, 0.0, 3.0, 1.0], [1.0, 0.0, 3.0, 1.0]])
    assert giou(a, b).tolist() == pytest.approx([1.0, -1 / 3, 1 / 3])


def test_no_boxes_at_all() -> None:
    empty = torch.zeros(0, 4)
    none = torch.zeros(0, dtype=torch.int64)
    found = centre_targets(empty, none, none, torch.zeros(0, dtype=torch.bool), 2, 2, GRID)
    assert found.objects == 0
    assert not found.heat.any()
    assert float(box_loss(torch.ones(2, 4, *GRID), found)) == 0
    assert torch.isfinite(centre_loss(torch.zeros(2, 2, *GRID), found))
