"""Removed: is a class whose images are gone from the set still learned from the labels of the others?"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from statistics import fmean
from typing import Literal

import torch

from decoct.analysis.finding import Chart, Finding, Series, estimate, shown
from decoct.analysis.routine import Routine
from decoct.analysis.study import Analysis, Study, require_setting
from decoct.evaluation.contender import Material
from decoct.training.accuracy import predict

_KINDS = ("soft", "hard")


@dataclass(frozen=True)
class Removed(Analysis):
    """Accuracy on the test images of class c of students that never saw an image of c, only labels that name it.

    All rows of the set whose nominal class is c are left out. The other images are taught with labels
    `softmax(f(x) / temperature)` of an expert of real data, in which c still has its entry (`labels="expert"`), or
    with the set's own soft labels (`labels="own"`); beside them stand the same rows with hard labels, which cannot
    teach c. Accuracy on c is among all classes. Because a class without rows is seldom the likeliest, its
    rank counts too: the mean share of classes that the student finds less likely than c on its own images, 0.5 by
    chance.

    Paper: "A Label is Worth a Thousand Images in Dataset Distillation", Qin, Deng & Alvarez-Melis, NeurIPS 2024,
    https://arxiv.org/abs/2406.10485 (learning a class without images); code of the authors:
    https://github.com/sunnytqin/no-distillation. Cost: `2 classes seeds` trainings and one expert a seed. Differs from
    the official code: several seeds with intervals, the rank, hard labels beside it.
    """

    labels: Literal["expert", "own"] = "expert"
    """Who labels the images: an expert of real data, or the set itself where its labels are probabilities."""
    classes: int = 5
    """How many classes are removed, one at a time, evenly spaced in their order."""
    epochs: int = 5
    """Passes of the expert."""
    temperature: float = 2.0
    """Divides the expert's logits, above 0; above 1 the entries of other classes grow."""
    routine: Routine = field(default_factory=Routine)
    """How every student is trained."""
    name = "removed"

    def __post_init__(self) -> None:
        require_setting(self.name, "labels", self.labels in ("expert", "own"), self.labels, "'expert' or 'own'")
        for setting in ("classes", "epochs"):
            value = getattr(self, setting)
            require_setting(self.name, setting, value >= 1, value, "at least 1")
        require_setting(self.name, "temperature", self.temperature > 0, self.temperature, "a positive number")

    def run(self, study: Study) -> Finding:
        present = study.compact_set.classes.unique().tolist()
        require_setting(self.name, "the set", len(present) > 1, f"a set of {len(present)} class",
                        "rows of at least two classes, so that something is left")  # fmt: skip
        kind = study.compact_set.label_kind
        require_setting(self.name, "labels", self.labels == "expert" or kind == "probabilities", f"own labels, {kind}",
                        "'expert', or a set whose own labels are probabilities")  # fmt: skip
        step = max(1, len(present) // min(self.classes, len(present)))
        asked = present[::step][: self.classes]
        known = set(study.data.test.labels().tolist())
        gone = [c for c in asked if c in known]
        require_setting(self.name, "classes", bool(gone), "classes without test rows",
                        "a removed class that has test rows")  # fmt: skip
        runs: dict[tuple[int, str], list[dict[str, float]]] = {(c, of): [] for c in gone for of in _KINDS}
        for number, seed in enumerate(study.seeds):
            for place, (c, of) in enumerate(runs):
                study.tick((number + place / len(runs)) / len(study.seeds), f"without class {c}, {of}, seed {seed}")
                key = {"class": c, "of": of, "seed": seed}
                work = partial(self._train, study, c, of, seed)
                runs[c, of].append(study.once(self.name, self, key, work))
        names = study.data.spec.class_names
        rows = tuple(
            {"removed class": names[c], **{
                f"{what}, {of} labels": estimate([run[what] for run in runs[c, of]]) if c in known else None
                for what in ("accuracy", "rank") for of in _KINDS
            }}
            for c in asked
        )  # fmt: skip
        series = tuple(
            Series.of(f"{of} labels", range(len(gone)), [estimate([r["accuracy"] for r in runs[c, of]]) for c in gone],
                      line=False, quiet=of == "hard")
            for of in _KINDS
        )  # fmt: skip
        words = tuple(names[c] for c in gone)
        missing = [names[c] for c in asked if c not in known]
        chart = Chart("removed class", "test accuracy on it, %", series, percent=True, names=words)
        return Finding(
            self.name, self._sentence(runs, gone), chart, rows,
            percent=tuple(f"{what}, {of} labels" for what in ("accuracy", "rank") for of in _KINDS),
            notes=(f"labels by {self.labels}; rank: share of classes less likely than it on its own images, 50 % by "
                   "chance", *([f"without test rows, not measured: {', '.join(missing)}"] if missing else [])),
            facts=study.facts(self),
        )  # fmt: skip

    def _train(self, study: Study, gone: int, of: str, seed: int) -> dict[str, float]:
        material, nominal = study.material(), study.compact_set.classes
        left = torch.nonzero(nominal != gone).flatten()
        inputs, weights = material.inputs[left], None if material.weights is None else material.weights[left]
        if of == "hard":
            taught = Material(inputs, nominal[left], weights, "hard")
        elif self.labels == "own":
            taught = Material(
                inputs, material.targets[left], weights, "probabilities", temperature=material.temperature
            )
        else:
            logits = predict(study.expert(self.epochs, seed).module, inputs)
            taught = Material(inputs, (logits / self.temperature).softmax(1), weights, "probabilities")
        module = study.train(taught, self.routine, seed)
        own = study.data.test.take(torch.nonzero(study.data.test.labels() == gone).flatten())
        logits = predict(module, study.data, own)
        return {
            "accuracy": float((logits.argmax(1) == gone).float().mean()),
            "rank": float((logits < logits[:, gone : gone + 1]).float().sum(1).mean()) / max(1, study.classes - 1),
        }

    def _sentence(self, runs: dict[tuple[int, str], list[dict[str, float]]], gone: list[int]) -> str:
        def told(of: str, what: str) -> str:
            seeds = range(len(runs[gone[0], of]))
            return shown(estimate([fmean(runs[c, of][s][what] for c in gone) for s in seeds]), True)

        return (
            f"Without any image of a class, soft labels of the other images teach it to {told('soft', 'accuracy')} % "
            f"of its test images, hard labels to {told('hard', 'accuracy')} %; on these images the class is found "
            f"likelier than {told('soft', 'rank')} % of the others with soft and {told('hard', 'rank')} % with hard "
            "labels."
        )
