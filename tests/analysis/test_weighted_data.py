"""Weights of real rows count in every part of an analysis, not only where experts are trained."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from analysis_toys import DATA, ROUTINE, toy_set, toy_study

import decoct.analysis.scaling as scaling_module
from decoct.analysis.mixing import Mixing
from decoct.analysis.path import real_path
from decoct.analysis.scaling import Scaling
from decoct.analysis.study import Study
from decoct.analysis.substitutability import class_means, features_of
from decoct.data.dataset import Dataset
from decoct.data.sample_weights import SampleWeights
from decoct.evaluation.contender import Material


def uneven(heavy_train: np.ndarray, heavy_val: np.ndarray) -> Dataset:
    """The data with nearly all weight on some rows."""
    ids = np.concatenate([DATA.train.ids, DATA.val.ids])
    return DATA.with_weights(SampleWeights(ids, 1e-6 + np.concatenate([heavy_train, heavy_val])))


WITHOUT_TWO = uneven(DATA.train.y != 2, DATA.val.y != 2)


def study_of(data: Dataset) -> Study:
    return replace(toy_study(toy_set(), seeds=1), data=data)


def test_validation_accuracy_counts_rows_by_their_weights() -> None:
    study = study_of(WITHOUT_TWO)
    module = study.train(study.material(), ROUTINE, 0)
    turned = replace(WITHOUT_TWO.val, y=np.where(WITHOUT_TWO.val.y == 2, 0, WITHOUT_TWO.val.y))
    assert study.accuracy(module, WITHOUT_TWO.val) == pytest.approx(study.accuracy(module, turned), abs=1e-4)
    assert toy_study().accuracy(module, replace(turned, weights=None)) < 0.75


def test_real_rows_bring_their_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_of(WITHOUT_TWO)
    rows = study.rows_per_class(2, 0, "scaling")
    expected = WITHOUT_TWO.train.weight(rows)
    assert expected is not None
    real = study.real(rows, "probabilities")
    assert real.weights is not None
    torch.testing.assert_close(real.weights, expected.float())
    seen: list[Material] = []
    monkeypatch.setattr(scaling_module, "_measured", lambda study, material, *_: seen.append(material) or {})
    for entries in (0, 2):
        Scaling(epochs=(1,), routine=ROUTINE)._train(study, 2, entries, 1, 0)
    assert [torch.equal(own.weights, real.weights) for own in seen if own.weights is not None] == [True, True]


def test_the_path_shows_rows_in_proportion() -> None:
    for data, some in ((WITHOUT_TWO, False), (DATA, True)):
        study = study_of(data)
        [(_, module)] = real_path(study, ROUTINE, 0, [30])
        assert bool((study.predictions(module, data.test) == 2).any()) is some


def test_class_means_are_those_of_the_weighted_rows() -> None:
    heavy = np.zeros(len(DATA.train))
    rows = [int(own[3]) for own in DATA.train.class_rows(3)]
    heavy[rows] = 1
    study = study_of(uneven(heavy, np.ones(len(DATA.val))))
    module = study.build(0)
    expected = features_of(module, study.data.inputs(DATA.train, torch.tensor(rows)), "cpu")
    torch.testing.assert_close(class_means(study, module), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("data", "word"), [(DATA, None), (WITHOUT_TWO, "everywhere")])
def test_cells_of_weighted_data_from_before_are_not_read(data: Dataset, word: str | None, tmp_path: Path) -> None:
    Mixing((0, 1), ROUTINE).run(toy_study(toy_set(data=data), data=data, out=tmp_path, seeds=1))
    keys = [json.loads(path.read_text())["key"] for path in (tmp_path / "cells").iterdir()]
    assert {key.get("weights") for key in keys} == {word}
