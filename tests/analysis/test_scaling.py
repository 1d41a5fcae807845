"""Scaling and removed classes: the grid, choices on validation data, bytes, and what labels alone teach."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from analysis_toys import DATA, ROUTINE, relabelled, soft_set, toy_set, toy_study
from toys import blob_images

import decoct.analysis.scaling as scaling_module
import decoct.analysis.study as study_module
from decoct.analysis.finding import estimate, shown
from decoct.analysis.law import Law
from decoct.analysis.removed import Removed
from decoct.analysis.scaling import Scaling
from decoct.analysis.study import Analysis
from decoct.compact.coreset import Coreset
from decoct.errors import ConfigError, DataError

SETTINGS = Scaling(ipc=(1, 2, 5), epochs=(1, 3), routine=ROUTINE)


def test_the_whole_grid_is_told(tmp_path) -> None:
    study = toy_study(out=tmp_path)
    found = SETTINGS.run(study)
    cells = [(row["images per class"], row["entries"]) for row in found.rows]
    assert cells == [(n, k) for n in (1, 2, 5) for k in ("hard", 1, 2, 3)]
    assert all(row["pass of the expert"] in (1, 3, "–") for row in found.rows)
    assert [series.name for series in found.chart.series] == [
        "3 label entries", "2 label entries", "1 label entry", "hard labels",
    ]  # fmt: skip
    assert "Errors go as n^" in found.sentence
    assert "law: alpha" in found.notes[0]
    iso, front = found.further
    assert [len(series.x) for series in front.series] == [
        sum(row["unbeaten at its bytes"] == word for row in found.rows) for word in ("yes", "")
    ]
    assert len(iso.series) <= 3
    for series in iso.series:
        if series.x[-1:] == (3.0,):
            assert series.y[-1] == pytest.approx((1, 2, 5)[iso.series.index(series)], rel=1e-3)
    assert "iso-accuracy" in found.notes[2]
    assert "fewer than three seeds: the law's intervals" in found.notes[3]
    assert [tuple(run[:2]) for run in found.facts["runs of the law"][::2]] == [(n, k) for n, k in cells if k != "hard"]
    assert [run[3] for run in found.facts["runs of the law"]] == [0, 1] * 9
    # 3 sizes x (1 + 3 entries x 2 passes) and the set, for each of 2 seeds
    assert len(list((tmp_path / "cells").iterdir())) == 2 * (3 * 7 + 1)
    assert len(list((tmp_path / "experts").iterdir())) == 2


def test_the_law_knows_the_seed_of_each_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accuracies that differ by seed alone: at every seed the same powers, so that their intervals are points."""

    def measured(study, material, routine, seed):
        error = (0.5 + 0.1 * seed) * len(material.inputs) ** -0.5 * (1 + int(material.targets.count_nonzero())) ** -0.1
        return {"val": 1 - error, "test": 1 - error}

    monkeypatch.setattr(scaling_module, "_measured", measured)
    found = replace(SETTINGS, epochs=(1,)).run(toy_study(seeds=3))
    assert not any("fewer than three seeds" in note for note in found.notes)
    alpha = re.search(r"alpha [\d.]+ \(([\d.]+) to ([\d.]+)\)", found.notes[0])
    assert alpha is not None
    assert float(alpha[2]) - float(alpha[1]) < 0.01


def test_test_data_choose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    turned = relabelled(DATA, "test", (DATA.test.y + 1) % 3)
    first, second = (SETTINGS.run(toy_study(data=data)) for data in (DATA, turned))
    for a, b in zip(first.rows, second.rows, strict=True):
        for name in ("pass of the expert", "unbeaten at its bytes"):
            assert a[name] == b[name]
    assert first.rows[0]["test accuracy"] != second.rows[0]["test accuracy"]


