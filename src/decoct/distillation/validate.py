"""How good a set in the making is: a short training on it, measured on the validation split."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from decoct.compact.distilled import DistilledSet
from decoct.data.dataset import Dataset
from decoct.distillation.problem import Problem
from decoct.networks.build import network
from decoct.streams import derive_seed
from decoct.training.accuracy import accuracy
from decoct.training.config import LabelKind
from decoct.training.fit import FitConfig, fit
from decoct.training.sources import Replay

ROWS = 4000
"""Validation rows looked at, classes in equal shares."""
STEPS = 150
"""Training steps of the student."""


def validation_network(problem: Problem) -> str:
    """A narrow relative of the network that distils, cheap enough to train often; the user's own network as it is."""
    return f"{problem.network}-w32" if problem.network in ("convnet3", "convnet4", "convnet5") else problem.network


def validation_rows(data: Dataset, limit: int = ROWS) -> Dataset:
    """The data with at most `limit` validation rows, the first of each class in equal shares."""
    share = -(-limit // data.spec.classes)
    rows = np.sort(np.concatenate([members[:share] for members in data.val.class_rows(data.spec.classes)]))
    return Dataset(data.spec, data.train, data.val.take(rows), data.test)


def validate(small: DistilledSet, problem: Problem, seed: int) -> float:
    """`student_accuracy` on `small`, a view a pass where it has views."""
    inputs, targets, weights = small.materialize()
    return student_accuracy(
        inputs, targets, small.label_kind, problem, seed,
        weights=weights, replay=Replay.of(small), temperature=small.temperature,
        classes=small.classes, class_weight=small.class_weight,
    )  # fmt: skip


def student_accuracy(
    inputs: Float[Tensor, "m ..."], targets: Shaped[Tensor, "m ..."], label_kind: LabelKind, problem: Problem,
    seed: int, *, weights: Float[Tensor, " m"] | None = None, replay: Replay | None = None,
    temperature: float = 1.0, classes: Int[Tensor, " m"] | None = None, class_weight: float = 0.0,
) -> float:  # fmt: skip
    """Accuracy (fraction) on validation rows of one student trained for `STEPS` steps on these rows.

    Probabilities are fitted at the `temperature` that they were made at, scores beside the `classes` by their weight.
    Every call of a run uses the same initial weights and the same batches, so that sets differ and nothing else does.
    """
    config = FitConfig(
        optimizer="adamw", lr=1e-3, weight_decay=1e-2, schedule="cosine", batch_size=256,
        epochs=max(1, STEPS * min(256, len(inputs)) // len(inputs)), temperature=temperature,
    )  # fmt: skip
    name = validation_network(problem)

    def build(start: int):
        return network(name, problem.shape, problem.class_count, start)

    seeds = [derive_seed(seed, "validation")]
    fitted = fit(
        build, inputs, targets, config, seeds,
        label_kind=label_kind, weights=weights, replay=replay, device=problem.device,
        classes=classes, class_weight=class_weight,
    )  # fmt: skip
    data = validation_rows(problem.data)
    return accuracy(fitted[0].module, data, data.val)
