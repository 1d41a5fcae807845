"""`learned`: the targets are optimised together with the images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from decoct.distillation.axes import LabelKind, Labels, LabelState, Objective, Storage
from decoct.distillation.problem import Problem
from decoct.distillation.ranges import out_of_range
from decoct.errors import ConfigError
from decoct.streams import Streams


@dataclass(frozen=True)
class Learned(Labels):
    """Free targets: scores `(e_y - 1/C) / sqrt(C/10)` to start with, or probabilities `softmax(logits)`.

    The objective says which of the two it needs: regression objectives learn scores `[m, C]` (as in FRePo, "Dataset
    Distillation using Neural Feature Regression", Zhou et al., NeurIPS 2022, https://arxiv.org/abs/2206.00719), which
    students fit by mean squared error; the others learn probabilities. Two bytes an entry on disk.
    """

    confidence: float = 0.9
    """Probability of the nominal class at the start, where probabilities are learned; between 1/C and 1."""

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise self._wrong("a number between 1/classes and 1")

    def _wrong(self, expected: str) -> ConfigError:
        return out_of_range("confidence", "the labels 'learned'", self.confidence, expected)

    def init(self, problem: Problem, storage: Storage, objective: Objective, streams: Streams) -> LabelState:
        one_hot = F.one_hot(storage.classes(problem), problem.class_count).float().to(problem.device)
        count = problem.class_count
        if objective.label_space == "scores":
            return LearnedState("scores", (one_hot - 1 / count) / math.sqrt(count / 10))
        if not self.confidence > 1 / count:
            raise self._wrong(f"above 1/{count}, the share of each of {count} classes, and below 1")
        gap = math.log(self.confidence * (count - 1) / (1 - self.confidence))
        return LearnedState("probabilities", one_hot * gap)


class LearnedState(LabelState):
    """One learnable tensor `labels` `[m, C]`: scores, or the logits of probabilities."""

    def __init__(self, kind: LabelKind, start: Float[Tensor, "m classes"]) -> None:
        self.kind = kind
        self.tensors = {"labels": start}

    def targets(self, rows: Int[Tensor, " k"]) -> Float[Tensor, "k classes"]:
        picked = self.tensors["labels"][rows.to(self.tensors["labels"].device)]
        return picked if self.kind == "scores" else picked.softmax(1)

    def final(self, images: Float[Tensor, "m ..."]) -> Tensor:
        with torch.no_grad():
            return self.targets(torch.arange(len(self.tensors["labels"]))).cpu()
