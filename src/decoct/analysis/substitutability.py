"""Substitutability: do networks of real data know the set's images, and networks of the set real ones?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from decoct.analysis.finding import Chart, Finding, Series, estimate, shown
from decoct.analysis.routine import Routine
from decoct.analysis.study import Analysis, Study, require_setting
from decoct.networks.embedding import embed
from decoct.networks.identity import network_identity
from decoct.networks.probe import undisturbed
from decoct.training.accuracy import predict

_DIRECTIONS = {
    "set": "network of real data on the set",
    "real": "network of real data on real test images",
    "back": "network of the set on real test images",
}
_BLOCK = 1024


@dataclass(frozen=True)
class Substitutability(Analysis):
    """Three accuracies of every class: `real -> set`, `real -> real`, `set -> real` (trained on -> judged on).

    Paper: "What is Dataset Distillation Learning?", Yang, Zhu, Deng & Russakovsky, ICML 2024,
    https://arxiv.org/abs/2406.04284; code of the authors:
    https://github.com/princetonvisualai/What-is-Dataset-Distillation-Learning.

    The set's images are judged against their nominal classes. Where the paper shows a map of features, this gives two
    numbers: the share of the set's images whose nearest class mean of real training features (penultimate layer,
    cosine) is that of their own class, and the same share of real test images; and the share of pixels outside [0, 1],
    into which published sets drift. Cost: an expert of `epochs` passes, one training on the set and two passes
    of features, for every seed.

    Differs from the official code: several experts with intervals, every class by itself, any network as the judge.
    """

    epochs: int = 10
    """Passes over the real training rows that the network of real data takes."""
    judge: str = ""
    """Architecture of the network of real data; that of the analysis if empty (the paper takes resnet18)."""
    routine: Routine = field(default_factory=Routine)
    """How networks are trained on the set."""
    name = "substitutability"

    def __post_init__(self) -> None:
        require_setting(self.name, "epochs", self.epochs >= 1, self.epochs, "at least 1")

    def run(self, study: Study) -> Finding:
        cells, judge = [], self._judge(study)
        for place, seed in enumerate(study.seeds):
            study.tick(place / len(study.seeds), f"seed {seed}")
            cells.append(study.once(self.name, self, {"seed": seed, **judge}, lambda s=seed: self._measure(study, s)))
        names = study.data.spec.class_names
        rows = [self._row("all", [[cell[of]["all"] for cell in cells] for of in _DIRECTIONS])]
        for c, name in enumerate(names):
            rows.append(self._row(name, [[cell[of]["classes"][c] for cell in cells] for of in _DIRECTIONS]))
        chart = Chart(
            "class", "accuracy, %", tuple(self._series(of, label, cells) for of, label in _DIRECTIONS.items()),
            percent=True, names=names,
        )  # fmt: skip
        near = {of: estimate([cell["nearest"][of] for cell in cells]) for of in ("set", "real")}
        rows.append(
            {
                "class": "nearest class mean",
                **dict(zip(_DIRECTIONS.values(), (near["set"], near["real"], None), strict=True)),
            }
        )
        return Finding(
            self.name, self._sentence(cells, near), chart, tuple(rows), percent=tuple(_DIRECTIONS.values()),
            notes=self._notes(study, cells[0]), facts=study.facts(self),
        )  # fmt: skip

    def _judge(self, study: Study) -> dict[str, str]:
        """What the key of a cell says of a judge beside its name: nothing of one of decoct's own."""
        found = network_identity(self.judge, study.data.spec.shape, study.classes) if self.judge else ""
        return {} if found == self.judge else {"judge": found}

    def _row(self, name: str, values: list[list[float | None]]) -> dict[str, Any]:
        told = [None if any(v is None for v in runs) else estimate([v or 0.0 for v in runs]) for runs in values]
        return {"class": name, **dict(zip(_DIRECTIONS.values(), told, strict=True))}

    def _series(self, of: str, label: str, cells: list[dict[str, Any]]) -> Series:
        runs = [[cell[of]["classes"][c] for cell in cells] for c in range(len(cells[0][of]["classes"]))]
        there = [c for c, values in enumerate(runs) if all(v is not None for v in values)]
        return Series.of(label, there, [estimate(runs[c]) for c in there], line=False, quiet=of == "real")

    def _measure(self, study: Study, seed: int) -> dict[str, Any]:
        module = study.expert(self.epochs, seed, self.judge or None).module
        material, data = study.material(), study.data
        own = study.train(material, self.routine, seed)
        nominal, truth = study.compact_set.classes, data.test.labels()
        said = predict(module, material.inputs).argmax(1)
        means = class_means(study, module)
        return {
            "set": by_class(said, nominal, study.classes),
            "real": by_class(study.predictions(module, data.test), truth, study.classes),
            "back": by_class(study.predictions(own, data.test), truth, study.classes),
            "nearest": {
                "set": nearest_mean(features_of(module, material.inputs, study.device), means, nominal),
                "real": nearest_mean(_split_features(study, module, data.test), means, truth),
            },
        }

    def _sentence(self, cells: list[dict[str, Any]], near: dict[str, Any]) -> str:
        told = {of: shown(estimate([cell[of]["all"] for cell in cells]), True) for of in _DIRECTIONS}
        gap = estimate([cell["set"]["all"] - cell["real"]["all"] for cell in cells])
        return (
            f"{_claim(gap)}: {told['set']} % against {told['real']} % right ({shown(gap, True, True)} points), and "
            f"{shown(near['set'], True)} % of the set's images lie nearest to the real features of their class; "
            f"networks of the set know {told['back']} % of the real test images."
        )

    def _notes(self, study: Study, cell: dict[str, Any]) -> tuple[str, ...]:
        if not study.compact_set.spec.is_image:
            return ()
        inputs = study.compact_set.materialize()[0]
        unit = study.compact_set.spec.transform.inverse(inputs)
        outside = float(((unit < -1e-3) | (unit > 1 + 1e-3)).float().mean())
        return (f"{100 * outside:.1f} % of the set's pixels lie outside the range of real ones",)


