"""Gradients of the last layer, one for each row, kept as the two factors that they are made of."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from decoct.data.dataset import Dataset, Split
from decoct.networks.embedding import embed_and_classify
from decoct.networks.probe import undisturbed
from decoct.selection.selector import Pick, Picks, Selector, checked
from decoct.selection.sources import Sources

BLOCK = 2048
"""Rows looked at together."""


@dataclass(frozen=True, eq=False)
class GradientSum:
    """A weighted sum of gradients `sum_j w_j g_j`: `s = sum_j w_j r_j` of the bias and `M = sum_j w_j r_j h_j^T`."""

    bias: Float[Tensor, " c"]
    """s."""
    weight: Float[Tensor, "c d"]
    """M."""

    def plus(self, other: GradientSum, times: float = 1.0) -> GradientSum:
        """This sum and `times` the other."""
        return GradientSum(self.bias + times * other.bias, self.weight + times * other.weight)

    def squared_norm(self) -> float:
        """`||sum||^2`."""
        return float(self.bias.square().sum() + self.weight.square().sum())


@dataclass(frozen=True, eq=False)
class LastLayer:
    """Gradients `g_i = (r_i h_i^T, r_i)` of the cross-entropy of row i for the last layer's weights and bias.

    `r_i = p_i - e_y` and `h_i` is what the layer is fed. `<g_i, g_j> = <r_i, r_j> (1 + <h_i, h_j>)` and
    `||g_i|| = ||r_i|| sqrt(1 + ||h_i||^2)`, so that n (C + d) numbers do for what would be n C (d + 1) written out.
    Without `bias` the 1 is left out; a table of any vectors is then the layer with r = 1 and h = the vector.
    """

    residuals: Float[Tensor, "n c"]
    features: Float[Tensor, "n d"]
    bias: bool = True

    @classmethod
    def of_table(cls, table: Float[Tensor, "n d"]) -> LastLayer:
        """Rows of a table taken as the gradients themselves."""
        return cls(table.new_ones(len(table), 1), table, bias=False)

    def __len__(self) -> int:
        return len(self.residuals)

    def take(self, rows: Int64[Tensor, " k"]) -> LastLayer:
        """The gradients of these rows, in this order."""
        return LastLayer(self.residuals[rows], self.features[rows], self.bias)

    def double(self) -> LastLayer:
        """The same in double precision: distances are differences of products, and halve the digits."""
        return LastLayer(self.residuals.double(), self.features.double(), self.bias)

    def squared_norms(self) -> Float[Tensor, " n"]:
        """`||g_i||^2`; O(n (C + d))."""
        return self.residuals.square().sum(1) * (self.features.square().sum(1) + float(self.bias))

    def gram(self, other: LastLayer) -> Float[Tensor, "n m"]:
        """`<g_i, g_j>` with the gradients of another set of rows; O(n m (C + d))."""
        return (self.residuals @ other.residuals.T) * (self.features @ other.features.T + float(self.bias))

    def distances(self, other: LastLayer) -> Float[Tensor, "n m"]:
        """`||g_i - g_j||`; O(n m (C + d))."""
        squares = self.squared_norms()[:, None] + other.squared_norms()[None] - 2 * self.gram(other)
        return squares.clamp(min=0).sqrt()

    def sum(self, weights: Float[Tensor, " n"] | None = None) -> GradientSum:
        """`sum_i w_i g_i`, with weights 1 if none are given; O(n C d) time, O(C d) memory."""
        scaled = self.residuals if weights is None else self.residuals * weights[:, None]
        bias = scaled.sum(0) if self.bias else torch.zeros_like(scaled[0])
        return GradientSum(bias, scaled.T @ self.features)

    def mean(self) -> GradientSum:
        """`sum_i g_i / n`."""
        return self.sum(torch.full_like(self.residuals[:, 0], 1 / len(self)))

    def inner(self, target: GradientSum) -> Float[Tensor, " n"]:
        """`<g_i, target> = r_i^T s + r_i^T M h_i`; O(n C d) time, O(n d) memory."""
        return ((self.residuals @ target.weight) * self.features).sum(1) + self.residuals @ target.bias


@dataclass(frozen=True, eq=False)
class Seen:
    """Rows as a network sees them: what its last layer is fed, its logits, and the labels."""

    features: Float[Tensor, "n d"]
    logits: Float[Tensor, "n c"]
    labels: Int64[Tensor, " n"]

    def take(self, rows: Int64[Tensor, " k"]) -> Seen:
        """These rows, in this order."""
        return Seen(self.features[rows], self.logits[rows], self.labels[rows])

    def gradients(self) -> LastLayer:
        """The gradients of their cross-entropy."""
        return LastLayer(self.logits.softmax(1) - F.one_hot(self.labels, self.logits.shape[1]), self.features)


def look(module: nn.Module, data: Dataset, split: Split, device: str = "cpu") -> Seen:
    """All rows of `split` under `module` as it is, in eval mode, without gradients; the answer lies on the CPU.

    Raises `ConfigError` for a network without a last linear layer.
    """
    features, logits = [], []
    with undisturbed(module), torch.no_grad():
        for start in range(0, len(split), BLOCK):
            h, z = embed_and_classify(module, data.inputs(split, slice(start, start + BLOCK), device))
            features.append(h.float().cpu())
            logits.append(z.float().cpu())
    return Seen(torch.cat(features), torch.cat(logits), split.labels())


class GradientSelector(Selector):
    """A selector that compares the rows' gradients under a network trained on the data.

    An array of the user's, and a plain table given to `pick`, are taken as the gradients themselves.
    """

    needs_features: ClassVar[bool] = False

    def trains(self, kind: str) -> bool:
        return kind != "array"

    def bind(self, sources: Sources) -> Pick:
        layer = gradients_of(sources)

        def from_rows(rows: Int64[Tensor, " m"], count: int, generator: torch.Generator) -> Picks:
            checked(layer.features[rows], count)
            return self.pick_from(layer.take(rows).double(), count, generator)

        return from_rows

    def pick(self, features: Float[Tensor, "n d"], count: int, generator: torch.Generator) -> Picks:
        table = checked(features, count).cpu().double()
        return self.pick_from(LastLayer.of_table(table), count, generator)

    @abstractmethod
    def pick_from(self, gradients: LastLayer, count: int, generator: torch.Generator) -> Picks:
        """Pick `count` of these rows, given in double precision."""


class WeighedGradientSelector(GradientSelector):
    """One that honours the weights of rows: as masses of their gradients, none where all rows count the same."""

    def bind(self, sources: Sources) -> Pick:
        layer = gradients_of(sources)

        def from_rows(rows: Int64[Tensor, " m"], count: int, generator: torch.Generator) -> Picks:
            checked(layer.features[rows], count)
            masses = sources.data.train.weight(rows)
            masses = None if masses is None else masses.double()
            return self.pick_from(layer.take(rows).double(), count, generator, masses)

        return from_rows

    def pick_weighted(
        self, features: Float[Tensor, "n d"], weights: Float[Tensor, " n"], count: int, generator: torch.Generator
    ) -> Picks:
        table = checked(features, count).cpu().double()
        return self.pick_from(LastLayer.of_table(table), count, generator, weights.cpu().double())

    @abstractmethod
    def pick_from(
        self, gradients: LastLayer, count: int, generator: torch.Generator, masses: Float[Tensor, " n"] | None = None
    ) -> Picks:
        """Pick `count` of these rows, given in double precision, where row i counts `masses[i]` times."""


def gradients_of(sources: Sources) -> LastLayer:
    """Gradients of every training row: under the expert, or the user's array as it is."""
    if sources.kind == "array":
        return LastLayer.of_table(sources.table)
    return look(sources.expert, sources.data, sources.data.train, sources.device).gradients()
