"""How unsure networks are of rows, and which of the unsure rows differ."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from decoct.data.dataset import Dataset
from decoct.networks.embedding import embed_and_classify
from decoct.networks.probe import undisturbed
from decoct.selection.gradients import BLOCK, LastLayer

Strategy = Literal["least-confidence", "entropy", "margin", "vote-entropy", "disagreement"]
COMMITTEE = ("vote-entropy", "disagreement")


def observed(
    modules: list[nn.Module], data: Dataset, device: str
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "networks n c"]]:
    """Features under the first network and probabilities under each, of every training row; no label is read."""
    features: list[Tensor] = []
    probabilities: list[Tensor] = []
    for place, module in enumerate(modules):
        parts = []
        with undisturbed(module):
            for start in range(0, len(data.train), BLOCK):
                h, z = embed_and_classify(module, data.inputs(data.train, slice(start, start + BLOCK), device))
                parts.append(z.float().softmax(1).cpu())
                if place == 0:
                    features.append(h.float().cpu())
        probabilities.append(torch.cat(parts))
    return torch.cat(features), torch.stack(probabilities)


def uncertainty(probabilities: Float[Tensor, "networks n c"], strategy: Strategy) -> Float[Tensor, " n"]:
    """How unsure the networks are of every row; larger is less sure. Entropies are in nats."""
    mean = probabilities.mean(0)
    if strategy == "least-confidence":
        return 1 - mean.amax(1)
    if strategy == "margin":
        top = mean.topk(min(2, mean.shape[1]), dim=1).values
        return 1 - (top[:, 0] - top[:, -1])
    if strategy == "entropy":
        return _entropy(mean)
    if strategy == "vote-entropy":
        return _entropy(F.one_hot(probabilities.argmax(2), mean.shape[1]).float().mean(0))
    return (_entropy(mean) - _entropy(probabilities).mean(0)).clamp(min=0)


def diverse(
    compared: LastLayer, rows: Int64[Tensor, " m"], chosen: Int64[Tensor, " s"], count: int
) -> Int64[Tensor, " k"]:
    """`count` of these rows, each the farthest from what is chosen and from those before it; equals by their order."""
    if count >= len(rows):
        return rows
    candidates = compared.take(rows).double()
    nearest = torch.full((len(rows),), torch.inf, dtype=torch.float64)
    for part in chosen.split(BLOCK) if len(chosen) else ():
        nearest = torch.minimum(nearest, candidates.distances(compared.take(part).double()).amin(1))
    open_: Bool[Tensor, " m"] = torch.ones(len(rows), dtype=torch.bool)
    found = []
    for _ in range(count):
        best = int(nearest.masked_fill(~open_, -1).argmax())
        open_[best] = False
        found.append(best)
        one = candidates.take(torch.tensor([best]))
        nearest = torch.minimum(nearest, candidates.distances(one)[:, 0])
    return rows[torch.tensor(found, dtype=torch.int64)]


def _entropy(p: Float[Tensor, "*rows c"]) -> Float[Tensor, "*rows"]:
    return torch.special.entr(p).sum(-1)
