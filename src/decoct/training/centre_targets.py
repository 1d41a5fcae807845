"""What a detector of centres should answer for given boxes, and the losses that measure how far it is from that."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from decoct.networks.centre_net import STRIDE

SPREAD = 0.54 / 6
"""Standard deviation of a centre's hill, as a share of the side of its box (TTFNet's alpha over 6)."""
LEAST = 0.4
"""Smallest standard deviation, in cells: small boxes too teach the cells beside their centre."""
FOOT = 0.1
"""Height of the hill from which a cell answers for the sides of the box."""


@dataclass(frozen=True, eq=False)
class Targets:
    """Targets of `b` images on a grid of `a x c` cells."""

    heat: Float[Tensor, "b C a c"]
    """1 at the cell of a centre, falling around it."""
    silent: Bool[Tensor, "b C a c"]
    """Cells inside ignored boxes: nothing is asked of that class there."""
    sides: Float[Tensor, "b 4 a c"]
    """Left, top, right, bottom of the box that a cell answers for, in pixels of the canvas."""
    weight: Float[Tensor, "b a c"]
    """What the cell's answer counts; the cells of a box sum to 1 where no smaller box takes some of them."""
    objects: int
    """Boxes that are not ignored."""

    def to(self, device: torch.device) -> Targets:
        """The same on another device."""
        moved = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "objects"}
        return Targets(**{name: value.to(device) for name, value in moved.items()}, objects=self.objects)


def centre_targets(
    boxes: Float[Tensor, "m 4"],
    labels: Int64[Tensor, " m"],
    owners: Int64[Tensor, " m"],
    ignored: Bool[Tensor, " m"],
    count: int,
    classes: int,
    grid: tuple[int, int],
) -> Targets:
    """Targets for `count` images; `owners` are in 0..count-1, boxes in pixels of the canvas.

        heat[c, y, x] = max over boxes j of class c of exp(-(x - x_j)^2 / 2 s_jx^2 - (y - y_j)^2 / 2 s_jy^2)

    with (x_j, y_j) the cell of the centre and s_j = 0.09 times the side of the box, in cells. Where hills of several
    boxes overlap, the smallest box is asked for. Cost: O(m a c) time and memory.
    """
    height, width = grid
    used = boxes[~ignored]
    hills = _hills(used, grid)
    heat = torch.zeros(count * classes, height * width)
    own = owners[~ignored]
    _raise(heat, own * classes + labels[~ignored], hills)
    silent = torch.zeros(count * classes, height * width)
    _raise(silent, (owners * classes + labels)[ignored], _inside(boxes[ignored], grid))
    sides, weight = torch.zeros(count, height * width, 4), torch.zeros(count, height * width)
    share = torch.where(hills >= FOOT, hills, 0.0)
    share /= share.sum(1, keepdim=True).clamp_min(1e-12)
    area = (used[:, 2] - used[:, 0]) * (used[:, 3] - used[:, 1])
    # The smallest box of each image and cell is the one whose place in this order is the largest.
    order = area.argsort(descending=True, stable=True)
    place = torch.arange(1, len(order) + 1, dtype=torch.float32)[:, None] * (share[order] > 0)
    winner = _raise(torch.zeros(count, height * width), own[order], place).long() - 1
    image, cell = (winner >= 0).nonzero().T
    box = order[winner[image, cell]]
    sides[image, cell], weight[image, cell] = used[box], share[box, cell]
    return Targets(
        heat.reshape(count, classes, height, width),
        silent.reshape(count, classes, height, width) > 0,
        sides.transpose(1, 2).reshape(count, 4, height, width),
        weight.reshape(count, height, width),
        len(used),
    )


def _raise(table: Float[Tensor, "r cells"], rows: Int64[Tensor, " m"], values: Float[Tensor, "m cells"]) -> Tensor:
    """Lift rows of the table, in place, to the largest of the values for them."""
    return table.scatter_reduce_(0, rows[:, None].expand_as(values), values, "amax")


def _hills(boxes: Float[Tensor, "m 4"], grid: tuple[int, int]) -> Float[Tensor, "m cells"]:
    """A bell of height 1 around the cell of each centre."""
    one = []
    for axis, cells in ((1, grid[0]), (0, grid[1])):
        low, high = boxes[:, axis] / STRIDE, boxes[:, axis + 2] / STRIDE
        middle = ((low + high) / 2).floor().clamp(0, cells - 1)
        spread = ((high - low) * SPREAD).clamp_min(LEAST)
        gap = torch.arange(cells) - middle[:, None]
        one.append(torch.exp(-gap.square() / (2 * spread[:, None].square())))
    return (one[0][:, :, None] * one[1][:, None, :]).flatten(1)


def _inside(boxes: Float[Tensor, "m 4"], grid: tuple[int, int]) -> Float[Tensor, "m cells"]:
    """1 for cells whose middle lies in the box."""
    one = []
    for axis, cells in ((1, grid[0]), (0, grid[1])):
        middle = (torch.arange(cells) + 0.5) * STRIDE
        one.append((middle >= boxes[:, axis, None]) & (middle <= boxes[:, axis + 2, None]))
    return (one[0][:, :, None] & one[1][:, None, :]).flatten(1).float()


def centre_loss(logits: Float[Tensor, "b C a c"], targets: Targets) -> Float[Tensor, ""]:
    """The focal loss of "Objects as Points", a sum over cells divided by the number of objects.

    -(1 - p)^2 log p                  at centres
    -(1 - heat)^4 p^2 log(1 - p)      elsewhere, with p = sigmoid(logit)
    """
    p = logits.sigmoid()
    log_p, log_not = torch.nn.functional.logsigmoid(logits), torch.nn.functional.logsigmoid(-logits)
    at_centre = targets.heat == 1
    near = -(1 - p).square() * log_p
    far = -(1 - targets.heat).pow(4) * p.square() * log_not
    far = far.masked_fill(targets.silent, 0.0)
    return torch.where(at_centre, near, far).sum() / max(1, targets.objects)


def box_loss(sides: Float[Tensor, "b 4 a c"], targets: Targets) -> Float[Tensor, ""]:
    """1 - GIoU of the answered and the asked box, weighted, divided by the sum of the weights.

    Rezatofighi et al., "Generalized Intersection over Union", 2019, https://arxiv.org/abs/1902.09630. `sides` are
    distances from the middle of the cell to left, top, right and bottom.
    """
    image, y, x = (targets.weight > 0).nonzero().T
    weight = targets.weight[image, y, x]
    middle = torch.stack([x, y], 1).add(0.5).mul(STRIDE).repeat(1, 2)
    signs = torch.tensor([-1.0, -1.0, 1.0, 1.0], device=sides.device)
    answered = middle + sides[image, :, y, x] * signs
    loss = 1 - giou(answered, targets.sides[image, :, y, x])
    return (weight * loss).sum() / weight.sum().clamp_min(1e-12)


def giou(a: Float[Tensor, "m 4"], b: Float[Tensor, "m 4"]) -> Float[Tensor, " m"]:
    """Generalised intersection over union of boxes, pair by pair: in [-1, 1]."""
    inner = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp_min(0).prod(1)
    outer = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(1)
    union = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - inner
    return inner / union.clamp_min(1e-9) - (outer - union) / outer.clamp_min(1e-9)