def test_bytes_count_images_and_labels() -> None:
    study = toy_study()
    assert SETTINGS.nbytes(study, 2, 0) == 6 * 64 + 6
    assert SETTINGS.nbytes(study, 2, 1) == 6 * 64 + 6 * 3
    assert SETTINGS.nbytes(study, 2, 3) == 6 * 64 + 6 * 3 * 2


def test_labels_that_are_cut_are_not_called_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """More entries are better, and labels of 1 entry as good as hard ones: all have a place among those."""

    def measured(study, material, routine, seed):
        entries = 1 if material.label_kind == "hard" else int((material.targets > 0).sum(1).max())
        error = (0.5 + 0.01 * seed) * len(material.inputs) ** -0.5 * entries**-0.1
        return {"val": 1 - error, "test": 1 - error}

    monkeypatch.setattr(scaling_module, "_measured", measured)
    for entries, name in (((1, 2), "labels of 2 entries"), ((1, 3), "whole soft labels")):
        found = replace(SETTINGS, epochs=(1,), entries=entries).run(toy_study())
        assert f" {name.capitalize()} are worth " in found.sentence
        assert f"chosen on validation data, {name}: 1 at 1, 1 at 2, 1 at 5" in found.notes[1]
        assert ("hole" in found.sentence + found.notes[1]) is (entries[-1] == 3)


def test_every_number_of_images_is_told_and_none_is_picked() -> None:
    """The interval of the one with the largest mean would be too narrow."""

    law = Law(alpha=0.5, beta=0.1, scale=0.4, floor=0.1, intervals={"beta": None}, residual=0.05)
    worth = {1: None, 3: estimate([1.5, 2.0]), 10: estimate([1.0, 2.0])}
    own = (estimate([0.7, 0.7]), 21.0)
    assert SETTINGS._sentence(law, worth, own, "whole soft labels") == (
        f"{law.sentence()} Whole soft labels are worth {shown(worth[3])} times the images at 3, {shown(worth[10])} "
        "times the images at 10 a class. The set itself (70.0 ± 0.0 %) is worth 21 real images of each class with hard "
        "labels."
    )
    none = SETTINGS._sentence(law, {1: None}, (own[0], None), "labels of 4 entries")
    assert "What labels of 4 entries reach lies outside what was measured with hard ones. The set itself" in none
    assert none.endswith("lies outside what was measured with hard labels.")


def test_labels_are_cut_and_sum_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(
        scaling_module, "_measured", lambda study, material, *rest: seen.append(material) or {"val": 0.5, "test": 0.5}
    )
    study = toy_study()
    SETTINGS._train(study, 4, 2, 3, 0)
    SETTINGS._train(study, 4, 0, 0, 0)
    soft, hard = seen
    assert (soft.targets > 0).sum(1).max() <= 2
    torch.testing.assert_close(soft.targets.sum(1), torch.ones(12))
    assert torch.equal(hard.inputs, soft.inputs)
    assert torch.equal(hard.targets, torch.arange(3).repeat_interleave(4))


@pytest.mark.parametrize(
    ("name", "value"), [("ipc", (1,)), ("ipc", (3, 1)), ("epochs", ()), ("epochs", (0, 1)), ("entries", (2, 1))]
)
def test_grids_that_cannot_be(name: str, value: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=f"setting {name} of the analysis 'scaling'"):
        Scaling(**{name: value})  # type: ignore[arg-type]


