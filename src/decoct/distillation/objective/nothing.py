"""`none`: nothing is matched; the storage as it starts and its labels are the result."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from decoct.distillation.axes import Objective, ObjectiveState, Tensors
from decoct.distillation.problem import Problem, RealSource, Synthetic
from decoct.streams import Streams


@dataclass(frozen=True)
class Nothing(Objective):
    """`L = 0`: no steps; what the storage starts with is kept, and the labels are given once.

    Random real images with a teacher's labels, the baseline of "A Label is Worth a Thousand Images in Dataset
    Distillation" (Qin, Deng, Alvarez-Melis, NeurIPS 2024, https://arxiv.org/abs/2406.10485, code
    https://github.com/sunnytqin/no-distillation), is this objective with the storage `pixels` started from real rows.

    Images `[m, ...]` and targets `[m, C]` are looked at by nothing. No settings. Cost: 0 operations; all that is paid
    for is the start of the storage and the labels. Differs from the official code, which is a script for random images
    alone: any storage and any labels can stand beside it.
    """

    moves = False

    def init(self, problem: Problem, streams: Streams) -> ObjectiveState:
        return NothingState()

    def flops(self, problem: Problem) -> float:
        return 0.0


class NothingState(ObjectiveState):
    """Nothing to keep."""

    def loss(self, synthetic: Synthetic, real: RealSource) -> Float[Tensor, ""]:
        return synthetic.images.sum() * 0

    def state_dict(self) -> Tensors:
        return {}

    def load_state_dict(self, state: Tensors) -> None:
        pass
