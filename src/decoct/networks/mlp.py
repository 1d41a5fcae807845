"""The multi-layer perceptron: the network for tables of features, and the simplest one for images."""

from __future__ import annotations

from math import prod

from jaxtyping import Float
from torch import Tensor, nn

from decoct.networks.layers import activation_layer


class MLP(nn.Module):
    """`depth` linear layers of `width` hidden units with an activation between them; images are flattened.

    Depth 3 and width 128 as in https://github.com/VICO-UoE/DatasetCondensation: 118,282 parameters for MNIST.
    Inputs `[n, ...]`, features `[n, width]` (at depth 1 the inputs themselves), logits `[n, classes]`.
    """

    def __init__(
        self, shape: tuple[int, ...], classes: int, *, depth: int = 3, width: int = 128, activation: str = "relu"
    ) -> None:
        super().__init__()
        inputs, layers = prod(shape), []
        for _ in range(depth - 1):
            layers += [nn.Linear(inputs, width), activation_layer(activation)]
            inputs = width
        self.hidden = nn.Sequential(*layers)
        self.classifier = nn.Linear(inputs, classes)

    def features(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n d"]:
        """The input of the last linear layer."""
        return self.hidden(x.flatten(1))

    def forward(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n classes"]:
        return self.classifier(self.features(x))
