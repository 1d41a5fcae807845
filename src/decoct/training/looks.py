"""Looking at every training row as work units of an engine: one forward pass of one block each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor, nn

from decoct.data.dataset import Dataset
from decoct.data.transform import Transform
from decoct.engine import Engine
from decoct.networks.embedding import embed_and_classify
from decoct.training.dynamics import BLOCK, row_facts


@dataclass(frozen=True, eq=False)
class Look:
    """A block of raw rows, and the network that looks at them."""

    module: nn.Module
    transform: Transform
    raw: Shaped[Tensor, "b ..."]
    labels: Int64[Tensor, " b"]


def look(unit: Look) -> dict[str, Tensor]:
    """What the network thinks of each row of the block, in eval mode."""
    module = unit.module.eval()
    with torch.no_grad():
        features, logits = embed_and_classify(module, unit.transform(unit.raw))
        return row_facts(features.float(), logits.float(), unit.labels)


@dataclass(frozen=True, eq=False)
class Looks(Sequence[Look]):
    """The blocks of the training split, each read when it is its turn."""

    module: nn.Module
    data: Dataset

    def __len__(self) -> int:
        return math.ceil(len(self.data.train) / BLOCK)

    @overload
    def __getitem__(self, place: int) -> Look: ...
    @overload
    def __getitem__(self, place: slice) -> list[Look]: ...
    def __getitem__(self, place: int | slice) -> Look | list[Look]:
        if isinstance(place, slice):
            return [self[own] for own in range(*place.indices(len(self)))]
        if not 0 <= place < len(self):
            raise IndexError(place)
        rows = slice(place * BLOCK, (place + 1) * BLOCK)
        train = self.data.train
        return Look(self.module, self.data.spec.transform, train.raw(rows), train.labels(rows))


def observed(engine: Engine, module: nn.Module, data: Dataset) -> dict[str, Tensor]:
    """What `dynamics.observe` gives, computed by the engine, on the processor."""
    was_training = module.training
    parts = dict(engine.map(look, Looks(module, data)))
    module.train(was_training)
    return {name: torch.cat([parts[place][name] for place in range(len(parts))]) for name in parts[0]}
