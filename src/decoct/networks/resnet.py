"""ResNet-10, -18 and -34 for small images, and the field's average-pool variant."""

from __future__ import annotations

from math import prod

from jaxtyping import Float
from torch import Tensor, nn

from decoct.networks.layers import (
    Size,
    activation_layer,
    norm_layer,
    pool_layer,
    require_choice,
    require_image,
)

_STAGES = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}


class Block(nn.Module):
    """`act(norm(conv3x3(act(norm(conv3x3(x))))) + shortcut(x))`, where `halve` makes the map half as large.

    Maps of `size` come in and maps of `self.size` leave. With `average`, average pooling halves the map instead of a
    stride. Halving is left out where it would leave fewer than four values to normalise.
    """

    def __init__(
        self, before: int, width: int, size: Size, *, halve: bool, norm: str, activation: str, average: bool
    ) -> None:
        super().__init__()
        pool, pooled = pool_layer("avg" if halve else "none", size)
        stride = (1, 1)
        if isinstance(pool, nn.AvgPool2d) and not average:
            # A stride rounds odd sides up where pooling rounds them down.
            stride, pool = (min(2, size[0]), min(2, size[1])), nn.Identity()
            pooled = (-(-size[0] // stride[0]), -(-size[1] // stride[1]))
        inner = pooled if stride != (1, 1) else size
        self.size = pooled
        self.body = nn.Sequential(
            nn.Conv2d(before, width, 3, stride, padding=1, bias=False),
            norm_layer(norm, width, inner),
            activation_layer(activation),
            pool,
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            norm_layer(norm, width, pooled),
        )
        self.shortcut = nn.Sequential()
        if halve or before != width:
            shrink = nn.Conv2d(before, width, 1, stride, bias=False)
            self.shortcut = nn.Sequential(shrink, pool, norm_layer(norm, width, pooled))
        self.activation = activation_layer(activation)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c2 h2 w2"]:
        return self.activation(self.body(x) + self.shortcut(x))


class ResNet(nn.Module):
    """A 3x3 convolution and four stages of blocks of widths 1, 2, 4 and 8 times `width`, then one linear layer.

    He, Zhang, Ren & Sun, "Deep Residual Learning for Image Recognition" (2016, https://arxiv.org/abs/1512.03385) in
    the form for small images of https://github.com/kuangliu/pytorch-cifar: depth 18, width 64 and batch normalisation
    make 11,173,962 parameters for CIFAR-10. Features `[n, 8 width]`: the mean of the last map.

    `average=True` is the ResNet18-AP of https://github.com/VICO-UoE/DatasetCondensation: average pooling instead of
    strides, no pooling at the end (features `[n, 8 width h' w']`, 8,192 for CIFAR-10), and instance normalisation
    where none is named; the plain network has batch normalisation where none is named.

    Inputs `[n, c, h, w]`, logits `[n, classes]`.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        depth: int = 18,
        width: int = 64,
        norm: str | None = None,
        activation: str = "relu",
        average: bool = False,
    ) -> None:
        super().__init__()
        require_choice("depth of a ResNet", depth, tuple(_STAGES))
        channels, size = require_image(shape, "resnet")
        norm = norm or ("in" if average else "bn")
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            norm_layer(norm, width, size),
            activation_layer(activation),
        )
        blocks: list[nn.Module] = []
        before = width
        for stage, count in enumerate(_STAGES[depth]):
            for place in range(count):
                halve = stage > 0 and place == 0
                block = Block(
                    before, width << stage, size, halve=halve, norm=norm, activation=activation, average=average
                )
                before, size = width << stage, block.size
                blocks.append(block)
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.Identity() if average else nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(before * (prod(size) if average else 1), classes)

    def features(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d"]:
        """The input of the last linear layer."""
        return self.pool(self.blocks(self.stem(x))).flatten(1)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        return self.classifier(self.features(x))
