"""LeNet-5 as the field uses it."""

from __future__ import annotations

from math import prod

from jaxtyping import Float
from torch import Tensor, nn

from decoct.networks.layers import activation_layer, padded, pool_layer, require_image


class LeNet(nn.Module):
    """Two blocks of [conv 5x5 -> ReLU -> max pool] with 6 and 16 maps, then linear layers of 120, 84 and `classes`.

    LeCun, Bottou, Bengio & Haffner, "Gradient-Based Learning Applied to Document Recognition" (1998,
    http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf), with ReLU and max pooling as in
    https://github.com/VICO-UoE/DatasetCondensation: 61,706 parameters for MNIST, 62,006 for CIFAR-10.
    Inputs `[n, c, h, w]`, features `[n, 84]`, logits `[n, classes]`. Images with a side below 14 are padded so that
    both convolutions keep their size.
    """

    def __init__(self, shape: tuple[int, ...], classes: int, *, activation: str = "relu") -> None:
        super().__init__()
        channels, size = require_image(shape, "lenet")
        small = min(size) < 14
        size = padded(size, 2 if channels == 1 or small else 0, 5)
        first, pooled = pool_layer("max", size)
        last, final = pool_layer("max", padded(pooled, 2 if small else 0, 5), last=True)
        self.blocks = nn.Sequential(
            nn.Conv2d(channels, 6, 5, padding=2 if channels == 1 or small else 0),
            activation_layer(activation),
            first,
            nn.Conv2d(6, 16, 5, padding=2 if small else 0),
            activation_layer(activation),
            last,
        )
        self.hidden = nn.Sequential(
            nn.Linear(16 * prod(final), 120), activation_layer(activation),
            nn.Linear(120, 84), activation_layer(activation),
        )  # fmt: skip
        self.classifier = nn.Linear(84, classes)

    def features(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """The input of the last linear layer."""
        return self.hidden(self.blocks(x).flatten(1))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        return self.classifier(self.features(x))
