"""Hyper-parameters of a training as one vector: kinds side by side, and those that the command line names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor

from decoct.errors import ConfigError
from decoct.training.flat import FlatNetwork
from decoct.training.hyperparameters import (
    Knobs,
    LabelSmoothing,
    LearningRate,
    Noise,
    OperationMixture,
    WeightDecay,
    require,
)


@dataclass(frozen=True)
class Space:
    """All hyper-parameters of a search as one vector `u` in `[0, 1]^h`, the kinds one after the other."""

    kinds: tuple[Knobs, ...] = (WeightDecay(), LabelSmoothing())

    def __post_init__(self) -> None:
        require(len(self.kinds) > 0, "kinds of a Space", self.kinds, "at least one")

    def names(self, net: FlatNetwork) -> tuple[str, ...]:
        return tuple(name for kind in self.kinds for name in kind.names(net))

    def _parts(self, net: FlatNetwork, u: Tensor) -> list[tuple[Knobs, Tensor]]:
        sizes = [len(kind.names(net)) for kind in self.kinds]
        if len(u) != sum(sizes):
            raise ConfigError(
                "reading hyper-parameters",
                received=f"{len(u)} values",
                expected=f"{sum(sizes)}: {', '.join(self.names(net))}",
                remedy="give one value in [0, 1] for each",
            )
        return list(zip(self.kinds, u.split(sizes), strict=True))

    def batch(
        self, net: FlatNetwork, u: Float[Tensor, " h"], x: Float[Tensor, "n ..."], y: Float[Tensor, "n classes"]
    ) -> tuple[Float[Tensor, "n ..."], Float[Tensor, "n classes"]]:
        """Training rows and targets under these hyper-parameters."""
        for kind, part in self._parts(net, u):
            x, y = kind.inputs(x, part), kind.targets(y, part)
        return x, y

    def penalty(
        self, net: FlatNetwork, u: Float[Tensor, " h"], theta: Float[Tensor, " P"], start: Float[Tensor, " P"]
    ) -> Float[Tensor, ""]:
        """The regulariser under these hyper-parameters."""
        return torch.stack([kind.penalty(theta, start, part, net) for kind, part in self._parts(net, u)]).sum()

    def starts(self, net: FlatNetwork, count: int, generator: torch.Generator) -> Float[Tensor, "count h"]:
        """Where trajectories start: every kind goes through its corners in an order of its own, again and again."""
        columns = []
        for kind in self.kinds:
            corners = kind.corners(net)
            order = torch.cat([torch.randperm(len(corners), generator=generator) for _ in range(count)])[:count]
            columns.append(torch.tensor(corners)[order])
        return torch.cat(columns, 1)

    def candidates(self, net: FlatNetwork, count: int, generator: torch.Generator) -> Float[Tensor, "count h"]:
        """Hyper-parameters to be ranked: uniform in the continuous kinds, pure choices in the discrete ones."""
        rows = [[v for kind in self.kinds for v in kind.grid(net, generator)] for _ in range(count)]
        return torch.tensor(rows)


KINDS: Mapping[str, Knobs] = MappingProxyType(
    {
        "decay": WeightDecay(per_layer=False),
        "layer-decay": WeightDecay(),
        "learning-rate": LearningRate(),
        "noise": Noise(),
        "operations": OperationMixture(),
        "smoothing": LabelSmoothing(),
    }
)
"""Kinds by the names that the command line takes."""
