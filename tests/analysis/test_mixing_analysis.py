"""Mixing: how many rows are trained on, with which labels, and what is never done twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from analysis_toys import DATA, ROUTINE, soft_set, toy_set, toy_study

import decoct.evaluation.contender as contender_module
from decoct.analysis.mixing import Mixing
from decoct.analysis.routine import Routine
from decoct.errors import ConfigError


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str, torch.Tensor]]:
    """Rows, kind of labels and targets of every training."""
    calls: list[tuple[int, str, torch.Tensor]] = []
    real = contender_module.fit

    def counted(build: Any, inputs: Any, targets: Any, *rest: Any, **options: Any) -> Any:
        calls.append((len(inputs), options["label_kind"], targets))
        return real(build, inputs, targets, *rest, **options)

    monkeypatch.setattr(contender_module, "fit", counted)
    return calls


def test_rows_grow_and_intervals_are_over_seeds(fits: list[Any]) -> None:
    found = Mixing((0, 1, 4), ROUTINE).run(toy_study())
    assert [rows for rows, _, _ in fits] == [6, 6, 9, 9, 18, 18] * 2
    assert [row["added per class"] for row in found.rows] == [0, 1, 4]
    assert found.rows[0]["change of the set"] is None
    assert all(row["set"]["runs"] == 2 and row["set"]["low"] <= row["set"]["mean"] for row in found.rows)  # type: ignore
    assert [series.name for series in found.chart.series] == ["set + real", "random + real"]
    assert "Alone the set trains to" in found.sentence


@pytest.mark.parametrize("kind", ["probabilities", "scores"])
def test_real_rows_are_labelled_like_the_set(kind: str, fits: list[Any]) -> None:
    Mixing((0, 1), ROUTINE).run(toy_study(soft_set(kind), seeds=1))
    rows, trained, targets = fits[1]
    assert (rows, trained) == (9, kind)
    expected = torch.eye(3) if kind == "probabilities" else (torch.eye(3) - 1 / 3) / (3 / 10) ** 0.5
    torch.testing.assert_close(targets[6:], expected)


def test_a_longer_list_goes_on_where_a_shorter_stopped(fits: list[Any], tmp_path: Any) -> None:
    Mixing((0, 2), ROUTINE).run(toy_study(out=tmp_path))
    done = len(fits)
    first = Mixing((0, 2, 3), ROUTINE).run(toy_study(out=tmp_path))
    assert len(fits) - done == 4
    fresh = Mixing((0, 2, 3), ROUTINE).run(toy_study())
    assert fresh.rows == first.rows
    other = Mixing((0, 2), replace(ROUTINE, steps=5)).run(toy_study(out=tmp_path))
    assert other.rows != first.rows[:2]


def test_added_rows_of_a_seed_are_a_prefix_of_more() -> None:
    study = toy_study()
    few, many = (study.rows_per_class(n, 0, "added") for n in (2, 5))
    classes = DATA.train.labels(many)
    assert torch.bincount(classes).tolist() == [5, 5, 5]
    assert torch.equal(few, torch.cat([many[classes == c][:2] for c in range(3)]))
    assert not torch.equal(study.rows_per_class(5, 1, "added"), many)


def test_no_real_image_stands_twice_in_the_baseline(monkeypatch: pytest.MonkeyPatch) -> None:
    """30 rows a class: ten in the baseline and twenty added are all of them, each once."""
    seen: list[torch.Tensor] = []
    real = contender_module.fit

    def kept(build: Any, inputs: torch.Tensor, *rest: Any, **options: Any) -> Any:
        seen.append(inputs)
        return real(build, inputs, *rest, **options)

    monkeypatch.setattr(contender_module, "fit", kept)
    found = Mixing((0, 5, 20), ROUTINE).run(toy_study(toy_set(10), seeds=1))
    random = seen[3:]
    assert [len(inputs.unique(dim=0)) for inputs in random] == [len(inputs) for inputs in random] == [30, 45, 90]
    assert {tuple(row) for row in random[1].flatten(1).tolist()} >= {tuple(r) for r in random[0].flatten(1).tolist()}
    assert found.notes == ()
    short = Mixing((0, 21), ROUTINE).run(toy_study(toy_set(10), seeds=1))
    assert short.notes[0] == "a class has only 30 training rows, and gives no more"


def test_a_short_class_and_a_single_seed_are_told() -> None:
    found = Mixing((0, 99), ROUTINE).run(toy_study(seeds=1))
    assert "only 30 training rows" in found.notes[0]
    assert found.rows[0]["set"]["low"] is None  # type: ignore[index]


@pytest.mark.parametrize(
    ("changes", "claim"),
    [
        # 95 % for one number alone lies below 0; for three numbers together it does not.
        ({2: (-0.013, -0.018, -0.023), 10: (0.1,) * 3, 50: (0.2,) * 3}, "Real images never make it clearly worse"),
        ({2: (-0.1, -0.1, -0.101), 10: (0.0,) * 3, 50: (0.2,) * 3}, "Real images make it worse at first"),
        ({2: (0.0,) * 3, 10: (-0.05, -0.05, -0.051), 50: (-0.04,) * 3}, "Real images make it worse"),
        ({2: (0.0,) * 3, 10: (0.0,) * 3, 50: (-0.1, -0.1, -0.101)}, "Real images make it worse"),
        ({2: (-0.1,), 10: (-0.1,), 50: (0.2,)}, "Whether real images make it worse one seed cannot tell"),
    ],
)
def test_what_is_claimed_holds_for_all_numbers_together(changes: dict[int, tuple[float, ...]], claim: str) -> None:
    alone = [0.5] * len(changes[2])
    found = {"set": {0: alone} | {n: [0.5 + change for change in own] for n, own in changes.items()}}
    sentence = Mixing((0, 2, 10, 50))._sentence(found)
    assert f"%. {claim}: " in sentence


def test_intervals_for_all_numbers_together_are_told() -> None:
    assert Mixing((0, 1, 2), ROUTINE).run(toy_study()).notes == (
        "the intervals of changes in the sentence are 95 % for all 2 numbers together",
    )
    assert Mixing((0, 1), ROUTINE).run(toy_study()).notes == ()


@pytest.mark.parametrize("added", [(), (0,), (1, 2), (0, 5, 2)])
def test_added_must_rise_from_zero(added: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="(?s)setting added of the analysis 'mixing'.*rising"):
        Mixing(added)


@pytest.mark.parametrize(("name", "value"), [("steps", 0), ("lr", 0.0), ("momentum", 1.0), ("batch_size", 0)])
def test_impossible_routines(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"setting {name} of an analysis"):
        Routine(**{name: value})


def test_every_training_has_the_same_number_of_steps() -> None:
    assert Routine(300).config(10).epochs == 300
    assert Routine(300).config(600).epochs == 100
    assert Routine(300).config(100_000).epochs == 1
