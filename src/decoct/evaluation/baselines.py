"""The baselines that every result is judged beside, at no more than its bytes: real rows, and the full data.

Chance is part of a baseline: where rows are drawn, they are drawn afresh for each seed, so that the interval covers
the draw. With one seed, a smaller draw is a prefix of a larger one in every class.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int64
from torch import Tensor

from decoct.compact.stored import hard_label_bytes
from decoct.data.dataset import Dataset
from decoct.evaluation.contender import Contender, Material, Training, Weight
from decoct.evaluation.draws import draw_rows, equal_classes, herd_rows
from decoct.evaluation.scorecard import Kind
from decoct.evaluation.teacher import Teacher
from decoct.progress import Ticker
from decoct.registry import unknown_name
from decoct.training.job import Fitted

BASELINES = ("random", "herding", "random+teacher", "full")


def baseline(name: str, data: Dataset, nbytes: int, teacher: Teacher) -> Contender | None:
    """The baseline of that name with at most `nbytes` bytes, or None where not even one row fits.

    Raises `UnknownNameError`.
    """
    if name not in BASELINES:
        raise unknown_name("baseline", name, list(BASELINES))
    spec, n = data.spec, len(data.train)
    hard = hard_label_bytes(1, spec.classes)
    if name == "full":
        passes = f"{teacher.epochs} passes over the training split"
        return Full(data, Weight(n * spec.row_bytes, n * hard, 0, n, "hard"), (passes,))
    soft = name == "random+teacher"
    per_label = 2 * spec.classes if soft else hard
    rows = min(n, nbytes // (spec.row_bytes + per_label))
    if rows == 0:
        return None
    present = int((torch.bincount(data.train.labels(), minlength=spec.classes) > 0).sum())
    notes = (
        (f"{rows} rows are all that fits, {present - rows} of {present} classes are left out",)
        if rows < present
        else ()
    )
    kind = "probabilities" if soft else "hard"
    weight = Weight(rows * spec.row_bytes, rows * per_label, 0, rows, kind)
    if soft:
        notes = (*notes, f"labels of {teacher.network}, its pass out of {teacher.epochs} chosen on validation data")
    if name == "herding":
        return Herded(data, weight, notes)
    return Drawn(data, weight, notes, teacher if soft else None)


@dataclass(frozen=True, eq=False)
class Drawn(Contender):
    """Random real rows, drawn afresh for each seed, with their own labels or those of a teacher."""

    data: Dataset
    weight: Weight
    notes: tuple[str, ...]
    teacher: Teacher | None
    kind: Kind = "baseline"

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return "random" if self.teacher is None else "random+teacher"

    @property
    def label(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return "random" if self.teacher is None else "random + teacher"

    def key(self, seed: int) -> str:
        taught = "" if self.teacher is None else f"/{self.teacher.key}"
        return f"{self.name}/{self.weight.rows}/draw {seed}{taught}"

    def train(self, seed: int, training: Training, tick: Ticker) -> Fitted:
        if self.teacher is not None:
            self.teacher.prepare(tick)
        return training.on(self.material(seed), seed, tick)

    def material(self, seed: int) -> Material:
        """The rows of one seed."""
        rows = draw_rows(self.data, self.weight.rows, seed)
        inputs = self.data.inputs(self.data.train, rows)
        labels = self.data.train.labels(rows)
        if self.teacher is None:
            return Material(inputs, labels, equal_classes(labels), "hard")
        taught = self.teacher.probabilities(inputs)
        return Material(inputs, taught, equal_classes(labels), "probabilities", classes=labels)


@dataclass(frozen=True, eq=False)
class Herded(Contender):
    """Real rows picked by herding: the same for every seed, since herding draws nothing."""

    data: Dataset
    weight: Weight
    notes: tuple[str, ...]
    kind: Kind = "baseline"
    name: str = "herding"
    label: str = "herding"

    def key(self, seed: int) -> str:
        return f"herding/{self.weight.rows}"

    def train(self, seed: int, training: Training, tick: Ticker) -> Fitted:
        inputs, targets = self.data.inputs(self.data.train, self._rows), self.data.train.labels(self._rows)
        return training.on(Material(inputs, targets, equal_classes(targets), "hard"), seed, tick)

    @cached_property
    def _rows(self) -> Int64[Tensor, " k"]:
        return herd_rows(self.data, self.weight.rows)


@dataclass(frozen=True, eq=False)
class Full(Contender):
    """The whole training split, for `Protocol.full_passes` passes: what the bytes are saved from."""

    data: Dataset
    weight: Weight
    notes: tuple[str, ...]
    kind: Kind = "baseline"
    name: str = "full"
    label: str = "full data"

    def key(self, seed: int) -> str:
        return "full"

    def train(self, seed: int, training: Training, tick: Ticker) -> Fitted:
        return training.on_all(seed, tick)
