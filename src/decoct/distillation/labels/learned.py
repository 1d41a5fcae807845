"""`learned`: the targets are optimised together with the images."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from decoct.distillation.axes import LabelKind, Labels, LabelState, Objective, ObjectiveState, Storage, Tensors
from decoct.distillation.labels.teacher import Teacher
from decoct.distillation.problem import Problem
from decoct.errors import ConfigError
from decoct.settings import out_of_range
from decoct.streams import Streams

LEAST = 1e-6
"""A probability below this counts as this much, so that its logit is a number that gradients can move back."""


@dataclass(frozen=True)
class Learned(Labels):
    """Free targets: scores `(e_y - 1/C) / sqrt(C/10)` to start with, or probabilities `softmax(logits)`.

    The objective says which of the two it needs: regression objectives learn scores `[m, C]` (as in FRePo, "Dataset
    Distillation using Neural Feature Regression", Zhou et al., NeurIPS 2022, https://arxiv.org/abs/2206.00719,
    https://github.com/yongchaoz/FRePo), which students fit by mean squared error; the others learn probabilities. Two
    bytes an entry on disk.

    With a `teacher` they start from what it says of the images as these start, p: scores `p - 1/C` on the same scale,
    or the logits `log p`. Cost, once: that of the teacher.

    `teacher="experts"` asks the K experts of the objective instead, after their last pass. The logits of row i start at
    `sum_k r_ik f_k(x_i) / sum_k r_ik` `[C]`, `r_ik` being 1 where `f_k` classifies the row as its nominal class and
    else 0, as in DATM ("Towards Lossless Dataset Distillation via Difficulty-Aligned Trajectory Matching", Guo et al.,
    ICLR 2024, https://arxiv.org/abs/2310.05773, https://github.com/NUS-HPC-AI-Lab/DATM); scores start from their
    softmax p as above. Where no expert is right about a row, which gives NaN there, the mean of all of them is taken.
    Cost, once: K m forward passes.

    Differs from the official codes: FRePo keeps the largest score of a row ahead of the next by a term of its loss,
    here only with `Ridge(margin=...)`; RaT-BPTT learns labels that are no logits but clipped at 0; DATM moves logits by
    SGD with a momentum of 0.9, here by the optimiser of the images.
    """

    confidence: float = 0.9
    """Probability of the nominal class at the start, where probabilities are learned; between 1/C and 1."""
    teacher: Teacher | Literal["experts"] | None = None
    """Whose word on the images the labels start from: a network trained for it, or the experts of the objective; none
    starts them at the nominal classes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.confidence < 1:
            raise self._wrong("a number between 1/classes and 1")

    def _wrong(self, expected: str) -> ConfigError:
        return out_of_range(self, "confidence", "the labels 'learned'", expected)

    @property
    def asks_experts(self) -> bool:
        return self.teacher == "experts"

    def network_identities(self, problem: Problem) -> dict[str, str]:
        return self.teacher.network_identities(problem) if isinstance(self.teacher, Teacher) else {}

    def init(self, problem: Problem, storage: Storage, objective: Objective, streams: Streams) -> LabelState:
        one_hot = F.one_hot(storage.classes(problem), problem.class_count).float().to(problem.device)
        count = problem.class_count
        taught = None
        if isinstance(self.teacher, Teacher):
            taught = replace(self.teacher, views=0).init(problem, storage, objective, streams)
        if objective.label_space == "scores":
            return LearnedState("scores", as_start(one_hot), taught, self.asks_experts)
        if not self.confidence > 1 / count:
            raise self._wrong(f"above 1/{count}, the share of each of {count} classes, and below 1")
        gap = math.log(self.confidence * (count - 1) / (1 - self.confidence))
        return LearnedState("probabilities", one_hot * gap, taught, self.asks_experts)


def as_start(probabilities: Float[Tensor, "m classes"]) -> Float[Tensor, "m classes"]:
    """Scores to start from: centred, and smaller where there are many classes."""
    count = probabilities.shape[1]
    return (probabilities - 1 / count) / math.sqrt(count / 10)


def mean_of_right(said: Iterable[Float[Tensor, "m classes"]], classes: Int[Tensor, " m"]) -> Float[Tensor, "m classes"]:
    """The mean of those logits of each row whose largest is that of its class; of all where none is."""
    everything = torch.stack([logits.float() for logits in said])
    right = (everything.argmax(-1) == classes.to(everything.device)).unsqueeze(-1)
    return torch.where(right.any(0), (everything * right).sum(0) / right.sum(0).clamp_min(1), everything.mean(0))


class LearnedState(LabelState):
    """One learnable tensor `labels` `[m, C]`: scores, or the logits of probabilities.

    `taught` says where they start, the first time that images are seen; with `asks_experts` the objective does.
    """

    def __init__(
        self, kind: LabelKind, start: Float[Tensor, "m classes"], taught: LabelState | None = None,
        asks_experts: bool = False,
    ) -> None:  # fmt: skip
        self.kind = kind
        self.tensors = {"labels": start}
        self._taught, self._asks_experts = taught, asks_experts

    def begin(self, images: Float[Tensor, "m ..."], classes: Int[Tensor, " m"], objective: ObjectiveState) -> None:
        if self._asks_experts:
            logits = mean_of_right(objective.said_by_experts(images), classes)
            self.tensors["labels"].copy_(as_start(logits.softmax(1)) if self.kind == "scores" else logits)

    def refresh(self, images: Float[Tensor, "m ..."]) -> None:
        if self._taught is None:
            return
        labels, taught = self.tensors["labels"], self._taught
        said = taught.final(images).to(labels)
        said = said.softmax(1) if taught.kind == "scores" else said
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
