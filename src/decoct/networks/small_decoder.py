"""A small network from latents to images, light enough to be trained in seconds."""

from __future__ import annotations

from math import prod

import torch
from jaxtyping import Float
from torch import Tensor, nn


class SmallDecoder(nn.Module):
    """Latents `[n, z]` with the class as one-hot `[n, classes]` -> inputs `[n, c, h, w]`, or `[n, d]`.

    Images: a linear layer to `4 width` maps of a quarter of the sides (rounded up), then twice [enlarge by repeating
    pixels -> conv 3x3 -> leaky ReLU], then conv 3x3 to the channels. Sides that 4 does not divide are cut to size.
    Features: an MLP with one hidden layer of `8 width`. No normalisation and no tensors outside the state dict, so a
    row never depends on its neighbours. Width 16, 32 latents, 1x28x28 and 10 classes make 158,081 parameters.
    """

    conditional = True

    def __init__(self, shape: tuple[int, ...], classes: int, *, latent: int = 32, width: int = 16) -> None:
        super().__init__()
        self.latent_size, self.shape = latent, tuple(shape)
        known = latent + classes
        if len(shape) == 1:
            self.start = nn.Linear(known, 8 * width)
            self.layers = nn.ModuleList([nn.Linear(8 * width, shape[0])])
            return
        channels, *sides = shape
        self._sides = [tuple(-(-side // part) for side in sides) for part in (4, 2, 1)]
        self.start = nn.Linear(known, 4 * width * prod(self._sides[0]))
        self.layers = nn.ModuleList(
            [
                nn.Conv2d(4 * width, 2 * width, 3, padding=1),
                nn.Conv2d(2 * width, width, 3, padding=1),
                nn.Conv2d(width, channels, 3, padding=1),
            ]
        )

    def forward(self, latents: Float[Tensor, "n z"], classes: Float[Tensor, "n classes"]) -> Float[Tensor, "n ..."]:
        hidden = nn.functional.leaky_relu(self.start(torch.cat([latents, classes], 1)), 0.1)
        if len(self.shape) == 1:
            return self.layers[0](hidden)
        maps = hidden.reshape(len(latents), -1, *self._sides[0])
        for (height, width), layer in zip(self._sides[1:], list(self.layers)[:2], strict=True):
            maps = maps.repeat_interleave(2, 2).repeat_interleave(2, 3)[:, :, :height, :width]
            maps = nn.functional.leaky_relu(layer(maps), 0.1)
        return self.layers[2](maps)
