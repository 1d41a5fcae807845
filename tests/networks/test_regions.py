"""RoIAlign beside bilinear interpolation written out."""

from __future__ import annotations

import math

import pytest
import torch

from decoct.networks.centre_net import REACH, CentreNet
from decoct.networks.regions import pool_regions


def bilinear(plane: torch.Tensor, y: float, x: float) -> float:
    """The value at a place, cell centres at halves, the border repeated."""
    high, wide = plane.shape
    y, x = min(max(y - 0.5, 0), high - 1), min(max(x - 0.5, 0), wide - 1)
    top, left = min(math.floor(y), high - 2), min(math.floor(x), wide - 2)
    v, u = y - top, x - left
    rows = [(1 - u) * plane[top + k, left] + u * plane[top + k, left + 1] for k in range(2)]
    return float((1 - v) * rows[0] + v * rows[1])


def test_every_cell_is_the_bilinear_value_at_its_centre() -> None:
    torch.manual_seed(1)
    maps = torch.randn(2, 3, 6, 9)
    boxes = torch.tensor([[1.2, 0.5, 7.3, 4.9], [0.0, 0.0, 9.0, 6.0], [7.5, 4.5, 9.0, 6.0]])
    owners = torch.tensor([1, 0, 1])
    found = pool_regions(maps, boxes, owners, 4)
    assert found.shape == (3, 3, 4, 4)
    for j in range(3):
        left, top, right, bottom = boxes[j].tolist()
        for c in range(3):
            for a in range(4):
                for b in range(4):
                    y, x = top + (a + 0.5) * (bottom - top) / 4, left + (b + 0.5) * (right - left) / 4
                    expected = bilinear(maps[int(owners[j]), c], y, x)
                    assert float(found[j, c, a, b]) == pytest.approx(expected, abs=1e-4)


def test_no_boxes() -> None:
    found = pool_regions(torch.zeros(1, 2, 4, 4), torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    assert found.shape == (0, 2, 7, 7)


def test_centre_net_has_the_shapes_it_says() -> None:
    net = CentreNet(5, 8).eval()
    x = torch.zeros(2, 3, 32, 48)
    with torch.no_grad():
        centres, sides = net(x)
    assert centres.shape == (2, 5, 8, 12)
    assert sides.shape == (2, 4, 8, 12)
    assert net.maps(x).shape == (2, 8, 8, 12)
    assert (sides > 0).all()
    assert float(sides.max()) < REACH * math.exp(4) + 1
    assert float(centres.sigmoid().max()) < 0.2
