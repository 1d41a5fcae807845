"""A small vision transformer that a CPU can train."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from decoct.errors import ConfigError
from decoct.networks.layers import require_image

HEAD = 64
"""Width of one attention head."""


class Attention(nn.Module):
    """Multi-head self-attention, written out so that second derivatives exist (the fused kernels have none)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = max(1, width // HEAD)
        self.into = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "n t d"]) -> Float[Tensor, "n t d"]:
        parts = self.into(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = parts[0], parts[1], parts[2]
        weights = (query @ key.transpose(2, 3) / math.sqrt(query.shape[3])).softmax(3)
        return self.out((weights @ value).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """`x + attention(norm(x))`, then `x + mlp(norm(x))` with a hidden layer twice as wide."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.LayerNorm(width), Attention(width))
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Float[Tensor, "n t d"]) -> Float[Tensor, "n t d"]:
        x = x + self.attention(x)
        return x + self.mlp(x)


class ViT(nn.Module):
    """Patches -> linear embedding + learned positions -> `depth` pre-norm blocks -> mean over patches -> linear layer.

    Dosovitskiy et al., "An Image is Worth 16x16 Words" (2021, https://arxiv.org/abs/2010.11929) at half the depth of
    its smallest common size (width 192, 3 heads), with the mean over patches of Beyer, Zhai & Kolesnikov, "Better
    plain ViT baselines for ImageNet-1k" (2022, https://arxiv.org/abs/2205.01580) instead of a class token, and no
    dropout. The patch is about an eighth of the shorter side (4 pixels at 28 and 32), at least 2; images are padded
    with zeros to whole patches. Inputs `[n, c, h, w]`, features `[n, width]`, logits `[n, classes]`.
    """

    def __init__(self, shape: tuple[int, ...], classes: int, *, depth: int = 6, width: int = 192) -> None:
        super().__init__()
        channels, (height, breadth) = require_image(shape, "vit")
        if width > HEAD and width % (width // HEAD):
            raise ConfigError(
                "building the network 'vit'",
                received=f"width {width}",
                expected=f"a width that {width // HEAD} heads can share",
                remedy=f"use a multiple of {HEAD}",
            )
        patch = max(2, int(min(height, breadth) / 8 + 0.5))
        self.margin = (0, -breadth % patch, 0, -height % patch)
        tokens = math.ceil(height / patch) * math.ceil(breadth / patch)
        self.patches = nn.Conv2d(channels, width, patch, stride=patch)
        self.positions = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.blocks = nn.Sequential(*[Block(width) for _ in range(depth)], nn.LayerNorm(width))
        self.classifier = nn.Linear(width, classes)

    def features(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """The input of the last linear layer."""
        tokens = self.patches(F.pad(x, self.margin)).flatten(2).transpose(1, 2)
        return self.blocks(tokens + self.positions).mean(1)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        return self.classifier(self.features(x))
