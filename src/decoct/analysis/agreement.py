"""Agreement: does the set train networks like early training on real data, or like training on fewer real images?"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np
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
    the end on random subsets (each of `shares` of the rows, classes alike, as many steps as the set). Since agreement
    grows with accuracy, that of each kind and seed is read at the validation accuracy of the set's network, linear
    between the two networks on either side of it; where it lies outside of theirs, at the nearest, and the distance is
    told. None that are compared start from the same weights, which would make them agree far more. Beside it stand
    the agreement to expect by chance of two networks that are right as often but otherwise know nothing of each other,
    `a b + (1 - a)(1 - b) / (C - 1)`, and that of two networks of the set.

    Cost: for every seed two trainings of `routine.steps` steps on real data and one for each share. Differs from the
    official code: seeds are seeds, matching uses validation data, and lies between networks, not at the nearest one.
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
        runs, truth = [], study.data.test.labels()
        for place, seed in enumerate(study.seeds):
            study.tick(place / len(study.seeds), f"seed {seed}")
            own = study.once(self.name, self, {"of": "set", "seed": seed}, partial(self._own, study, seed))
            # Networks of real data know nothing of the set: other sets in the same folder share them.
            # Networks of subsets that started from the weights of the set's network are not these.
            key = {"of": "real", "seed": seed, "starts": "apart"}
            real = study.once(self.name, self, key, partial(self._real, study, seed), about_set=False)
            beside = {kind: _beside(own["said"], real[kind], truth, study.classes) for kind in _RIVALS}
            runs.append({"set": own, **beside})
        ours = [torch.tensor(run["set"]["said"]) for run in runs]
        matched = {kind: [matched_at(run[kind], run["set"]["val"]) for run in runs] for kind in _RIVALS}
        rows = tuple(self._row(kind, matched[kind]) for kind in _RIVALS)
        pairs = [agreement(a, b) for place, a in enumerate(ours) for b in ours[place + 1 :]]
        if pairs:
            own = fmean(run["set"]["val"] for run in runs)
            rows = (*rows, {"networks of real data": "none: two networks of the set", "agreement": fmean(pairs),
                            "when both are wrong": None, "by chance": None,
                            "their validation accuracy": own})  # fmt: skip
        percent = ("agreement", "when both are wrong", "by chance", "their validation accuracy")
        return Finding(
            self.name, self._sentence(matched), self._chart(runs), rows, percent=percent,
            notes=self._notes(matched), facts=study.facts(self),
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

    def _row(self, kind: str, matched: list[dict[str, Any]]) -> dict[str, Any]:
        wrong = [at["wrong"] for at in matched if at["wrong"] is not None]
        return {
            "networks of real data": _RIVALS[kind], "agreement": estimate([at["agreement"] for at in matched]),
            "when both are wrong": estimate(wrong) if wrong else None,
            "by chance": fmean(at["chance"] for at in matched),
            "their validation accuracy": estimate([at["val"] for at in matched]),
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

    def _sentence(self, matched: dict[str, list[dict[str, Any]]]) -> str:
        told = {kind: shown(estimate([at["agreement"] for at in found]), True) for kind, found in matched.items()}
        pairs = zip(matched["early"], matched["subset"], strict=True)
        gap = estimate([a["agreement"] - b["agreement"] for a, b in pairs])
        low, high = gap["low"], gap["high"]
        known = low is not None and high is not None and (low > 0 or high < 0)
        like = "early training" if gap["mean"] > 0 else "training on fewer images"  # type: ignore[operator]
        end = f"it trains more like {like}" if known else "the two cannot be told apart"
        far = max(at["outside"] for found in matched.values() for at in found)
        head = f"At accuracies up to {100 * far:.1f} points apart" if far else "At equal accuracy"
        return (
            f"{head} the set's networks agree with networks stopped early on {told['early']} % of the test "
            f"images and with networks of subsets on {told['subset']} % ({shown(gap, True, True)} points): {end}."
        )

    def _notes(self, matched: dict[str, list[dict[str, Any]]]) -> tuple[str, ...]:
        told = []
        for kind, found in matched.items():
            unit = "iterations" if kind == "early" else "real images"
            size, apart = fmean(at["size"] for at in found), fmean(at["apart"] for at in found)
            away = [at["outside"] for at in found if at["outside"]]
            end = (
                f"; with {len(away)} of {len(found)} seeds the set's accuracy lies outside of theirs, by up to "
                f"{100 * max(away):.1f} points: the nearest is taken"
            ) if away else ""  # fmt: skip
            told.append(
                f"{_RIVALS[kind]}: read at the set's validation accuracy, at about {size:.3g} {unit}, between networks "
                f"{100 * apart:.1f} points apart{end}"
            )
        return tuple(told)


def _beside(
    said: list[int], looks: list[dict[str, Any]], truth: Int64[Tensor, " n"], classes: int
) -> list[dict[str, Any]]:
    """Every look with its agreement with these predictions, that among common mistakes, and that by chance."""
    own = torch.tensor(said)
    right, found = agreement(own, truth), []
    for look in looks:
        other = torch.tensor(look["said"])
        both = {"agreement": agreement(own, other), "wrong": wrong_agreement(own, other, truth)}
        found.append({**look, **both, "chance": chance_agreement(right, agreement(other, truth), classes)})
    return found


def matched_at(looks: list[dict[str, Any]], accuracy: float) -> dict[str, Any]:
    """What networks of this validation accuracy would come to, by those that were looked at.

    `val`, `size`, `agreement`, `wrong` (None where no look has it) and `chance` lie on straight lines between the looks
    next to `accuracy`, those of equal accuracy at their mean; outside of all looks they are those of the end.
    `outside` is the distance to that end, `apart` that between the looks next to `accuracy`: 0 at a look or an end.
    """
    found: dict[str, Any] = {of: _read(looks, accuracy, of) for of in ("val", "size", "agreement", "wrong", "chance")}
    vals = [look["val"] for look in looks]
    below, above = [val for val in vals if val <= accuracy], [val for val in vals if val >= accuracy]
    apart = min(above) - max(below) if below and above else 0.0
    return {**found, "outside": max(min(vals) - accuracy, accuracy - max(vals), 0.0), "apart": apart}


def _read(looks: list[dict[str, Any]], accuracy: float, of: str) -> float | None:
    known = [(look["val"], look[of]) for look in looks if look[of] is not None]
    if not known:
        return None
    places = sorted({val for val, _ in known})
    heights = [fmean(height for val, height in known if val == place) for place in places]
    return float(np.interp(accuracy, places, heights))


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
