"""AlexNet in the size that the field trains on small images."""

from __future__ import annotations

from math import prod

from jaxtyping import Float
from torch import Tensor, nn

from decoct.networks.layers import activation_layer, norm_layer, padded, pool_layer, require_image, stem_padding


class AlexNet(nn.Module):
    """Five convolutions (5x5 128, 5x5 192, 3x3 256, 3x3 192, 3x3 192), max pooling after the first two and the last.

    Krizhevsky, Sutskever & Hinton, "ImageNet Classification with Deep Convolutional Neural Networks" (2012,
    https://papers.nips.cc/paper/4824), reduced as in https://github.com/VICO-UoE/DatasetCondensation: one linear layer,
    no normalisation, 1,872,202 parameters for CIFAR-10; 28x28 gray images grow to 32x32 in the first layer.
    Inputs `[n, c, h, w]`, features `[n, 1.5 width h' w']` (3,072 for CIFAR-10), logits `[n, classes]`.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        width: int = 128,
        norm: str = "none",
        activation: str = "relu",
        pooling: str = "max",
    ) -> None:
        super().__init__()
        channels, size = require_image(shape, "alexnet")
        widths = [width, width * 3 // 2, width * 2, width * 3 // 2, width * 3 // 2]
        layers: list[nn.Module] = []
        for place, (out, kernel) in enumerate(zip(widths, (5, 5, 3, 3, 3), strict=True)):
            padding = stem_padding(channels, size, kernel) if place == 0 else kernel // 2
            size = padded(size, padding, kernel)
            before = channels if place == 0 else widths[place - 1]
            layers += [
                nn.Conv2d(before, out, kernel, padding=padding),
                norm_layer(norm, out, size),
                activation_layer(activation),
            ]
            if place in (0, 1, 4):
                pool, size = pool_layer(pooling, size, last=place == 4)
                layers.append(pool)
        self.blocks = nn.Sequential(*[layer for layer in layers if not isinstance(layer, nn.Identity)])
        self.classifier = nn.Linear(widths[-1] * prod(size), classes)

    def features(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """The input of the last linear layer."""
        return self.blocks(x).flatten(1)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        return self.classifier(self.features(x))
