"""Substitutability: planted images, accuracies by class, and features of the right class."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from analysis_toys import ROUTINE, soft_set, toy_set, toy_study

from decoct.analysis.finding import estimate, shown
from decoct.analysis.substitutability import Substitutability, by_class, nearest_mean
from decoct.errors import ConfigError

REAL = "network of real data on the set"


def test_accuracy_by_class_counts_what_is_there() -> None:
    said, truth = torch.tensor([0, 1, 1, 2]), torch.tensor([0, 0, 1, 1])
    assert by_class(said, truth, 3) == {"all": 0.5, "classes": [0.5, 0.5, None]}


def test_nearest_mean_on_axes() -> None:
    features = torch.tensor([[1.0, 0.1], [0.2, 1.0], [1.0, 0.0]])
    assert nearest_mean(features, torch.eye(2), torch.tensor([0, 1, 1])) == pytest.approx(2 / 3)
    missing = torch.tensor([[1.0, 0.0], [torch.nan, torch.nan]])
    assert nearest_mean(features[:1], missing, torch.tensor([0])) == 1.0


def test_real_images_are_known_and_planted_wrong_ones_are_not() -> None:
    good = toy_set(3)
    found = Substitutability(epochs=40, routine=ROUTINE).run(toy_study(good))
    assert [row["class"] for row in found.rows] == ["all", "class 0", "class 1", "class 2", "nearest class mean"]
    assert found.rows[0][REAL]["mean"] > 0.9  # type: ignore[index]
    assert found.rows[4][REAL]["mean"] > 0.9  # type: ignore[index]
    wrong = replace(good, classes=(good.classes + 1) % 3)
    turned = Substitutability(epochs=40, routine=ROUTINE).run(toy_study(wrong))
    assert turned.rows[0][REAL]["mean"] < 0.1  # type: ignore[index]
    back = "network of the set on real test images"
    assert turned.rows[0][back]["mean"] < 0.3  # type: ignore[index, operator]
    assert found.rows[0][back]["mean"] > 0.7  # type: ignore[index, operator]


@pytest.mark.parametrize(
    ("gaps", "claim"),
    [
        ((0.03, 0.04, 0.05), "Networks of real data know the set's images more easily than real ones: "),
        ((-0.03, -0.04, -0.05), "Networks of real data know the set's images less easily than real ones: "),
        # Four points on average, and an interval that holds 0: what was called easier once.
        ((0.14, 0.0, -0.02), "How well networks of real data know the set's images and real ones cannot be told apart"),
        ((0.0, 0.0), "How well networks of real data know the set's images and real ones cannot be told apart"),
        ((0.2,), "Whether networks of real data know the set's images more easily than real ones one seed cannot tell"),
    ],
)
def test_what_is_claimed_rests_on_the_interval_of_the_paired_difference(gaps: tuple[float, ...], claim: str) -> None:
    # Accuracies that differ by seed far more than the pairs do.
    cells = [
        {"real": {"all": 0.3 + 0.1 * seed}, "set": {"all": 0.3 + 0.1 * seed + gap}, "back": {"all": 0.5}}
        for seed, gap in enumerate(gaps)
    ]
    sentence = Substitutability()._sentence(cells, {"set": estimate([0.5, 0.6])})
    assert sentence.startswith(claim)
    assert f"% right ({shown(estimate(gaps), True, True)} points), and 55.0" in sentence


def test_pixels_out_of_range_are_counted() -> None:
    found = Substitutability(epochs=1, routine=ROUTINE).run(toy_study(toy_set(), seeds=1))
    assert found.notes == ("0.0 % of the set's pixels lie outside the range of real ones",)
    soft = soft_set()
    drifted = replace(soft, tensors={**soft.tensors, "low": soft.tensors["low"] - 100})
    outside = Substitutability(epochs=1, routine=ROUTINE).run(toy_study(drifted, seeds=1))
    assert outside.notes == ("100.0 % of the set's pixels lie outside the range of real ones",)


def test_another_judge_and_a_class_that_is_missing() -> None:
    first = toy_set(1)
    found = Substitutability(epochs=1, judge="convnet2-w4", routine=ROUTINE).run(
        toy_study(first.take(torch.tensor([0, 1])), seeds=1)  # type: ignore[attr-defined]
    )
    assert found.rows[3][REAL] is None
    assert len(found.chart.series[0].x) == 2
    assert len(found.chart.series[1].x) == 3


def test_an_edited_judge_judges_anew(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = []
    measured = Substitutability._measure
    monkeypatch.setattr(Substitutability, "_measure", lambda *of: done.append(1) or measured(*of))
    where = "decoct.analysis.substitutability.network_identity"
    asked = Substitutability(epochs=1, judge="mlp2-w8", routine=ROUTINE)
    asked.run(toy_study(seeds=1, out=tmp_path))
    keys = [json.loads(path.read_text())["key"] for path in (tmp_path / "cells").iterdir()]
    assert ["judge" in key for key in keys] == [False], "cells of decoct's own networks are found as before"
    for version, runs in (("one", 2), ("one", 2), ("two", 3)):
        monkeypatch.setattr(where, lambda name, *_, v=version: f"{name}@{v}")
        asked.run(toy_study(seeds=1, out=tmp_path))
        assert len(done) == runs


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="(?s)setting epochs of the analysis 'substitutability'.*at least 1"):
        Substitutability(epochs=0)
