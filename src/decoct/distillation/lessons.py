"""What networks said of real rows, kept over several steps and saved with a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from decoct.distillation.axes import Tensors
from decoct.distillation.checkpoint import prefixed, under


@dataclass(frozen=True)
class Lesson:
    """What a network says of real rows: its weights, the classes asked, their gradients by layer `[k, out, ...]`.

    `number` is that of its augmentation.
    """

    number: int
    weights: Tensors
    classes: Int[Tensor, " k"]
    gradients: list[Tensor]


def tensors_of(lessons: Sequence[Lesson]) -> Tensors:
    """Lessons as named tensors, their order kept."""
    found: Tensors = {"lessons": torch.tensor([lesson.number for lesson in lessons], dtype=torch.int64)}
    for lesson in lessons:
        gradients = {str(place): value for place, value in enumerate(lesson.gradients)}
        parts = {**prefixed("weights", lesson.weights), **prefixed("gradients", gradients)}
        found |= prefixed(f"lesson.{lesson.number}", {**parts, "classes": lesson.classes})
    return found


def lessons_of(state: Tensors, device: str) -> list[Lesson]:
    """The lessons in such tensors, weights and gradients on `device`."""
    lessons = []
    for number in state["lessons"].tolist():
        own = under(f"lesson.{number}", state)
        weights, gradients = under("weights", own), under("gradients", own)
        lessons.append(Lesson(
            number, {name: value.to(device) for name, value in weights.items()}, own["classes"].cpu(),
            [gradients[str(place)].to(device) for place in range(len(gradients))],
        ))  # fmt: skip
    return lessons
