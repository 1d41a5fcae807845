"""Augmentation of images with boxes: mirrored, zoomed and shifted, the boxes with them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

KEPT = 0.3
"""Share of its area that a box needs inside the canvas to stay a box."""


@dataclass(frozen=True, eq=False)
class Moves:
    """One move for each of `b` images, replayable."""

    mirror: Float[Tensor, " b"]
    """-1 where the image is mirrored left to right, else 1."""
    zoom: Float[Tensor, " b"]
    """Factor by which it grows around the middle of the canvas."""
    shift: Float[Tensor, "b 2"]
    """Right and down, in halves of the canvas."""

    def images(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The images so moved; what comes from outside is 0."""
        theta = torch.zeros(len(x), 2, 3)
        theta[:, 0, 0], theta[:, 1, 1] = self.mirror / self.zoom, 1 / self.zoom
        theta[:, 0, 2] = -self.shift[:, 0] * self.mirror / self.zoom
        theta[:, 1, 2] = -self.shift[:, 1] / self.zoom
        grid = F.affine_grid(theta.to(x.device), list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    def boxes(
        self, boxes: Float[Tensor, "m 4"], owners: Int64[Tensor, " m"], size: tuple[int, int]
    ) -> tuple[Float[Tensor, "m 4"], Bool[Tensor, " m"]]:
        """The boxes so moved and cut at the canvas of `size` (height, width), and which of them are still boxes."""
        half = torch.tensor([size[1], size[0]]) / 2
        turn = torch.stack([self.mirror, torch.ones_like(self.mirror)], 1)[owners]
        zoom, shift = self.zoom[owners, None], self.shift[owners]
        ends = [(boxes[:, place] - half) * turn * zoom + (shift + 1) * half for place in ([0, 1], [2, 3])]
        moved = torch.cat([torch.minimum(*ends), torch.maximum(*ends)], 1)
        inner = torch.cat([moved[:, :2].clamp_min(0), torch.minimum(moved[:, 2:], 2 * half)], 1)
        sides, whole = (inner[:, 2:] - inner[:, :2]).clamp_min(0), moved[:, 2:] - moved[:, :2]
        return inner, sides.prod(1) >= KEPT * whole.prod(1)


def draw_moves(count: int, zoom: float, mirror: bool, generator: torch.Generator) -> Moves:
    """Moves for `count` images: mirrored one time in two where `mirror`, grown by a factor between 1 - zoom and
    1 + zoom, and shifted by at most the share `zoom` of half a canvas."""
    sides = torch.rand(count, generator=generator) < 0.5
    amount = torch.rand(count, 3, generator=generator) * 2 - 1
    turn = torch.where(sides & torch.tensor(mirror), -1.0, 1.0)
    return Moves(turn, 1 + zoom * amount[:, 0], zoom * amount[:, 1:])
