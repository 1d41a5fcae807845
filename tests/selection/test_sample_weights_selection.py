"""Selectors and the judge with weights of real rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import blob_features

import decoct
from decoct.errors import ConfigError
from decoct.evaluation.data_facts import data_key
from decoct.evaluation.draws import draw_rows, herd_rows
from decoct.evaluation.protocol import PROTOCOLS
from decoct.selection.herding import Herding
from decoct.selection.k_means import KMeans
from decoct.selection.methods import METHODS
from decoct.selection.selector import Selector

DATA = blob_features(classes=2, per_class=12, width=3)
N = len(DATA.train)
HEAVY = np.where(np.arange(N) < 2, 1e6, 1.0)
HONOUR = {"random", "herding", "k-means"}


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("method", sorted(HONOUR))
def test_heavy_rows_are_picked_and_equal_weights_change_nothing(method):
    plain = decoct.select(DATA, method, ipc=1)
    same = decoct.select(DATA, method, ipc=1, weights=np.full(N, 0.1))
    assert same.indices.tolist() == plain.indices.tolist()
    assert "weights" not in same.provenance
    heavy = decoct.select(DATA, method, ipc=1, weights=HEAVY)
    assert sorted(heavy.indices.tolist()) == [0, 1], "the row with nearly all the weight is also the mean"
    assert len(heavy.provenance["weights"]) == 64


@pytest.mark.parametrize("method", sorted(set(METHODS) - HONOUR))
def test_other_methods_say_that_they_cannot(method):
    with pytest.raises(ConfigError, match=rf"selecting by {method}(.|\n)*rows with weights(.|\n)*random, herding"):
        decoct.select(DATA, method, ipc=1, weights=HEAVY)


def test_every_method_that_honours_weights_is_tested():
    names = {name for name in METHODS if METHODS.load(name).pick_weighted is not Selector.pick_weighted}
    assert names == HONOUR


def test_weighted_herding_is_herding_of_repeated_rows():
    """Integer weights are repetitions: the mean that is matched is the same, and so is the first pick."""
    table = torch.randn(10, 3, generator=generator())
    times = torch.tensor([1, 4, 1, 1, 2, 1, 1, 1, 3, 1])
    weighted = Herding().pick_weighted(table, times.float(), 1, generator())
    repeated = Herding().pick(table.repeat_interleave(times, 0), 1, generator())
    assert torch.equal(table[weighted.rows], table.repeat_interleave(times, 0)[repeated.rows])
    torch.testing.assert_close(weighted.scores, repeated.scores)


def test_weighted_k_means_sizes_are_weights():
    table = torch.tensor([[0.0], [0.1], [10.0], [10.1]])
    picks = KMeans().pick_weighted(table, torch.tensor([1.0, 1.0, 4.0, 2.0]), 2, generator())
    assert picks.rows[0] == 2, "the heavier of the heavier cluster"
    assert picks.weights.tolist() == pytest.approx([1.5, 0.5])


def test_baselines_of_the_judge_are_drawn_by_weight():
    data = DATA.with_weights(HEAVY)
    assert sorted(draw_rows(data, 2, 0).tolist()) == [0, 1]
    assert sorted(herd_rows(data, 2).tolist()) == [0, 1]
    assert data_key(data) != data_key(DATA)


def test_the_judge_trains_full_data_by_weight(tmp_path):
    core = decoct.select(DATA, "random", ipc=1)
    protocol = replace(PROTOCOLS["quick"], name="short", full_epochs=2)
    plain, heavy = (
        decoct.evaluate(
            core, DATA, protocol, seeds=1, baselines=("full",), out=tmp_path, networks=["mlp"], weights=weights
        )
        for weights in (None, HEAVY)
    )
    assert len(list((tmp_path / "cells").iterdir())) == 4, "weighted runs are runs of their own"
    assert plain.data["fingerprint"] == heavy.data["fingerprint"]
