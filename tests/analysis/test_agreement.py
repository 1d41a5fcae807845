"""Agreement: closed forms, matching on validation data, and a path that stops where it should."""

from __future__ import annotations

import json

import pytest
import torch
from analysis_toys import ROUTINE, toy_study

import decoct.analysis.agreement as agreement_module
from decoct.analysis.agreement import Agreement, agreement, chance_agreement, matched_at, wrong_agreement
from decoct.analysis.path import real_path, spaced
from decoct.analysis.routine import Routine
from decoct.analysis.study import Study
from decoct.errors import ConfigError, DivergenceError


def test_agreement_in_closed_form() -> None:
    a, b, truth = torch.tensor([0, 1, 2, 2]), torch.tensor([0, 1, 0, 2]), torch.tensor([0, 0, 1, 1])
    assert agreement(a, a) == 1.0
    assert agreement(a, b) == 0.75
    assert wrong_agreement(a, b, truth) == pytest.approx(2 / 3)
    assert wrong_agreement(truth, b, truth) is None


@pytest.mark.parametrize(("a", "b", "classes"), [(0.9, 0.6, 4), (0.5, 0.5, 2), (1.0, 1.0, 10)])
def test_agreement_by_chance_is_that_of_independent_mistakes(a: float, b: float, classes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(classes, (200_000,), generator=generator)

    def network(right: float) -> torch.Tensor:
        wrong = (truth + torch.randint(1, classes, truth.shape, generator=generator)) % classes
        return torch.where(torch.rand(truth.shape, generator=generator) < right, truth, wrong)

    assert chance_agreement(a, b, classes) == pytest.approx(agreement(network(a), network(b)), abs=0.005)


def test_spaced_looks_start_and_end_where_asked() -> None:
    assert spaced(100, 4) == [0, 1, 10, 100]
    found = spaced(300, 12)
    assert found[0] == 0
    assert found[-1] == 300
    assert len(found) <= 12
    assert found == sorted(set(found))


def test_the_path_takes_as_many_steps_as_it_says_and_repeats() -> None:
    study = toy_study()
    short = {
        at: module.state_dict()["classifier.weight"].clone() for at, module in real_path(study, ROUTINE, 0, [0, 2, 5])
    }
    long = {at: module.state_dict()["classifier.weight"].clone() for at, module in real_path(study, ROUTINE, 0, [5])}
    assert list(short) == [0, 2, 5]
    assert torch.equal(short[5], long[5])
    assert not torch.equal(short[0], short[2])
    assert torch.equal(short[0], study.build(0).state_dict()["classifier.weight"]) is False


def test_a_path_that_diverges_says_so() -> None:
    with pytest.raises(DivergenceError, match="(?s)training on real data for an analysis.*smaller lr"):
        list(real_path(toy_study(), Routine(steps=40, lr=1e20), 0, [40]))


def test_both_kinds_are_told_beside_two_networks_of_the_set(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Agreement(looks=6, shares=(0.04, 0.4), routine=ROUTINE).run(toy_study())
    early, subset, own = found.rows
    for row in (early, subset):
        assert 0 <= row["agreement"]["mean"] <= 1  # type: ignore[index]
    assert own["networks of real data"] == "none: two networks of the set"
    assert [s.name for s in found.chart.series] == ["stopped early", "trained on a subset"]
    assert len(found.notes) == 2
    assert "the set's networks agree with networks stopped early on" in found.sentence
    monkeypatch.setattr(agreement_module, "agreement", lambda a, b: 0.25)
    assert (
        Agreement(looks=4, shares=(0.4,), routine=ROUTINE).run(toy_study(seeds=1)).rows[0]["agreement"]["mean"] == 0.25
    )  # type: ignore


def test_no_rivals_start_from_the_same_weights(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of one start agree far more, so that a rival that shares the start of the set's network is favoured."""
    starts: list[int] = []
    build = Study.build
    monkeypatch.setattr(Study, "build", lambda self, seed: starts.append(seed) or build(self, seed))
    Agreement(looks=4, shares=(0.1, 0.4), routine=ROUTINE).run(toy_study(out=tmp_path, seeds=1))
    assert len(starts) == len(set(starts)) == 4, "the set, the path and two subsets"
    keys = [json.loads(path.read_text())["key"] for path in (tmp_path / "cells").iterdir()]
    assert {key["of"]: key.get("starts") for key in keys} == {"set": None, "real": "apart"}


def look(val: float, agreement: float, size: float = 0.0, wrong: float | None = None) -> dict:
    return {"val": val, "agreement": agreement, "size": size, "wrong": wrong, "chance": val}


def test_curves_are_read_at_the_accuracy_of_the_set() -> None:
    """Not at the nearest network: of few sizes it may be points away."""
    looks = [look(0.8, 0.9, 30), look(0.4, 0.5, 10, 0.2), look(0.6, 0.6, 20, 0.4)]
    found = matched_at(looks, 0.55)
    assert (found["val"], found["agreement"], found["size"]) == pytest.approx((0.55, 0.575, 17.5))
    assert (found["wrong"], found["chance"]) == pytest.approx((0.35, 0.55))
    assert (found["outside"], found["apart"]) == pytest.approx((0, 0.2))
    at = matched_at(looks, 0.6)
    assert (at["agreement"], at["outside"], at["apart"]) == pytest.approx((0.6, 0, 0))


def test_outside_of_a_curve_its_end_is_taken_and_the_distance_told() -> None:
    looks = [look(0.4, 0.5), look(0.6, 0.7)]
    for accuracy, val, agrees in ((0.3, 0.4, 0.5), (0.75, 0.6, 0.7)):
        found = matched_at(looks, accuracy)
        assert (found["val"], found["agreement"], found["apart"]) == pytest.approx((val, agrees, 0))
        assert found["outside"] == pytest.approx(abs(val - accuracy))
        assert found["wrong"] is None


def test_networks_of_equal_accuracy_count_with_their_mean() -> None:
    assert matched_at([look(0.5, 0.2), look(0.5, 0.4), look(0.7, 0.5)], 0.6)["agreement"] == pytest.approx(0.4)


def test_the_difference_is_that_of_curves_at_one_accuracy() -> None:
    """Both rivals lie on the same curve: what the nearest differ by, 4 points of it, is not told for a difference."""
    early = [matched_at([look(0.5, 0.5), look(0.6, 0.6)], val) for val in (0.54, 0.56)]
    subset = [matched_at([look(0.58, 0.58), look(0.44, 0.44)], val) for val in (0.54, 0.56)]
    matched = {"early": early, "subset": subset}
    assert "(+0.0 ± 0.0 points): the two cannot be told apart." in Agreement()._sentence(matched)
    assert Agreement()._sentence(matched).startswith("At equal accuracy the set's networks agree")
    assert Agreement()._notes(matched)[1] == (
        "trained on a subset: read at the set's validation accuracy, at about 0 real images, between networks 14.0 "
        "points apart"
    )


def test_accuracies_that_are_not_equal_are_not_called_so() -> None:
    inside = matched_at([look(0.5, 0.5), look(0.6, 0.6)], 0.55)
    beyond = matched_at([look(0.5, 0.5), look(0.6, 0.6)], 0.643)
    matched = {"early": [inside, inside], "subset": [inside, beyond]}
    assert Agreement()._sentence(matched).startswith("At accuracies up to 4.3 points apart the set's networks agree")
    first, second = Agreement()._notes(matched)
    assert "outside" not in first
    assert second.endswith(
        "; with 1 of 2 seeds the set's accuracy lies outside of theirs, by up to 4.3 points: the nearest is taken"
    )


def test_an_analysis_is_resumed_by_seed(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Agreement(looks=4, shares=(0.4,), routine=ROUTINE).run(toy_study(out=tmp_path, seeds=1))
    asked = []
    for name in ("_own", "_real"):
        whole = getattr(Agreement, name)
        monkeypatch.setattr(
            Agreement, name, lambda self, study, seed, whole=whole: asked.append(seed) or whole(self, study, seed)
        )
    assert len(list((tmp_path / "cells").iterdir())) == 2
    study = toy_study(out=tmp_path, seeds=2)
    both = Agreement(looks=4, shares=(0.4,), routine=ROUTINE).run(study)
    assert study.records.notes == []
    assert len(list((tmp_path / "cells").iterdir())) == 4
    assert asked == [1, 1], "seed 0 was there, of the set and of real data"
    assert both.facts["seeds"] == [*first.facts["seeds"], 1]


@pytest.mark.parametrize(("name", "value"), [("looks", 2), ("shares", ()), ("shares", (0.0,)), ("shares", (1.5,))])
def test_settings_that_cannot_be(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"setting {name} of the analysis 'agreement'"):
        Agreement(**{name: value})  # type: ignore[arg-type]
