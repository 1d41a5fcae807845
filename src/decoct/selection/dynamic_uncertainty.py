"""Dyn-Unc: rows about which a network changes its mind during training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from decoct.cards import MethodCard
from decoct.errors import ConfigError
from decoct.selection import sources as trained
from decoct.selection.by_score import ByScore
from decoct.selection.scores import dynamic_uncertainty, require_window
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

    def computed(self, sources: Sources) -> Float[Tensor, " n"]:
        if self.window is not None:
            # A wrong one is told before the training.
            require_window(self.window, trained.PASSES)
        return dynamic_uncertainty(sources.dynamics, self.window)

    def require_used(self) -> None:
        if self.window is not None:
            raise ConfigError(
                "selecting by scores of your own",
                received=f"window={self.window} beside them",
                expected="a window only where the score is computed: yours is taken as it is",
                remedy="leave the window out (`decoct score` has one), or leave the scores out",
            )

    def order(self, values: Float[Tensor, " n"], count: int, generator: torch.Generator) -> Int64[Tensor, " m"]:
        return torch.sort(values, descending=True, stable=True).indices
