"""Features of regions: what lies inside boxes, read off feature maps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor


def pool_regions(
    maps: Float[Tensor, "n c h w"], boxes: Float[Tensor, "m 4"], owners: Int64[Tensor, " m"], size: int = 7
) -> Float[Tensor, "m c s s"]:
    """RoIAlign: every box as `size x size` cells, each the bilinear value at its centre.

        out[j, :, a, b] = maps[owner_j] at (top + (a + 1/2) (bottom - top) / s, left + (b + 1/2) (right - left) / s)

    He, Gkioxari, Dollar, Girshick, "Mask R-CNN", 2017, https://arxiv.org/abs/1703.06870. `boxes` are left, top, right,
    bottom in cells of the map, 0 being the outer edge of the first cell; values at the border are repeated outside.
    Cost: O(m c s^2), and no copy of a map for each box. Differs from the authors' code, which by default averages
    up to four points in a cell instead of taking one.
    """
    n, c, height, width = maps.shape
    steps = (torch.arange(size, device=maps.device, dtype=maps.dtype) + 0.5) / size
    x = boxes[:, 0, None] + (boxes[:, 2] - boxes[:, 0])[:, None] * steps
    y = boxes[:, 1, None] + (boxes[:, 3] - boxes[:, 1])[:, None] * steps
    # Outer edges of a map are -1 and 1 for `grid_sample`.
    grid = torch.stack(
        [(2 * x / width - 1)[:, None, :].expand(-1, size, -1), (2 * y / height - 1)[:, :, None].expand(-1, -1, size)], 3
    )
    out = maps.new_empty(len(boxes), c, size, size)
    for row in range(n):
        own = (owners == row).nonzero()[:, 0]
        if len(own):
            found = F.grid_sample(
                maps[row : row + 1],
                grid[own].reshape(1, len(own) * size, size, 2),
                mode="bilinear",
                padding_mode="border",
                align_corners=False,
            )
            out[own] = found.reshape(c, len(own), size, size).transpose(0, 1)
    return out
