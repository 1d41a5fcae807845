"""ConvNet-D: the standard network of dataset distillation."""

from __future__ import annotations

from math import prod

from jaxtyping import Float
from torch import Tensor, nn

from decoct.networks.layers import activation_layer, norm_layer, padded, pool_layer, require_image, stem_padding


class ConvNet(nn.Module):
    """`depth` blocks of [conv 3x3 -> norm -> activation -> pool 2x2], then one linear layer.

    Used by Gidaris & Komodakis, "Dynamic Few-Shot Visual Learning without Forgetting" (2018,
    https://arxiv.org/abs/1804.09458), and for distillation since Zhao, Mopuri & Bilen, "Dataset Condensation with
    Gradient Matching" (2021, https://arxiv.org/abs/2006.05929); authors' code:
    https://github.com/VICO-UoE/DatasetCondensation.

    Inputs `[n, c, h, w]`, features `[n, width * h' * w']`, logits `[n, classes]`. Depth 3, width 128, instance
    normalisation, 3x32x32 and 10 classes make 320,010 parameters and 101.5 MFLOP a forward image.

    Differences from the official code: any image size works (odd sides are rounded down by pooling, and a map that is
    normalised again is never pooled below four values); only 28x28 gray images, for which the field pads the first
    convolution by 3, are padded so; other gray images keep their size.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        depth: int = 3,
        width: int = 128,
        norm: str = "in",
        activation: str = "relu",
        pooling: str = "avg",
    ) -> None:
        super().__init__()
        channels, size = require_image(shape, "convnet")
        blocks: list[nn.Module] = []
        for block in range(depth):
            padding = stem_padding(channels, size, 3) if block == 0 else 1
            size = padded(size, padding, 3)
            pool, pooled = pool_layer(pooling, size, last=block == depth - 1)
            blocks += [
                nn.Conv2d(channels if block == 0 else width, width, 3, padding=padding),
                norm_layer(norm, width, size),
                activation_layer(activation),
                pool,
            ]
            size = pooled
        self.blocks = nn.Sequential(*[layer for layer in blocks if not isinstance(layer, nn.Identity)])
        self.classifier = nn.Linear(width * prod(size), classes)

    def features(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """The input of the last linear layer."""
        return self.blocks(x).flatten(1)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        return self.classifier(self.features(x))
