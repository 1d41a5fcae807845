"""Agreement: closed forms, matching on validation data, and a path that stops where it should."""

from __future__ import annotations

import json

import pytest
import torch
from analysis_toys import ROUTINE, toy_study

import decoct.analysis.agreement as agreement_module
from decoct.analysis.agreement import Agreement, agreement, chance_agreement, wrong_agreement
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


def test_the_nearest_in_validation_accuracy_is_taken_and_itself_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Agreement(looks=6, shares=(0.04, 0.4), routine=ROUTINE).run(toy_study())
    early, subset, own = found.rows
    for row in (early, subset):
        assert 0 <= row["agreement"]["mean"] <= 1  # type: ignore[index]
    assert own["networks of real data"] == "none: two networks of the set"
    assert [s.name for s in found.chart.series] == ["stopped early", "trained on a subset"]
    assert len(found.notes) == 2
    assert "At equal accuracy the set's networks agree with networks stopped early on" in found.sentence
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


def test_the_matched_network_is_the_nearest_one() -> None:
    looks = [{"val": value, "agreement": value, "said": [0], "size": value} for value in (0.1, 0.5, 0.8)]
    run = {"set": {"val": 0.6}, "early": looks}
    assert Agreement()._matched(run, "early")["val"] == 0.5


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
