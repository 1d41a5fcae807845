"""The network whose labels the baseline `random+teacher` teaches."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from jaxtyping import Float
from torch import Tensor, nn

from decoct.data.dataset import Dataset
from decoct.distillation.labels.teacher import best_epoch, spread
from decoct.distillation.problem import Problem
from decoct.distillation.validate import student_accuracy
from decoct.evaluation.draws import draw_rows, equal_classes
from decoct.networks.identity import network_identity
from decoct.progress import Ticker
from decoct.streams import derive_seed
from decoct.training.accuracy import predict
from decoct.training.expert import Expert, train_expert

CANDIDATES = 5
"""Passes of the teacher out of which one is chosen."""


@dataclass(frozen=True, eq=False)
class Teacher:
    """An expert trained on the training split when first asked; how many rows it labels decides which of its passes.

    As in the recipe `soft-random`: the pass whose labels of random rows, as many as asked, teach a short student
    best, measured on validation data. The fewer the rows, the earlier the pass (Qin, Deng & Alvarez-Melis, "A Label is
    Worth a Thousand Images in Dataset Distillation", 2024, https://arxiv.org/abs/2406.10485).
    """

    data: Dataset
    network: str
    epochs: int
    device: str
    cache: Path | None
    chosen: dict[int, int] = field(default_factory=dict, repr=False)
    """The pass for each number of rows that has been asked for."""

    @cached_property
    def key(self) -> str:
        """What its labels follow from; stands in the keys of what was trained on them."""
        spec = self.data.spec
        name = network_identity(self.network, spec.shape, spec.classes)
        return f"{name}/{self.epochs} epochs, chosen by a student"

    @cached_property
    def expert(self) -> Expert:
        return self._trained(None)

    def prepare(self, tick: Ticker) -> None:
        """Train it now where that has not been done, saying so after each pass."""
        if "expert" not in self.__dict__:
            tick(0.0, "training the teacher")
            said = f"of {self.epochs} passes of the teacher"
            self.__dict__["expert"] = self._trained(lambda done, note="": tick(0.0, f"{done:g} {said} {note}"))

    def _trained(self, tick: Ticker | None) -> Expert:
        seed = derive_seed(0, "judge", "teacher")
        return train_expert(self.data, self.network, self.epochs, seed, self.device, cache=self.cache, tick=tick)

    def module_for(self, rows: int) -> nn.Module:
        """The expert of the pass for so many rows; chosen on one draw of them, and never again.

        A set may decode to more rows than the training split has: then all of those are the draw.
        """
        rows = min(rows, len(self.data.train))
        if rows not in self.chosen:
            drawn = draw_rows(self.data, rows, 0)
            inputs, weights = self.data.inputs(self.data.train, drawn), equal_classes(self.data.train.labels(drawn))
            problem, seed = (
                Problem(self.data, 1, self.network, self.device, "", 0.0),
                derive_seed(0, "judge", "student"),
            )

            def score(module: nn.Module) -> float:
                taught = self._said(module, inputs)
                return student_accuracy(inputs, taught, "probabilities", problem, seed, weights=weights)

            self.chosen[rows] = best_epoch(self.expert, spread(self.epochs, CANDIDATES), score)
        return self.expert.module_at(self.chosen[rows])

    def probabilities(self, inputs: Float[Tensor, "m ..."]) -> Float[Tensor, "m classes"]:
        """Labels of these rows by the expert for as many, as they are stored."""
        return self._said(self.module_for(len(inputs)), inputs)

    def _said(self, module: nn.Module, inputs: Float[Tensor, "m ..."]) -> Float[Tensor, "m classes"]:
        """Rounded to fp16, and made to sum to 1 again on reading."""
        logits = predict(module, inputs).detach().float().cpu()
        stored = logits.softmax(1).half().float()
        return stored / stored.sum(1, keepdim=True)