def test_too_few_runs_are_refused_before_the_first_training(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = []
    monkeypatch.setattr(scaling_module, "_measured", lambda *_: trained.append(1) or {"val": 0.5, "test": 0.5})
    with pytest.raises(DataError, match="(?s)4 runs with 2 numbers of images and 2 of label entries.*more seeds"):
        replace(SETTINGS, ipc=(1, 2), entries=(1, 3)).run(toy_study(seeds=1))
    assert trained == []


@pytest.mark.parametrize("asked", [SETTINGS, Removed(classes=2, epochs=2, routine=ROUTINE)], ids=["scaling", "removed"])
def test_an_expert_is_trained_once_a_seed_without_a_folder(asked: Analysis, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = []
    real = study_module.train_expert
    monkeypatch.setattr(study_module, "train_expert", lambda *a, **b: seeds.append(a[3]) or real(*a, **b))
    asked.run(toy_study(seeds=2))
    assert len(seeds) == len(set(seeds)) == 2


@pytest.mark.parametrize("entries", [(1, 4), (2,)])
def test_entries_fit_the_classes(entries: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="(?s)setting entries.*at most 3, the number of classes"):
        replace(SETTINGS, entries=entries).run(toy_study())


def overlapping():
    """Class 2 looks like the mean of classes 0 and 1, so that a teacher's doubt names it."""
    data = blob_images(classes=3, per_class=40, seed=3)

    def mixed(split):
        x = split.x.copy().astype(float)
        means = [x[split.y == c].mean(0) for c in (0, 1)]
        rows = split.y == 2
        noise = np.random.default_rng(0).normal(0, 25, x[rows].shape)
        x[rows] = 0.5 * means[0] + 0.5 * means[1] + noise
        return replace(split, x=x.clip(0, 255).astype(np.uint8))

    return replace(data, train=mixed(data.train), val=mixed(data.val), test=mixed(data.test))


def test_a_removed_class_is_learned_from_labels_only() -> None:
    data = overlapping()
    found = Removed(classes=3, epochs=3, temperature=4.0, routine=ROUTINE).run(toy_study(toy_set(6, data), data))
    assert [row["removed class"] for row in found.rows] == ["class 0", "class 1", "class 2"]
    between = found.rows[2]
    assert between["accuracy, hard labels"]["mean"] == 0.0  # type: ignore[index]
    assert between["rank, soft labels"]["mean"] > between["rank, hard labels"]["mean"]  # type: ignore[index, operator]
    assert "Without any image of a class" in found.sentence


def test_a_class_without_test_rows_is_left_empty() -> None:
    """Not 0 % of its test images: there are none."""
    lacking = replace(DATA, test=DATA.test.take(np.flatnonzero(DATA.test.y != 1)))
    settings = Removed(classes=3, epochs=2, routine=ROUTINE)
    found = settings.run(toy_study(data=lacking, seeds=2))
    assert [row["removed class"] for row in found.rows] == ["class 0", "class 1", "class 2"]
    assert [value for name, value in found.rows[1].items() if name != "removed class"] == [None] * 4
    assert found.chart.names == ("class 0", "class 2")
    assert "without test rows, not measured: class 1" in found.notes
    whole = settings.run(toy_study(seeds=2))
    assert [found.rows[c] for c in (0, 2)] == [whole.rows[c] for c in (0, 2)]
    assert len(whole.notes) == len(found.notes) - 1
    alone = replace(DATA, test=DATA.test.take(np.flatnonzero(DATA.test.y == 1)))
    with pytest.raises(ConfigError, match="(?s)classes without test rows.*a removed class that has test rows"):
        replace(settings, classes=1).run(toy_study(data=alone, seeds=1))


def test_own_labels_must_be_probabilities() -> None:
    own = Removed(labels="own", classes=1, routine=ROUTINE)
    assert len(own.run(toy_study(soft_set(), seeds=1)).rows) == 1
    for small in (toy_set(), soft_set("scores")):
        with pytest.raises(ConfigError, match="(?s)setting labels.*own labels are probabilities"):
            own.run(toy_study(small))


def test_something_must_be_left() -> None:
    one = toy_set(2)
    assert isinstance(one, Coreset)
    alone = one.take(torch.nonzero(one.classes == 0).flatten())
    with pytest.raises(ConfigError, match="at least two classes"):
        Removed(routine=ROUTINE).run(toy_study(alone))


@pytest.mark.parametrize(("name", "value"), [("classes", 0), ("epochs", 0), ("temperature", 0.0)])
def test_settings_that_cannot_be(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"setting {name} of the analysis 'removed'"):
        Removed(**{name: value})  # type: ignore[arg-type]
