"""Selection by a score: both ends, the middle, coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import blob_features, blob_images

from decoct.compact.budget import Budget
from decoct.errors import ConfigError, DataError, UnknownNameError
from decoct.selection.by_score import Easiest, Hardest, Middle
from decoct.selection.cost import estimate
from decoct.selection.coverage import Coverage
from decoct.selection.driver import select
from decoct.selection.dynamic_uncertainty import DynamicUncertainty
from decoct.selection.methods import selector
from decoct.selection.own_scores import OwnScores
from decoct.selection.sources import Sources

VALUES = torch.tensor([[0.3], [0.9], [0.1], [0.5], [0.7]])


def picked(selector, values=VALUES, count=3) -> list[int]:
    return selector.pick(values, count, torch.Generator().manual_seed(0)).rows.tolist()


def test_ends_and_middle():
    assert picked(Hardest()) == [1, 4, 3]
    assert picked(Easiest()) == [2, 0, 3]
    assert picked(Middle()) == [3, 0, 4]
    assert picked(DynamicUncertainty()) == [1, 4, 3]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=2, max_size=12), st.data())
def test_strata_are_filled_from_the_smallest_and_a_smaller_pick_is_a_prefix(sizes, draw):
    """Strata of these sizes, the first ones easiest; nothing is dropped."""
    count = draw.draw(st.integers(1, sum(sizes)))
    stratum = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    method = Coverage(strata=len(sizes), drop=0.0)
    rows = method.pick((stratum / (len(sizes) - 1))[:, None], count, torch.Generator().manual_seed(0)).rows
    left, expected = count, [0] * len(sizes)
    for done, place in enumerate(sorted(range(len(sizes)), key=sizes.__getitem__)):
        expected[place] = min(sizes[place], math.ceil(left / (len(sizes) - done)))
        left -= expected[place]
    assert stratum[rows].bincount(minlength=len(sizes)).tolist() == expected
    whole = method.pick((stratum / (len(sizes) - 1))[:, None], sum(sizes), torch.Generator().manual_seed(0)).rows
    assert whole[:count].tolist() == rows.tolist()


def test_coverage_nests_as_long_as_no_dropped_row_comes_back():
    values = torch.randn(80, 1, generator=torch.Generator().manual_seed(0))
    whole = picked(Coverage(strata=7, drop=0.25), values, 60)
    assert all(picked(Coverage(strata=7, drop=0.25), values, count) == whole[:count] for count in range(1, 60))
    assert max(whole, key=lambda row: float(values[row])) == int(values[:, 0].argsort()[59])


def test_coverage_draws_from_every_stratum_and_drops_the_hardest():
    values = torch.linspace(0, 1, 101)[:, None]
    rows = picked(Coverage(strata=5, drop=0.2), values, 10)
    assert max(rows) <= 80
    strata = [min(int(row / 81 * 5), 4) for row in rows]
    assert sorted(strata) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert sorted(strata[:5]) == [0, 1, 2, 3, 4], "a prefix covers them too"


def test_coverage_takes_back_what_it_dropped_where_rows_run_short():
    assert sorted(picked(Coverage(drop=0.5), VALUES, 5)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("settings_", [{"strata": 0}, {"drop": 1.0}, {"drop": -0.1}])
def test_impossible_coverage(settings_):
    with pytest.raises(ConfigError, match="keep the defaults"):
        Coverage(**settings_)


def test_an_unknown_score_names_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'forgetting'"):
        Hardest(score="forgeting")


def test_scores_of_other_tools_are_used_as_an_array():
    data = blob_features()
    scores = torch.arange(len(data.train)).float()[:, None]
    chosen = select(data, Hardest(), count=3, features=scores, balance="global")
    assert chosen.indices.tolist() == [len(data.train) - 1, len(data.train) - 2, len(data.train) - 3]


@pytest.mark.parametrize("method", ["hardest", "easiest", "middle", "ccs", "dyn-unc"])
def test_scores_are_one_number_a_row(method, tmp_path):
    data = blob_features()
    scores = np.random.default_rng(0).standard_normal(len(data.train))
    flat, column = (select(data, method, ipc=2, features=own) for own in (scores, scores[:, None]))
    assert flat.indices.tolist() == column.indices.tolist()
    np.save(tmp_path / "s.npy", scores)
    named = select(data, method, ipc=2, features=f"npy:{tmp_path / 's.npy'}")
    assert named.indices.tolist() == flat.indices.tolist()
    wide = np.stack([scores, scores], 1)
    with pytest.raises(DataError, match=r"(?s)of shape \[\d+, 2\].*one number for each training row.*scores\[:, 0\]"):
        select(data, method, ipc=2, features=wide)
    with pytest.raises(DataError, match="one number for each training row"):
        estimate(data, method, budget=Budget(ipc=2), features=wide)
    with pytest.raises(DataError, match="one number for each training row"):
        selector(method).values(Sources(data, wide, 0, "cpu"))


def test_training_dynamics_are_made_once_and_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("decoct.selection.sources.PASSES", 3)
    data = blob_images(classes=2, per_class=6)
    first = select(data, Hardest("aum"), ipc=2, features="network:convnet2-w4", cache=tmp_path)
    monkeypatch.setattr("decoct.training.dynamics.fit_dataset", lambda *_, **__: pytest.fail("trained again"))
    second = select(data, "dyn-unc", ipc=2, features="network:convnet2-w4", cache=tmp_path)
    assert len(first.indices) == len(second.indices) == 4


@pytest.mark.parametrize("scores", [np.full(60, 0.5), 1 - np.linspace(1e-10, 1e-9, 60)])
def test_scores_that_are_all_the_same_are_told_as_scores(scores):
    data = blob_features()
    for own in (scores, OwnScores(torch.from_numpy(scores)[:, None].float(), "mine")):
        with pytest.raises(DataError, match=r"(?s)by your own scores.*60 scores that are all .*scores that tell rows"):
            select(data, Hardest(), count=3, features=own)
