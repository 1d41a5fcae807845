"""Looking at every training row: one forward pass of one block after another, here or as work units of an engine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import overload

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor, nn

from decoct.data.dataset import Dataset
from decoct.data.transform import Transform
from decoct.engine import Engine
from decoct.networks.embedding import embed_and_classify
from decoct.networks.probe import undisturbed
from decoct.training.fast_embed import FastEmbed

BLOCK = 2048
"""Rows looked at together."""


@dataclass(frozen=True)
class Watched:
    """A network that is looked at more than once while it is trained."""

    key: str
    """Names the training: looks of one training share a compiled forward pass, and never take that of another."""
    classes: int
    planned_rows: int
    """Rows of all looks together: what decides, by arithmetic alone, whether compiling pays."""
    module: nn.Module = field(compare=False)


@dataclass(frozen=True, eq=False)
class Look:
    """A block of raw rows, and the network that looks at them."""

    watched: Watched
    transform: Transform
    raw: Shaped[Tensor, "b ..."]
    labels: Int64[Tensor, " b"]
    device: str = "cpu"


def look(unit: Look) -> dict[str, Tensor]:
    """What the network thinks of each row of the block, in eval mode; on the processor."""
    module, classes = unit.watched.module, unit.watched.classes
    with undisturbed(module):
        seen = _forward(unit.watched)(unit.transform(unit.raw.to(unit.device)), module)
        facts = row_facts(seen[:, :-classes], seen[:, -classes:], unit.labels.to(unit.device))
    return {name: values.cpu() for name, values in facts.items()}


@lru_cache(maxsize=1)
def _forward(watched: Watched) -> FastEmbed:
    return FastEmbed(watched.module, _features_and_logits, planned_rows=watched.planned_rows)


def _features_and_logits(module: nn.Module, inputs: Tensor) -> Tensor:
    return torch.cat(embed_and_classify(module, inputs), 1)


def row_facts(
    features: Float[Tensor, "n d"], logits: Float[Tensor, "n classes"], labels: Tensor
) -> dict[str, Float[Tensor, " n"] | Bool[Tensor, " n"]]:
    """The facts that `Dynamics` keeps, of rows with these features, logits and labels."""
    p = logits.softmax(1)
    own = logits.gather(1, labels[:, None])[:, 0]
    others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    best, second = logits.topk(2, dim=1).indices.split(1, dim=1)
    # What an entry lacks of 1 is the sum of the others: 1 - p itself would be 0 long before.
    miss, doubt = p.scatter(1, labels[:, None], 0.0).sum(1), p.scatter(1, best, 0.0).sum(1)
    norm = p.scatter(1, labels[:, None], -miss[:, None]).norm(dim=1)
    log_p = logits.log_softmax(1).scatter(1, best, torch.log1p(-doubt)[:, None])
    return {
        "miss": miss,
        "margin": own - others,
        "correct": own > others,
        "error_norm": norm,
        "gradient_norm": norm * (1 + features.square().sum(1)).sqrt(),
        "entropy": -(p * log_p).sum(1),
        "doubt": doubt,
        "rivalry": doubt + p.gather(1, second)[:, 0],
    }


class Telling(nn.Module):
    """A network that says features and logits side by side, `[b, d + C]`, while it is trained; in eval mode logits."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Float[Tensor, "b ..."]) -> Float[Tensor, "b outputs"]:
        return _features_and_logits(self.inner, x) if self.training else self.inner(x)


class Overheard:
    """One column of `Dynamics` from the batches of a pass, each row under the weights as they were when it was shown.

    `labels` are those of all rows.
    """

    def __init__(self, labels: Int64[Tensor, " n"], classes: int) -> None:
        self._labels, self._classes = labels, classes
        self._tables: dict[str, Tensor] = {}

    def told(self, rows: Int64[Tensor, " b"] | None, outputs: Float[Tensor, "b outputs"]) -> None:
        labels = self._labels if rows is None else self._labels[rows]
        features, logits = outputs[:, : -self._classes], outputs[:, -self._classes :]
        for name, values in row_facts(features, logits, labels.to(outputs.device)).items():
            if name not in self._tables:
                self._tables[name] = values.new_zeros(len(self._labels))
            self._tables[name][slice(None) if rows is None else rows] = values

    def take(self) -> dict[str, Shaped[Tensor, " n"]]:
        """The column of the pass that has ended, on the processor; the next one begins empty."""
        found, self._tables = self._tables, {}
        return {name: values.cpu() for name, values in found.items()}


@dataclass(frozen=True, eq=False)
class Looks(Sequence[Look]):
    """The blocks of the training split, each read when it is its turn."""

    watched: Watched
    data: Dataset
    device: str = "cpu"

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
        return Look(self.watched, self.data.spec.transform, train.raw(rows), train.labels(rows), self.device)


def observe(
    watched: Watched, data: Dataset, device: str = "cpu", engine: Engine | None = None
) -> dict[str, Shaped[Tensor, " n"]]:
    """One column of `Dynamics`: every training row under the network as it is now, in eval mode, without gradients.

    Blocks of rows are work units of the `engine` where there is one and `device` is the processor.
    """
    units = Looks(watched, data, device)
    if engine is not None and device == "cpu":
        parts = dict(engine.map(look, units))
    else:
        parts = {place: look(unit) for place, unit in enumerate(units)}
    return {name: torch.cat([parts[place][name] for place in range(len(parts))]) for name in parts[0]}
