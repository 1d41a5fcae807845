"""Moved images and their boxes stay together."""

from __future__ import annotations

import pytest
import torch

from decoct.augment.boxed import Moves, draw_moves

SIZE = (40, 60)


def painted(boxes: torch.Tensor, owners: torch.Tensor, count: int) -> torch.Tensor:
    images = torch.zeros(count, 1, *SIZE)
    for box, owner in zip(boxes.round().int().tolist(), owners.tolist(), strict=True):
        images[owner, 0, box[1] : box[3], box[0] : box[2]] = 1
    return images


def test_boxes_go_where_their_pixels_go() -> None:
    generator = torch.Generator()
    generator.manual_seed(3)
    boxes = torch.tensor([[22.0, 14.0, 34.0, 26.0]]).repeat(8, 1)
    owners = torch.arange(8)
    moves = draw_moves(8, 0.3, True, generator)
    moved = moves.images(painted(boxes, owners, 8))
    found, whole = moves.boxes(boxes, owners, SIZE)
    assert whole.all()
    assert set(moves.mirror.tolist()) == {1.0, -1.0}
    for image, box in zip(moved[:, 0], found, strict=True):
        rows, columns = (image > 0.5).nonzero().T
        seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert box.tolist() == pytest.approx([float(v) for v in seen], abs=1.01)


def test_mirroring_alone_is_exact() -> None:
    moves = Moves(torch.tensor([-1.0, 1.0]), torch.ones(2), torch.zeros(2, 2))
    images = torch.rand(2, 3, *SIZE)
    torch.testing.assert_close(moves.images(images)[0], images[0].flip(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(moves.images(images)[1], images[1], atol=1e-5, rtol=0)
    boxes, _ = moves.boxes(torch.tensor([[1.0, 2.0, 11.0, 12.0]] * 2), torch.tensor([0, 1]), SIZE)
    assert boxes.tolist() == [[49.0, 2.0, 59.0, 12.0], [1.0, 2.0, 11.0, 12.0]]


def test_boxes_mostly_outside_are_dropped_and_the_rest_cut() -> None:
    moves = Moves(torch.ones(1), torch.ones(1), torch.tensor([[1.0, 0.0]]))
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [25.0, 0.0, 35.0, 10.0], [28.0, 0.0, 38.0, 10.0]])
    found, whole = moves.boxes(boxes, torch.zeros(3, dtype=torch.int64), SIZE)
    assert found[0].tolist() == [30.0, 0.0, 40.0, 10.0]
    assert found[1].tolist() == [55.0, 0.0, 60.0, 10.0]
    assert whole.tolist() == [True, True, False]


def test_no_zoom_and_no_mirror_is_no_move() -> None:
    moves = draw_moves(16, 0.0, False, torch.Generator())
    assert (moves.mirror == 1).all()
    assert (moves.zoom == 1).all()
    assert (moves.shift == 0).all()