def _claim(gap: dict[str, Any]) -> str:
    """What the difference between the set's images and real ones, seed by seed, says; one seed says nothing."""
    low, high = gap["low"], gap["high"]
    if low is None or high is None:
        return "Whether networks of real data know the set's images more easily than real ones one seed cannot tell"
    if low <= 0 <= high:
        return "How well networks of real data know the set's images and real ones cannot be told apart"
    word = "more" if low > 0 else "less"
    return f"Networks of real data know the set's images {word} easily than real ones"


def by_class(said: Int64[Tensor, " n"], truth: Int64[Tensor, " n"], classes: int) -> dict[str, Any]:
    """Fraction right over all rows, and for each class (None for a class without rows)."""
    right = (said == truth).double()
    counts = torch.bincount(truth, minlength=classes)
    sums = torch.zeros(classes, dtype=torch.float64).scatter_add_(0, truth, right)
    each = [float(s / n) if n else None for s, n in zip(sums, counts.tolist(), strict=True)]
    return {"all": float(right.mean()), "classes": each}


def features_of(module: nn.Module, inputs: Float[Tensor, "n ..."], device: str) -> Float[Tensor, "n d"]:
    """Penultimate features of unit length, without gradients, on the CPU."""
    with undisturbed(module):
        found = [embed(module, part.to(device)).float().cpu() for part in inputs.split(_BLOCK)]
    return F.normalize(torch.cat(found), dim=1)


def class_means(study: Study, module: nn.Module) -> Float[Tensor, "classes d"]:
    """Mean feature of every class over the training rows by their weights, of unit length; NaN for a class without
    rows."""
    features, labels = _split_features(study, module, study.data.train), study.data.train.labels()
    weights = study.data.train.weight()
    weights = torch.ones(len(labels)) if weights is None else weights.float()
    sums = torch.zeros(study.classes, features.shape[1]).index_add_(0, labels, weights[:, None] * features)
    counts = torch.bincount(labels, weights, minlength=study.classes)[:, None]
    return F.normalize(sums / counts, dim=1)


def nearest_mean(
    features: Float[Tensor, "n d"], means: Float[Tensor, "classes d"], truth: Int64[Tensor, " n"]
) -> float:
    """Share of the rows whose nearest class mean (cosine) is that of their own class."""
    near = (features @ means.T).nan_to_num(-2.0).argmax(1)
    return float((near == truth).float().mean())


def _split_features(study: Study, module: nn.Module, split: Any) -> Float[Tensor, "n d"]:
    parts = range(0, len(split), _BLOCK)
    return torch.cat(
        [features_of(module, study.data.inputs(split, slice(at, at + _BLOCK)), study.device) for at in parts]
    )
