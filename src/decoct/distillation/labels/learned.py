"""`learned`: the targets are optimised together with the images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from decoct.distillation.axes import LabelKind, Labels, LabelState, Objective, Storage, Tensors
from decoct.distillation.labels.teacher import Teacher
from decoct.distillation.problem import Problem
from decoct.distillation.ranges import out_of_range
from decoct.errors import ConfigError
from decoct.streams import Streams

LEAST = 1e-6
"""A probability below this counts as this much, so that its logit is a number that gradients can move back."""


@dataclass(frozen=True)
class Learned(Labels):
    """Free targets: scores `(e_y - 1/C) / sqrt(C/10)` to start with, or probabilities `softmax(logits)`.

    The objective says which of the two it needs: regression objectives learn scores `[m, C]` (as in FRePo, "Dataset
    Distillation using Neural Feature Regression", Zhou et al., NeurIPS 2022, https://arxiv.org/abs/2206.00719), which
    students fit by mean squared error; the others learn probabilities. Two bytes an entry on disk.

    With a `teacher` they start from what it says of the images as these start, p: scores `p - 1/C` on the same scale,
    or the logits `log p` (DATM starts at the mean logits of its experts: "Towards Lossless Dataset Distillation via
    Difficulty-Aligned Trajectory Matching", Guo et al., ICLR 2024, https://arxiv.org/abs/2310.05773). Cost, once: that
    of the teacher.
    """

    confidence: float = 0.9
    """Probability of the nominal class at the start, where probabilities are learned; between 1/C and 1."""
    teacher: Teacher | None = None
    """Whose word on the images the labels start from; none starts them at the nominal classes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.confidence < 1:
            raise self._wrong("a number between 1/classes and 1")

    def _wrong(self, expected: str) -> ConfigError:
        return out_of_range("confidence", "the labels 'learned'", self.confidence, expected)

    def init(self, problem: Problem, storage: Storage, objective: Objective, streams: Streams) -> LabelState:
        one_hot = F.one_hot(storage.classes(problem), problem.class_count).float().to(problem.device)
        count = problem.class_count
        taught = None if self.teacher is None else self.teacher.init(problem, storage, objective, streams)
        if objective.label_space == "scores":
            return LearnedState("scores", as_start(one_hot), taught)
        if not self.confidence > 1 / count:
            raise self._wrong(f"above 1/{count}, the share of each of {count} classes, and below 1")
        gap = math.log(self.confidence * (count - 1) / (1 - self.confidence))
        return LearnedState("probabilities", one_hot * gap, taught)


def as_start(probabilities: Float[Tensor, "m classes"]) -> Float[Tensor, "m classes"]:
    """Scores to start from: centred, and smaller where there are many classes."""
    count = probabilities.shape[1]
    return (probabilities - 1 / count) / math.sqrt(count / 10)


class LearnedState(LabelState):
    """One learnable tensor `labels` `[m, C]`: scores, or the logits of probabilities.

    `taught` says where they start, the first time that images are seen.
    """

    def __init__(self, kind: LabelKind, start: Float[Tensor, "m classes"], taught: LabelState | None = None) -> None:
        self.kind = kind
        self.tensors = {"labels": start}
        self._taught = taught

    def refresh(self, images: Float[Tensor, "m ..."]) -> None:
        if self._taught is None:
            return
        labels, taught = self.tensors["labels"], self._taught
        taught.refresh(images)
        said = taught.targets(torch.arange(len(labels))).to(labels)
        with torch.no_grad():
            labels.copy_(as_start(said) if self.kind == "scores" else said.clamp_min(LEAST).log())
        self._taught = None

    def state_dict(self) -> Tensors:
        return {"started": torch.tensor(self._taught is None)}

    def load_state_dict(self, state: Tensors) -> None:
        if state["started"]:
            self._taught = None

    def targets(self, rows: Int[Tensor, " k"]) -> Float[Tensor, "k classes"]:
        picked = self.tensors["labels"][rows.to(self.tensors["labels"].device)]
        return picked if self.kind == "scores" else picked.softmax(1)

    def final(self, images: Float[Tensor, "m ..."]) -> Tensor:
        with torch.no_grad():
            return self.targets(torch.arange(len(self.tensors["labels"]))).cpu()
