"""Scaling: how images, label entries and the age of the expert trade against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np

from decoct.analysis.finding import Chart, Finding, Series, estimate, shown
from decoct.analysis.law import Law, equivalent, fit_law, pareto_front, require_runs
from decoct.analysis.routine import Routine
from decoct.analysis.study import Analysis, Study, require_setting
from decoct.compact.soft_labels import keep_largest, soft_label_bytes
from decoct.compact.stored import hard_label_bytes
from decoct.evaluation.contender import Material
from decoct.training.accuracy import predict

Runs = Mapping[tuple[int, int, int], Sequence[Mapping[str, float]]]
"""(images of each class, entries, expert's pass) -> one record a seed; hard labels have 0 entries and pass 0."""


@dataclass(frozen=True)
class Scaling(Analysis):
    """Accuracy over images of each class n x label entries kept k x passes of the expert e, and the law behind it.

    Random real images with labels `softmax(f_e(x))` of an expert after e passes, the k largest entries kept and scaled
    to sum to 1, beside their own hard labels. For every (n, k) the pass is chosen on validation data; test accuracy
    there gives the law `error = floor + scale n^-alpha k^-beta` (`analysis.law`), iso-accuracy curves, the front of
    points that nothing of fewer bytes beats, and how many images with hard labels it takes to do as well as n with
    soft ones. The set itself stands beside it: how many images it is worth.

    Paper: "A Label is Worth a Thousand Images in Dataset Distillation", Qin, Deng & Alvarez-Melis, NeurIPS 2024,
    https://arxiv.org/abs/2406.10485; code of the authors: https://github.com/sunnytqin/no-distillation. Differs from
    the official code: passes are chosen on validation data, cut labels sum to 1 again, labels' bytes count (two an
    entry and one for its class), several seeds (images, expert and student are drawn anew), intervals.

    Cost: `len(ipc) (1 + len(entries) len(epochs)) seeds` trainings and one expert a seed.
    """

    ipc: tuple[int, ...] = (1, 3, 10, 30)
    """Images of each class, rising."""
    entries: tuple[int, ...] = ()
    """Label entries kept, from 1 to the number of classes; 1, 2, 4, ... and all of them if empty."""
    epochs: tuple[int, ...] = (1, 3, 10)
    """Passes of the expert that labels are taken from, rising."""
    routine: Routine = field(default_factory=Routine)
    """How every student is trained."""
    name = "scaling"

    def __post_init__(self) -> None:
        for setting in ("ipc", "entries", "epochs"):
            value = getattr(self, setting)
            rising = list(value) == sorted(set(value)) and all(v >= 1 for v in value)
            good = rising and (len(value) >= 2 if setting == "ipc" else bool(value) or setting == "entries")
            expected = "at least two numbers from 1, rising" if setting == "ipc" else "numbers from 1, rising"
            require_setting(self.name, setting, good, value, expected)

    def run(self, study: Study) -> Finding:
        powers = tuple(2**p for p in range(12) if 2**p < study.classes)
        kept = list(self.entries or (*powers, study.classes))
        require_setting(self.name, "entries", len(kept) > 1 and kept[-1] <= study.classes, kept,
                        f"at least two numbers, at most {study.classes}, the number of classes")  # fmt: skip
        require_runs(len(self.ipc) * len(kept) * len(study.seeds), len(self.ipc), len(kept))
        runs = self._runs(study, kept)
        chosen = {
            (n, k): max(self.epochs, key=lambda e: (fmean(r["val"] for r in runs[n, k, e]), -e))
            for n in self.ipc for k in kept
        }  # fmt: skip
        best = {(n, k): runs[n, k, e] for (n, k), e in chosen.items()}
        points = [(n, k, 1 - run["test"], seed) for (n, k), own in best.items()
                  for seed, run in zip(study.seeds, own, strict=True)]  # fmt: skip
        law = fit_law(*zip(*points, strict=True))
        worth, front = self._worth(runs, best, kept[-1]), self._front(study, runs, best, kept)
        own = self._own(study, runs)
        return Finding(
            self.name, self._sentence(law, worth, own, _labels(kept, study.classes)), self._chart(runs, best, kept),
            tuple(self._rows(runs, best, chosen, front, worth, kept)),
            percent=("test accuracy",), notes=self._notes(study, law, best, chosen, kept),
            facts={**study.facts(self), "runs of the law": points},
            further=(self._iso(law, kept), self._bytes_chart(study, runs, best, front)),
        )  # fmt: skip

    def _runs(self, study: Study, kept: Sequence[int]) -> dict[tuple[int, int, int], list[dict[str, float]]]:
        grid = [(n, k, e) for n in self.ipc for k, e in [(0, 0), *((k, e) for k in kept for e in self.epochs)]]
        found: dict[tuple[int, int, int], list[dict[str, float]]] = {cell: [] for cell in grid}
        for number, seed in enumerate(study.seeds):
            for place, (n, k, e) in enumerate(grid):
                study.tick((number + place / len(grid)) / len(study.seeds), f"{n} images, {k} entries, seed {seed}")
                key = {"ipc": n, "entries": k, "epoch": e, "seed": seed}
                settings = _Key(self.routine, max(self.epochs) if k else 0)
                work = partial(self._train, study, n, k, e, seed)
                found[n, k, e].append(study.once(self.name, settings, key, work, about_set=False))
        return found

    def _train(self, study: Study, n: int, k: int, epoch: int, seed: int) -> dict[str, Any]:
        material = study.real(study.rows_per_class(n, seed, "scaling"))
        if k:
            teacher = study.expert(max(self.epochs), seed).module_at(epoch)
            labels = predict(teacher, material.inputs).softmax(1)
            material = Material(material.inputs, keep_largest(labels, k), material.weights, "probabilities")
        return _measured(study, material, self.routine, seed)

    def _own(self, study: Study, runs: Runs) -> tuple[dict[str, Any], float | None]:
        """Accuracy of the set, and how many real images of each class with hard labels it is worth."""
        told = [
            study.once(self.name, _Key(self.routine, 0), {"of": "set", "seed": seed},
                       lambda s=seed: _measured(study, study.material(), self.routine, s))
            for seed in study.seeds
        ]  # fmt: skip
        accuracy = estimate([run["test"] for run in told])
        hard = [fmean(run["test"] for run in runs[n, 0, 0]) for n in self.ipc]
        return accuracy, equivalent(self.ipc, hard, fmean(run["test"] for run in told))

    def _worth(self, runs: Runs, best: Mapping[tuple[int, int], Any], full: int) -> dict[int, dict[str, Any] | None]:
        """Times as many images with hard labels that do as well as n with all entries kept, seed by seed."""
        found: dict[int, dict[str, Any] | None] = {}
        for n in self.ipc:
            times = []
            for place, run in enumerate(best[n, full]):
                curve = [runs[m, 0, 0][place]["test"] for m in self.ipc]
                count = equivalent(self.ipc, curve, run["test"])
                times.append(None if count is None else count / n)
            found[n] = None if any(value is None for value in times) else estimate([v for v in times if v is not None])
        return found

    def _front(
        self, study: Study, runs: Runs, best: Mapping[tuple[int, int], Any], kept: Sequence[int]
    ) -> dict[tuple[int, int], bool]:
        """Points of (bytes, validation accuracy) that no other beats, hard labels (0 entries) among them."""
        cells = [(n, k) for n in self.ipc for k in (0, *kept)]
        gains = np.array([fmean(r["val"] for r in (best[n, k] if k else runs[n, 0, 0])) for n, k in cells])
        costs = np.array([[self.nbytes(study, n, k)] for n, k in cells], dtype=float)
        return dict(zip(cells, pareto_front(costs, gains).tolist(), strict=True))

    def nbytes(self, study: Study, n: int, k: int) -> int:
        """Bytes of n images of each class with k label entries each (0: hard labels)."""
        rows, classes = n * study.classes, study.classes
        whole = None if k == classes else k
        labels = soft_label_bytes(rows * classes, classes, whole) if k else hard_label_bytes(rows, classes)
        return rows * study.data.spec.row_bytes + labels

    def _rows(
        self, runs: Runs, best: Mapping[tuple[int, int], Any], chosen: Mapping[tuple[int, int], int],
        front: Mapping[tuple[int, int], bool], worth: Mapping[int, Any], kept: Sequence[int],
    ) -> list[dict[str, Any]]:  # fmt: skip
        rows = []
        for n in self.ipc:
            for k in (0, *kept):
                cells = best[n, k] if k else runs[n, 0, 0]
                rows.append({
                    "images per class": n, "entries": k or "hard", "pass of the expert": chosen.get((n, k), "–"),
                    "test accuracy": estimate([run["test"] for run in cells]),
                    "unbeaten at its bytes": "yes" if front[n, k] else "",
                    "times as many with hard labels": worth[n] if k == kept[-1] else None,
                })  # fmt: skip
        return rows

    def _chart(self, runs: Runs, best: Mapping[tuple[int, int], Any], kept: Sequence[int]) -> Chart:
        series = []
        for k in (*kept[::-1], 0):
            cells = [best[n, k] if k else runs[n, 0, 0] for n in self.ipc]
            name = "hard labels" if k == 0 else f"{k} label entries" if k > 1 else "1 label entry"
            series.append(Series.of(name, self.ipc, [estimate([r["test"] for r in c]) for c in cells], quiet=k == 0))
        return Chart("images per class", "test accuracy, %", tuple(series), log_x=True, percent=True)

    def _iso(self, law: Law, kept: Sequence[int]) -> Chart:
        """Curves of equal accuracy by the law, each through a measured number of images with the most entries."""
        series = []
        for n in self.ipc:
            error = law.error(n, kept[-1])
            points = self._trades(law, error, kept)
            none = (None,) * len(points)
            series.append(Series(f"{100 * (1 - error):.0f} % right", tuple(float(k) for k, _ in points),
                                 tuple(count for _, count in points), none, none))  # fmt: skip
        return Chart("label entries", "images per class that do as well (law)", tuple(series), log_x=True, log_y=True)

    def _trades(self, law: Law, error: float, kept: Sequence[int]) -> list[tuple[int, float]]:
        """Entries and the images of each class that reach `error` with them, as far as numbers of images were
        measured."""
        told = [(k, law.images_for(error, k)) for k in kept]
        low, high = 0.999 * self.ipc[0], 1.001 * self.ipc[-1]
        return [(k, count) for k, count in told if count is not None and low <= count <= high]

    def _bytes_chart(
        self, study: Study, runs: Runs, best: Mapping[tuple[int, int], Any], front: Mapping[tuple[int, int], bool]
    ) -> Chart:
        """Test accuracy against bytes; what is unbeaten was found on validation data."""
        series = []
        for wanted, name in ((True, "unbeaten at its bytes"), (False, "beaten")):
            cells = sorted((self.nbytes(study, n, k), n, k) for (n, k), first in front.items() if first is wanted)
            told = [estimate([r["test"] for r in (best[n, k] if k else runs[n, 0, 0])]) for _, n, k in cells]
            series.append(Series.of(name, [size for size, _, _ in cells], told, line=wanted, quiet=not wanted))
        return Chart("bytes of images and labels", "test accuracy, %", tuple(series), log_x=True, percent=True)

    def _sentence(self, law: Law, worth: Mapping[int, Any], own: tuple[Any, float | None], labels: str) -> str:
        # All of them: the interval of one that was picked as the largest would be too narrow.
        known = [f"{shown(value)} times the images at {n}" for n, value in worth.items() if value is not None]
        told = f"{labels.capitalize()} are worth {', '.join(known)} a class"
        if not known:
            told = f"What {labels} reach lies outside what was measured with hard ones"
        accuracy, count = own
        does = "lies outside what was measured" if count is None else f"is worth {count:.3g} real images of each class"
        return f"{law.sentence()} {told}. The set itself ({shown(accuracy, True)} %) {does} with hard labels."

    def _notes(
        self, study: Study, law: Law, best: Mapping[tuple[int, int], Any], chosen: Mapping[tuple[int, int], int],
        kept: Sequence[int],
    ) -> tuple[str, ...]:  # fmt: skip
        ends = {name: "held at 0" if value is None else f"{value[0]:.3g} to {value[1]:.3g}"
                for name, value in law.intervals.items()}  # fmt: skip
        notes = [
            f"law: alpha {law.alpha:.3f} ({ends['alpha']}), beta {law.beta:.3f} ({ends['beta']}), scale "
            f"{law.scale:.3f} ({ends['scale']}), floor {law.floor:.3f} ({ends['floor']}), residual "
            f"{100 * law.residual:.0f} % of the error",
            f"pass of the expert chosen on validation data, {_labels(kept, study.classes)}: "
            + ", ".join(f"{chosen[n, kept[-1]]} at {n}" for n in self.ipc),
        ]
        middle = 1 - fmean(run["test"] for run in best[self.ipc[len(self.ipc) // 2], kept[-1]])
        told = ", ".join(f"{k} entries x {n:.3g} images" for k, n in self._trades(law, middle, kept))
        notes.append(f"iso-accuracy {100 * (1 - middle):.1f} % by the law: {told or 'out of its reach'}")
        if not law.by_seed:
            notes.append("fewer than three seeds: the law's intervals take runs of one seed for independent")
        shortest = min(len(rows) for rows in study.data.train.class_rows(study.classes))
        if shortest < self.ipc[-1]:
            notes.append(f"a class has only {shortest} training rows, and gives no more")
        return tuple(notes)


def _labels(kept: Sequence[int], classes: int) -> str:
    """What the labels with the most entries are: whole where none were cut."""
    return "whole soft labels" if kept[-1] == classes else f"labels of {kept[-1]} entries"


def _measured(study: Study, material: Material, routine: Routine, seed: int) -> dict[str, Any]:
    module = study.train(material, routine, seed)
    return {"val": study.accuracy(module, study.data.val), "test": study.accuracy(module, study.data.test)}


@dataclass(frozen=True)
class _Key:
    """What a finished training depends on beside its own key: a longer grid goes on where a shorter one stopped."""

    routine: Routine
    expert: int
    """Passes of the whole training of the expert: its step size falls over them."""
