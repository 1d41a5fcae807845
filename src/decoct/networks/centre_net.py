"""CentreNet: a small network that says where the centres of objects are, and how far their sides."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

STRIDE = 4
"""Pixels of the input for one cell of the maps."""
REACH = 16.0
"""Pixels from a centre to a side where the network answers 0: the middle of what it can say."""
PRIOR = 0.01
"""Probability of a centre in a cell that an untrained network answers, so that empty cells do not flood the loss."""


class CentreNet(nn.Module):
    """An encoder to a stride of 16, a decoder back to a stride of 4, and two heads; no anchors.

    In the manner of Zhou, Wang, Krahenbuehl, "Objects as Points", 2019, https://arxiv.org/abs/1904.07850, and Liu,
    Zheng, Xu, Yang, Cai, "Training-Time-Friendly Network for Real-Time Object Detection", 2020,
    https://arxiv.org/abs/1909.00700, but far smaller and trained from scratch: width 32 and 20 classes make
    204,872 parameters.

    Inputs `[n, 3, h, w]`, h and w multiples of 16. `forward` gives logits of centres `[n, C, h/4, w/4]` and distances
    from the middle of a cell to left, top, right and bottom `[n, 4, h/4, w/4]` in pixels; `maps` gives the features
    `[n, width, h/4, w/4]` that both heads read.
    """

    def __init__(self, classes: int, width: int = 32) -> None:
        super().__init__()
        half, more, most = width // 2, width * 3 // 2, width * 2
        self.stem = nn.Sequential(_block(3, half, 2), _block(half, width, 2), _block(width, width))
        self.down8 = nn.Sequential(_block(width, more, 2), _block(more, more))
        self.down16 = nn.Sequential(_block(more, most, 2), _block(most, most))
        self.up8 = _block(most + more, more)
        self.up4 = _block(more + width, width)
        self.centres = nn.Sequential(_block(width, width), nn.Conv2d(width, classes, 1))
        self.sides = nn.Sequential(_block(width, width), nn.Conv2d(width, 4, 1))
        last = self.centres[-1]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        nn.init.constant_(last.bias, math.log(PRIOR / (1 - PRIOR)))

    def maps(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n d a b"]:
        """Features at a stride of 4."""
        fine = self.stem(x)
        middle = self.down8(fine)
        coarse = self.down16(middle)
        middle = self.up8(torch.cat([_twice(coarse), middle], 1))
        return self.up4(torch.cat([_twice(middle), fine], 1))

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> tuple[Float[Tensor, "n C a b"], Float[Tensor, "n 4 a b"]]:
        found = self.maps(x)
        return self.centres(found), REACH * self.sides(found).clamp(-4, 4).exp()


def _block(inner: int, outer: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inner, outer, 3, stride, 1, bias=False), nn.BatchNorm2d(outer), nn.ReLU(inplace=True)
    )


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
