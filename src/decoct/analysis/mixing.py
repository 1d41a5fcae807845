"""Mixing: does a set stay good when real images are added to it?"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from statistics import fmean
from typing import Any

from decoct.analysis.finding import Chart, Finding, Series, estimate, shown
from decoct.analysis.routine import Routine
from decoct.analysis.study import Analysis, Study, joined, require_setting


@dataclass(frozen=True)
class Mixing(Analysis):
    """Accuracy `a(n)` of a network trained on the set together with n real images of each class.

    Paper: "What is Dataset Distillation Learning?", Yang, Zhu, Deng & Russakovsky, ICML 2024,
    https://arxiv.org/abs/2406.04284 (training sensitivity); code of the authors:
    https://github.com/princetonvisualai/What-is-Dataset-Distillation-Learning.

    Beside it stands the same for random real images as many as the set has, so that what the real images bring by
    themselves can be seen; no image is added there that it has already. Seed by seed the n images are a prefix of
    more, and drawn afresh for every seed. All networks take the same number of steps. Test accuracy is measured;
    nothing is chosen.

    Cost: `2 len(added) seeds` trainings of `routine.steps` steps. Differs from the official code: several seeds with
    intervals (paired: every seed trains with and without), a baseline at every n, and labels of the real images are
    written as the set's (one-hot, or scores as they start).
    """

    added: tuple[int, ...] = (0, 2, 10, 50, 250)
    """Real images of each class that are added, rising from 0."""
    routine: Routine = field(default_factory=Routine)
    """How every network is trained."""
    name = "mixing"

    def __post_init__(self) -> None:
        rising = len(self.added) > 1 and self.added[0] == 0 and list(self.added) == sorted(set(self.added))
        require_setting(self.name, "added", rising, self.added, "0 and at least one larger number, rising")

    def run(self, study: Study) -> Finding:
        found = {
            of: {n: self._accuracies(study, of, n, place) for place, n in enumerate(self.added)}
            for of in ("set", "random")
        }
        rows = tuple(self._row(found, n) for n in self.added)
        series = tuple(
            Series.of(label, self.added, [estimate(found[of][n]) for n in self.added], quiet=of == "random")
            for of, label in (("set", "set + real"), ("random", "random + real"))
        )
        chart = Chart("real images added to each class", "test accuracy, %", series, log_x=True, percent=True)
        return Finding(
            self.name, self._sentence(found), chart, rows, percent=("set", "random", "change of the set"),
            notes=self._notes(study), facts=study.facts(self),
        )  # fmt: skip

    def _accuracies(self, study: Study, of: str, n: int, place: int) -> list[float]:
        found = []
        for number, seed in enumerate(study.seeds):
            done = (of == "random") / 2 + (place + number / len(study.seeds)) / len(self.added) / 2
            study.tick(done, f"{of} + {n} a class, seed {seed}")
            # How many are added elsewhere changes nothing here: a longer list goes on where a shorter one stopped.
            key: dict[str, Any] = {"of": of, "added": n, "seed": seed}
            if of == "random":
                key |= {"size": _size(study), **({"apart": True} if n else {})}
            work = partial(self._train, study, of, n, seed)
            found.append(study.once(self.name, _Key(self.routine), key, work, about_set=of == "set"))
        return [cell["test"] for cell in found]

    def _train(self, study: Study, of: str, n: int, seed: int) -> dict[str, Any]:
        kind = study.compact_set.label_kind if of == "set" else "hard"
        base, first = study.material(), None
        if of == "random":
            first = study.rows_per_class(_size(study), seed, "random")
            base = study.real(first)
        if n:
            # A real image that is added is none that stands there already.
            base = joined(base, study.real(study.rows_per_class(n, seed, "added", without=first), kind))
        module = study.train(base, self.routine, seed)
        return {"test": study.accuracy(module, study.data.test), "rows": len(base.inputs)}

    def _row(self, found: dict[str, dict[int, list[float]]], n: int) -> dict[str, Any]:
        ours, base = found["set"][n], found["set"][0]
        change = estimate([a - b for a, b in zip(ours, base, strict=True)]) if n else None
        return {
            "added per class": n, "set": estimate(ours), "random": estimate(found["random"][n]),
            "change of the set": change,
        }  # fmt: skip

    def _sentence(self, found: dict[str, dict[int, list[float]]]) -> str:
        alone, real = found["set"][0], [n for n in self.added if n]
        worst = min(real, key=lambda n: fmean(found["set"][n]))
        # The worst of several is looked for: its interval holds for all numbers together.
        together = 1 - 0.05 / len(real)
        change, last = (
            estimate([a - b for a, b in zip(found["set"][n], alone, strict=True)], together) for n in (worst, real[-1])
        )
        points = f"{shown(change, True, True)} points with {worst} a class"
        end = "" if worst == real[-1] else f", {shown(last, True, True)} with {real[-1]}"
        told = _claim(change, last)
        return f"Alone the set trains to {shown(estimate(alone), True)} %. {told}: {points}{end}."

    def _notes(self, study: Study) -> tuple[str, ...]:
        shortest = min(len(rows) for rows in study.data.train.class_rows(study.classes))
        short = shortest < self.added[-1] + _size(study)
        told = [f"a class has only {shortest} training rows, and gives no more"] if short else []
        if len(self.added) > 2 and len(study.seeds) > 1:
            numbers = len(self.added) - 1
            told.append(f"the intervals of changes in the sentence are 95 % for all {numbers} numbers together")
        if study.material().replay is not None:
            told.append("the set has labels for views: alone it shows them, mixed it shows its rows as they are")
        return tuple(told)


def _claim(worst: dict[str, Any], last: dict[str, Any]) -> str:
    """What the change where the set is worst, and that with most real images, say; one seed says nothing."""
    if worst["high"] is None:
        return "Whether real images make it worse one seed cannot tell"
    if worst["high"] >= 0:
        return "Real images never make it clearly worse"
    return "Real images make it worse" + (" at first" if last["mean"] >= 0 else "")


def _size(study: Study) -> int:
    """Random real images of each class: as many as the set has on average."""
    return max(1, round(study.per_class()))


@dataclass(frozen=True)
class _Key:
    """What a finished training depends on beside its own key."""

    routine: Routine
