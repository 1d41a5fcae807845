"""Active learning as a selector: train on what is chosen, choose what the network is unsure of, again."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from decoct.cards import MethodCard
from decoct.selection.k_center import KCenter
from decoct.selection.rounds import Rounds
from decoct.selection.selector import Pick, Picks, Selector
from decoct.selection.sources import Sources
from decoct.selection.uncertainty import Strategy
from decoct.settings import require_settings
from decoct.training.accuracy import accuracy
from decoct.training.config import FitConfig
from decoct.training.expert import expert_config, passes_of

CARD = MethodCard(
    name="active",
    line="in rounds: train on what is chosen, add rows that networks are unsure of and that differ",
    axes="real rows · uncertainty and diversity in rounds · hard labels",
    paper="Settles, Active Learning Literature Survey, 2009; Sener, Savarese, Active Learning for Convolutional Neural "
    "Networks: A Core-Set Approach, 2018; Ash et al., Deep Batch Active Learning by Diverse, Uncertain Gradient Lower "
    "Bounds, 2020",
    link="https://arxiv.org/abs/1906.03671",
    bibtex="""@techreport{settles2009active,
  title = {Active Learning Literature Survey},
  author = {Settles, Burr},
  institution = {University of Wisconsin--Madison},
  number = {1648},
  year = {2009}
}
@inproceedings{sener2018active,
  title = {Active Learning for Convolutional Neural Networks: A Core-Set Approach},
  author = {Sener, Ozan and Savarese, Silvio},
  booktitle = {International Conference on Learning Representations},
  year = {2018},
  eprint = {1708.00489},
  archiveprefix = {arXiv}
}
@inproceedings{ash2020deep,
  title = {Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds},
  author = {Ash, Jordan T. and Zhang, Chicheng and Krishnamurthy, Akshay and Langford, John and Agarwal, Alekh},
  booktitle = {International Conference on Learning Representations},
  year = {2020},
  eprint = {1906.03671},
  archiveprefix = {arXiv}
}""",
)


PASSES = 200
"""Passes over few rows at most: they are known by heart long before."""


@dataclass(frozen=True)
class Active(Selector):
    """A random start, then rounds: train, rank the pool by uncertainty, add a batch of rows that differ.

    B_t = k-center greedy, given the chosen rows, among the `spread` |B_t| rows of largest u(x) under the networks
    trained on B_1..B_{t-1}; all rounds + 1 batches are equally large. u is 1 - max p, the entropy of p, or 1 - (p_1 -
    p_2) of the mean prediction p; or of a committee the entropy of its votes, or the mean KL(p_m || p).

    Paper: Settles, "Active Learning Literature Survey" (2009), https://minds.wisconsin.edu/handle/1793/60660; the
    diversity is that of Sener and Savarese, https://arxiv.org/abs/1708.00489, and with `compare="gradients"` in the
    space of BADGE, https://arxiv.org/abs/1906.03671, whose gradients at the predicted label stay in factors.
    Shapes: probabilities `[networks, n, C]`, features `[n, d]`.
    Weights are 1. The score of a pick is its u when it was chosen, which can be 0 (votes often agree); that of a row
    drawn at random is 0 and says nothing, its reason says how it came. The order is that of choosing; the coreset's
    provenance records each round: rows, validation accuracy, uncertainty of pool and batch.
    What is drawn, and which of equally unsure rows comes first, follows from the raw rows and the seed, not from their
    order. Labels of rows that are not chosen are never read with `balance="global"`. With balanced classes, every batch
    takes from every class its share, so that the class of each row, and nothing else, must be known beforehand.
    Cost: rounds x networks trainings from scratch on what is chosen, as many forward passes over the pool, and
    O(spread n_t k d) for the distances. An array of the user's takes the place of the features in the distances.
    `pick` on a plain table has no network to ask: it chooses by diversity alone, as k-center does.
    Differs from BADGE by k-center instead of k-means++, and from published loops by networks that start anew each
    round, so that a round does not depend on how the one before ended.
    """

    needs_features: ClassVar[bool] = False
    together: ClassVar[bool] = True
    rounds: int = 4
    """Batches after the random start, from 1; each costs a training."""
    epochs: int = 20
    """Passes of each training at least, from 1."""
    steps: int = 400
    """Steps of each training at least, from 1: few rows are passed more often than `epochs`, up to 200 times, since the
    uncertainty of a network that has not learned says nothing."""
    lr: float = 0.05
    """Step size of each training, above 0."""
    strategy: Strategy = "margin"
    """What uncertainty is: least-confidence, entropy or margin, or vote-entropy or disagreement of a committee."""
    networks: int = 3
    """Networks of a committee, from 2; the other strategies train one."""
    spread: float = 3.0
    """Rows among which diversity chooses, as a multiple of the batch, from 1; 1 leaves uncertainty alone."""
    explore: float = 0.0
    """Share of every batch that is drawn at random from what is left, from 0 to 1: against rows that are uncertain
    because nothing can be learned from them."""
    compare: Literal["features", "gradients"] = "features"
    """What rows differ by: the network's features, or the gradients of its last layer at the predicted label."""

    def __post_init__(self) -> None:
        require_settings(
            self, "active",
            ("rounds", self.rounds >= 1, "1 or more"),
            ("epochs", self.epochs >= 1, "1 or more"),
            ("steps", self.steps >= 1, "1 or more"),
            ("lr", 0 < self.lr < math.inf, "a number above 0"),
            ("strategy", self.strategy in get_args(Strategy), "one of " + ", ".join(get_args(Strategy))),
            ("networks", self.networks >= 2, "2 or more"),
            ("spread", 1 <= self.spread < math.inf, "a number of at least 1"),
            ("explore", 0 <= self.explore <= 1, "a share from 0 to 1"),
            ("compare", self.compare in ("features", "gradients"), "'features' or 'gradients'"),
        )  # fmt: skip

    def trains(self, kind: str) -> bool:
        return True

    def operations(self, n: int, k: int, d: int, classes: int = 1) -> float:
        """Distances of the rows that diversity chooses among to all picks before and to those of the batch."""
        return 3.0 * self.spread * k * k / 2 * d

    def bind(self, sources: Sources) -> Pick:
        loop: list[Rounds] = []

        def from_rows(rows: Int64[Tensor, " m"], count: int, generator: torch.Generator) -> Picks:
            if not sources.groups:
                return Rounds(self, sources, (rows,), (count,)).run().within(rows)
            # All groups grow together, since one network is trained on what is chosen from all of them.
            if not loop:
                loop.append(Rounds(self, sources, sources.groups, sources.wanted).run())
            return loop[0].within(rows)

        return from_rows

    def reason(self, score: float, features: str) -> str:
        return f"networks trained on the picks before it were unsure of it ({self.strategy} {score:.4g})"

    def training(self, rows: int) -> FitConfig:
        """How a network of the loop is trained on so many rows: `epochs` passes, or as many as make `steps`."""
        return replace(expert_config(rows, passes_of(rows, self.epochs, self.steps, PASSES)), lr=self.lr)

    def measured(self, modules: list[nn.Module], sources: Sources) -> dict[str, Any]:
        """What is recorded of the networks of a round, measured on the validation split; plain JSON."""
        data = sources.data
        return {"val_accuracy": [round(accuracy(module, data, data.val), 6) for module in modules]}

    def closed(self, record: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What is added to the record after the last round."""
        return []

    def pick(self, features: Float[Tensor, "n d"], count: int, generator: torch.Generator) -> Picks:
        return KCenter().pick(features, count, generator)
