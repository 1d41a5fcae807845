"""`hard`: every synthetic row teaches the class it was made for."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from decoct.distillation.axes import Labels, LabelState, Objective, Storage
from decoct.distillation.problem import Problem
from decoct.streams import Streams


@dataclass(frozen=True)
class Hard(Labels):
    """`y_i = e_(c_i)`: row i teaches the class that it was made for, and nothing else.

    Targets `[m, C]` are one-hot and never move; on disk they are the m class numbers, which count one byte each, two
    above 256 classes. No settings. Cost: none.

    As in "Dataset Distillation" (Wang, Zhu, Torralba, Efros, 2018, https://arxiv.org/abs/1811.10959, code
    https://github.com/ssnl/dataset-distillation) and most papers since. Nothing differs.
    """

    def init(self, problem: Problem, storage: Storage, objective: Objective, streams: Streams) -> LabelState:
        return HardState(storage.classes(problem), problem.class_count, problem.device)


class HardState(LabelState):
    """Targets `[m, C]` that never move."""

    kind = "hard"

    def __init__(self, classes: Int[Tensor, " m"], class_count: int, device: str) -> None:
        self.tensors = {}
        self._classes = classes
        self._one_hot = F.one_hot(classes, class_count).float().to(device)

    def targets(self, rows: Int[Tensor, " k"]) -> Float[Tensor, "k classes"]:
        return self._one_hot[rows.to(self._one_hot.device)]

    def final(self, images: Float[Tensor, "m ..."]) -> Tensor:
        return self._classes
