"""VGG in the size that the field trains on small images."""

from __future__ import annotations

from math import prod

from jaxtyping import Float
from torch import Tensor, nn

from decoct.networks.layers import (
    activation_layer,
    norm_layer,
    padded,
    pool_layer,
    require_choice,
    require_image,
    stem_padding,
)

# Convolutions of each of the five stages, and the stages' widths as multiples of the first.
_STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_WIDTHS = (1, 2, 4, 8, 8)


class VGG(nn.Module):
    """Five stages of [conv 3x3 -> norm -> ReLU] with a pooling after each, then one linear layer.

    Simonyan & Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (2015,
    https://arxiv.org/abs/1409.1556), with one linear layer as in https://github.com/kuangliu/pytorch-cifar and
    https://github.com/VICO-UoE/DatasetCondensation (which calls the one with instance normalisation VGG11 and this
    one VGG11BN): depth 11, width 64 and batch normalisation make 9,231,114 parameters for CIFAR-10.
    Inputs `[n, c, h, w]`, features `[n, 8 width h' w']` (512 for CIFAR-10), logits `[n, classes]`. Small images are
    pooled less often.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        depth: int = 11,
        width: int = 64,
        norm: str = "bn",
        activation: str = "relu",
        pooling: str = "max",
    ) -> None:
        super().__init__()
        require_choice("depth of a VGG", depth, tuple(_STAGES))
        channels, size = require_image(shape, "vgg")
        padding = stem_padding(channels, size, 3)
        layers: list[nn.Module] = []
        before = channels
        for stage, (convolutions, multiple) in enumerate(zip(_STAGES[depth], _WIDTHS, strict=True)):
            for _ in range(convolutions):
                size = padded(size, padding, 3)
                layers += [
                    nn.Conv2d(before, multiple * width, 3, padding=padding),
                    norm_layer(norm, multiple * width, size),
                    activation_layer(activation),
                ]
                before, padding = multiple * width, 1
            pool, size = pool_layer(pooling, size, last=stage == 4)
            layers.append(pool)
        self.blocks = nn.Sequential(*[layer for layer in layers if not isinstance(layer, nn.Identity)])
        self.classifier = nn.Linear(before * prod(size), classes)

    def features(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """The input of the last linear layer."""
        return self.blocks(x).flatten(1)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        return self.classifier(self.features(x))
