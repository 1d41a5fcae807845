"""Agreement: does the set train networks like early training on real data, or like training on fewer real images?"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from statistics import fmean
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from decoct.analysis.finding import Chart, Finding, Series, estimate, shown
from decoct.analysis.path import real_path, spaced
from decoct.analysis.routine import Routine
from decoct.analysis.study import Analysis, Study, require_setting

_RIVALS = {"early": "stopped early", "subset": "trained on a subset"}


@dataclass(frozen=True)
class Agreement(Analysis):
    """Share of test images `mean_i [f(x_i) = g(x_i)]` that a network of the set and one of real data say the same of.

    Paper: "What is Dataset Distillation Learning?", Yang, Zhu, Deng & Russakovsky, ICML 2024,
    https://arxiv.org/abs/2406.04284; code of the authors:
    https://github.com/princetonvisualai/What-is-Dataset-Distillation-Learning.

    Networks of real data are stopped early (after each of `looks` iterations of training on all rows) or trained to
    the end on random subsets (each of `shares` of the rows, classes alike, as many steps as the set). Of each kind and
    seed the one is taken whose validation accuracy is nearest to that of the set's network, since agreement grows with
    accuracy. None that are compared start from the same weights, which would make them agree far more. Beside it stand
    the agreement to expect by chance of two networks that are right as often but otherwise know nothing of each other,
    `a b + (1 - a)(1 - b) / (C - 1)`, and that of two networks of the set.

    Cost: for every seed two trainings of `routine.steps` steps on real data and one for each share. Differs from the
    official code: seeds are seeds, matching uses validation data, and the distance in accuracy that is left is told.
    """

    looks: int = 24
    """Iterations at which the network of real data is looked at, from 0 to the last."""
    shares: tuple[float, ...] = (0.005, 0.01, 0.02, 0.05, 0.1)
    """Sizes of the subsets, as shares of the training rows."""
    routine: Routine = field(default_factory=Routine)
    """How every network is trained."""
    name = "agreement"

    def __post_init__(self) -> None:
        require_setting(self.name, "looks", self.looks >= 3, self.looks, "at least 3")
        shares = bool(self.shares) and all(0 < share <= 1 for share in self.shares)
        require_setting(self.name, "shares", shares, self.shares, "numbers above 0, at most 1")

    def run(self, study: Study) -> Finding:
        runs = []
        for place, seed in enumerate(study.seeds):
            study.tick(place / len(study.seeds), f"seed {seed}")
            own = study.once(self.name, self, {"of": "set", "seed": seed}, partial(self._own, study, seed))
            # Networks of real data know nothing of the set: other sets in the same folder share them.
            # Networks of subsets that started from the weights of the set's network are not these.
            key = {"of": "real", "seed": seed, "starts": "apart"}
            real = study.once(self.name, self, key, partial(self._real, study, seed), about_set=False)
            runs.append({"set": own, **{kind: _beside(own["said"], real[kind]) for kind in _RIVALS}})
        truth = study.data.test.labels()
        ours = [torch.tensor(run["set"]["said"]) for run in runs]
        matched = {kind: [self._matched(run, kind) for run in runs] for kind in _RIVALS}
        rows = tuple(self._row(kind, runs, matched[kind], truth, study.classes) for kind in _RIVALS)
        pairs = [agreement(a, b) for place, a in enumerate(ours) for b in ours[place + 1 :]]
        if pairs:
            own = fmean(run["set"]["val"] for run in runs)
            rows = (*rows, {"networks of real data": "none: two networks of the set", "agreement": fmean(pairs),
                            "when both are wrong": None, "by chance": None,
                            "their validation accuracy": own})  # fmt: skip
        percent = ("agreement", "when both are wrong", "by chance", "their validation accuracy")
        return Finding(
            self.name, self._sentence(runs, matched), self._chart(runs), rows, percent=percent,
            notes=self._notes(runs, matched), facts=study.facts(self),
        )  # fmt: skip

    def _own(self, study: Study, seed: int) -> dict[str, Any]:
        module = study.train(study.material(), self.routine, seed)
        said = study.predictions(module, study.data.test).tolist()
        return {"val": study.accuracy(module, study.data.val), "said": said}

    def _real(self, study: Study, seed: int) -> dict[str, Any]:
        """Predictions and validation accuracy of every network of real data."""

        def look(module: nn.Module, size: int) -> dict[str, Any]:
            said = study.predictions(module, study.data.test).tolist()
            return {"size": size, "val": study.accuracy(module, study.data.val), "said": said}

        early = [look(m, n) for n, m in real_path(study, self.routine, seed, spaced(self.routine.steps, self.looks))]
        subset = []
        for share in self.shares:
            count = max(1, round(share * len(study.data.train) / study.classes))
            rows = study.rows_per_class(count, seed, "subset")
            subset.append(look(study.train(study.real(rows), self.routine, seed, "subset", str(share)), len(rows)))
        return {"early": early, "subset": subset}

    def _matched(self, run: dict[str, Any], kind: str) -> dict[str, Any]:
        """The network of real data of that kind nearest in validation accuracy; the smaller of equals."""
        return min(run[kind], key=lambda look: abs(look["val"] - run["set"]["val"]))

    def _row(
        self, kind: str, runs: list[dict[str, Any]], matched: list[dict[str, Any]], truth: Int64[Tensor, " n"],
        classes: int,
    ) -> dict[str, Any]:  # fmt: skip
        both = [
            (torch.tensor(run["set"]["said"]), torch.tensor(look["said"]))
            for run, look in zip(runs, matched, strict=True)
        ]
        wrong = [wrong_agreement(a, b, truth) for a, b in both]
        said = [value for value in wrong if value is not None]
        chance = fmean(
            chance_agreement(float((a == truth).float().mean()), float((b == truth).float().mean()), classes)
            for a, b in both
        )
        return {
            "networks of real data": _RIVALS[kind], "agreement": estimate([look["agreement"] for look in matched]),
            "when both are wrong": estimate(said) if said else None, "by chance": chance,
            "their validation accuracy": estimate([look["val"] for look in matched]),
        }  # fmt: skip

    def _chart(self, runs: list[dict[str, Any]]) -> Chart:
        series = []
        for kind, label in _RIVALS.items():
            places = range(len(runs[0][kind]))
            x = [100 * fmean(run[kind][p]["val"] for run in runs) for p in places]
            y = [estimate([run[kind][p]["agreement"] for run in runs]) for p in places]
            order = sorted(places, key=lambda p: x[p])
            series.append(Series.of(label, [x[p] for p in order], [y[p] for p in order]))
        return Chart(
            "validation accuracy of the network of real data, %", "same prediction as the set's network, %",
            tuple(series), percent=True,
        )  # fmt: skip

    def _sentence(self, runs: list[dict[str, Any]], matched: dict[str, list[dict[str, Any]]]) -> str:
        told = {kind: shown(estimate([look["agreement"] for look in found]), True) for kind, found in matched.items()}
        pairs = zip(matched["early"], matched["subset"], strict=True)
        gap = estimate([a["agreement"] - b["agreement"] for a, b in pairs])
        low, high = gap["low"], gap["high"]
        known = low is not None and high is not None and (low > 0 or high < 0)
        like = "early training" if gap["mean"] > 0 else "training on fewer images"  # type: ignore[operator]
        end = f"it trains more like {like}" if known else "the two cannot be told apart"
        return (
            f"At equal accuracy the set's networks agree with networks stopped early on {told['early']} % of the test "
            f"images and with networks of subsets on {told['subset']} % ({shown(gap, True, True)} points): {end}."
        )

    def _notes(self, runs: list[dict[str, Any]], matched: dict[str, list[dict[str, Any]]]) -> tuple[str, ...]:
        told = []
        for kind, found in matched.items():
            left = fmean(abs(look["val"] - run["set"]["val"]) for look, run in zip(found, runs, strict=True))
            size = fmean(look["size"] for look in found)
            unit = "iterations" if kind == "early" else "real images"
            told.append(
                f"{_RIVALS[kind]}: matched at {size:.3g} {unit}, {100 * left:.1f} points of validation accuracy away"
            )
        return tuple(told)


def _beside(said: list[int], looks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every look with its agreement with these predictions."""
    own = torch.tensor(said)
    return [{**look, "agreement": agreement(own, torch.tensor(look["said"]))} for look in looks]


def agreement(a: Int64[Tensor, " n"], b: Int64[Tensor, " n"]) -> float:
    """Share of the rows on which both say the same."""
    return float((a == b).double().mean())


def wrong_agreement(a: Int64[Tensor, " n"], b: Int64[Tensor, " n"], truth: Int64[Tensor, " n"]) -> float | None:
    """The same share among the rows that both get wrong; None where there are none."""
    wrong = (a != truth) & (b != truth)
    return agreement(a[wrong], b[wrong]) if bool(wrong.any()) else None


def chance_agreement(a: float, b: float, classes: int) -> float:
    """Agreement to expect of two networks of accuracies `a` and `b` whose mistakes are independent and spread evenly
    over the other `classes - 1` classes."""
    return a * b + (1 - a) * (1 - b) / max(1, classes - 1)
