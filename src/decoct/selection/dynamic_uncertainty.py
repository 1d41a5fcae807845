"""Dyn-Unc: rows about which a network changes its mind during training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from decoct.cards import MethodCard
from decoct.selection.by_score import ByScore
from decoct.selection.scores import dynamic_uncertainty
from decoct.selection.sources import Sources

CARD = MethodCard(
    name="dyn-unc",
    line="rows whose predicted probability moves most during training; easy and hopeless rows go",
    axes="real rows · training dynamics · hard labels",
    paper="He, Yang, Huang, Zhao, Large-scale Dataset Pruning with Dynamic Uncertainty, 2024",
    link="https://arxiv.org/abs/2306.05175",
    bibtex="""@inproceedings{he2024large,
  title = {Large-scale Dataset Pruning with Dynamic Uncertainty},
  author = {He, Muyang and Yang, Shuo and Huang, Tiejun and Zhao, Bo},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition Workshops},
  year = {2024},
  url = {https://arxiv.org/abs/2306.05175}
}""",
)


@dataclass(frozen=True)
class DynamicUncertainty(ByScore):
    """The k rows with the largest `T_i = mean over windows of J passes of std(q_i)`, q the label's probability.

    Paper: He et al. (2024), https://arxiv.org/abs/2306.05175; code https://github.com/BAAI-DCAI/Dataset-Pruning.
    Shapes: probabilities `[n, passes]`. Weights are 1; the score of a pick is its T, in [0, 0.71]. Cost: one training,
    one forward pass over the set after each of its passes, O(n passes J) for the windows. The paper ranks the whole set
    (`balance="global"`); class by class is the default here as everywhere. The probabilities are those of rows as they
    are, not augmented.
    """

    because = "among the largest values of {score}, at {value:.4g}"

    score: str = "dyn-unc"
    window: int | None = None
    """Passes of a window, J, from 2 to all of them; none takes 10, or half of the passes."""

    def values(self, sources: Sources) -> Float[Tensor, " n"]:
        if sources.kind == "array":
            return super().values(sources)
        return dynamic_uncertainty(sources.dynamics, self.window)

    def order(self, values: Float[Tensor, " n"], count: int, generator: torch.Generator) -> Int64[Tensor, " m"]:
        return torch.sort(values, descending=True, stable=True).indices
