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
from decoct.selection.coverage import Coverage
from decoct.selection.craig import Craig
from decoct.selection.facility_location import FacilityLocation
from decoct.selection.grad_match import GradMatch
from decoct.selection.graph_cut import GraphCut
from decoct.selection.herding import Herding
from decoct.selection.k_means import KMeans
from decoct.selection.k_median import KMedian
from decoct.selection.kernel_thinning import KernelThinning
from decoct.selection.methods import METHODS
from decoct.selection.selector import Selector

DATA = blob_features(classes=2, per_class=12, width=3)
N = len(DATA.train)
HEAVY = np.where(np.arange(N) < 2, 1e6, 1.0)
HONOUR = {
    "random", "herding", "k-means", "k-median", "facility-location", "graph-cut", "kernel-thinning", "craig",
    "grad-match", "ccs",
}  # fmt: skip
BY_TRAINING = {"craig", "grad-match", "ccs"}
TIMES = torch.tensor([1, 4, 1, 1, 2, 1, 1, 1, 3, 1, 1, 2])
"""Rows that a weight stands for."""


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("method", sorted(HONOUR - BY_TRAINING))
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


def spread(seed: int, n: int = 12) -> torch.Tensor:
    """Rows in three heaps of different size, so that picks of three do not come out of one."""
    draws = torch.Generator().manual_seed(seed)
    return 5 * torch.eye(3)[torch.randint(3, (n,), generator=draws)] + torch.randn(n, 3, generator=draws)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("method", "count"),
    [
        (FacilityLocation(), 3),
        (FacilityLocation(engine="naive", form="blocks"), 3),
        (FacilityLocation(form="sparse", neighbours=100), 3),
        (GraphCut(balance=0.1), 3),
        (GraphCut(form="dense"), 1),
        (GraphCut(form="sparse", neighbours=100, kind="dot"), 1),
        (KMedian(), 3),
        (Craig(), 3),
        (GradMatch(), 1),
        (GradMatch(ridge=0.0), 2),
    ],
    ids=str,
)
def test_integer_weights_are_repeated_rows(method: Selector, count: int, seed: int):
    """Same picks, scores and weights; a repeated row that is picked twice would be no pick that weights could make."""
    table = spread(seed).abs() if isinstance(method, GraphCut) else spread(seed)
    rows = torch.arange(len(table)).repeat_interleave(TIMES)
    repeated = method.pick(table[rows], count, generator())
    weighted = method.pick_weighted(table, TIMES.float(), count, generator())
    assert len(rows[repeated.rows].unique()) == count
    assert weighted.rows.tolist() == rows[repeated.rows].tolist()
    torch.testing.assert_close(weighted.scores, repeated.scores, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(weighted.weights, repeated.weights)


@pytest.mark.parametrize(
    "method",
    [FacilityLocation(engine="stochastic"), FacilityLocation(), GraphCut(), KMedian(), Craig(), GradMatch()],
    ids=str,
)
def test_weights_of_one_are_none(method: Selector):
    table = spread(0, 40)
    plain = method.pick(table, 6, generator())
    same = method.pick_weighted(table, torch.ones(40), 6, generator())
    if "stochastic" not in str(method):  # whose draws follow the order of rows and weights
        assert same.rows.tolist() == plain.rows.tolist()
    torch.testing.assert_close(same.weights.sum(), plain.weights.sum())


def test_a_large_set_is_judged_by_its_weights_too():
    """Samples of rows: the best of them is chosen on all rows, each as its weight."""
    table = torch.cat([torch.zeros(30, 1), torch.full((10, 1), 9.0)]) + torch.linspace(0, 0.1, 40)[:, None]
    small = KMedian(exact_up_to=10, sample_rows=12)
    assert float(table[small.pick(table, 1, generator()).rows]) < 1
    weights = torch.cat([torch.ones(30), torch.full((10,), 50.0)])
    assert float(table[small.pick_weighted(table, weights, 1, generator()).rows]) > 8


@pytest.mark.parametrize("seed", range(3))
def test_kernel_thinning_goes_to_the_weighted_mean(seed: int):
    """One pick is the row with the least distance to the weighted mean in the kernel's space, by the table."""
    table = spread(seed, 12)
    gaps = torch.cdist(table.double(), table.double())
    width = torch.pdist(table.double()).median()
    alike = (-gaps.square() / (2 * width**2)).exp()
    shares = TIMES.double() / TIMES.sum()
    mean = alike @ shares
    wanted = int((1 - 2 * mean).argmin())
    found = KernelThinning().pick_weighted(table, TIMES.float(), 1, generator())
    assert found.rows.tolist() == [wanted]
    distance = (shares @ mean - 2 * mean[wanted] + 1).sqrt()
    assert float(found.scores[0]) == pytest.approx(float(distance), rel=1e-3)
    many = [
        float(KernelThinning().pick_weighted(table, weights, 4, generator()).scores[-1])
        for weights in (TIMES.float(), torch.ones(12))
    ]
    assert many[0] != many[1]


def test_coverage_drops_and_draws_by_weight():
    hard = torch.arange(10.0)[:, None]
    method = Coverage(strata=1, drop=0.25)
    of_all = {row for seed in range(40) for row in drawn(method, hard, torch.ones(10), seed)}
    assert of_all == set(range(8)), "two rows of ten are 20 %, three would be 30 %"
    heavy = torch.ones(10)
    heavy[9], heavy[0] = 4.0, 40.0
    kept = [drawn(method, hard, heavy, seed) for seed in range(40)]
    assert {row for rows in kept for row in rows} == {0}, "the hardest nine weigh 12 of 52, less than a quarter"
    heavy[0] = 10.0
    chance, all_rows = generator(), Coverage(strata=1, drop=0.0)
    times = torch.cat([all_rows.pick_weighted(hard, heavy, 1, chance).rows for _ in range(600)]).bincount(minlength=10)
    assert torch.allclose(times / 600, (heavy / heavy.sum()).double().float(), atol=0.06)


def drawn(method: Coverage, scores: torch.Tensor, weights: torch.Tensor, seed: int) -> list[int]:
    return method.pick_weighted(scores, weights, 1, torch.Generator().manual_seed(seed)).rows.tolist()


def test_methods_that_look_at_networks_are_given_the_weights():
    """The user's arrays in the place of gradients and scores, through `select`."""
    array = np.asarray(DATA.train.x)
    for method in ("craig", "grad-match"):
        heavy = decoct.select(DATA, method, ipc=1, features=array, weights=HEAVY)
        assert sorted(heavy.indices.tolist()) == [0, 1]
    light = np.where(np.arange(N) < 2, 1e-6, 1.0)
    picked = decoct.select(DATA, Coverage(strata=1, drop=0.0), ipc=3, features=np.arange(N)[:, None] / N, weights=light)
    assert not {0, 1} & set(picked.indices.tolist())


def test_shards_do_not_honour_weights_and_say_so():
    with pytest.raises(ConfigError, match=r"without shards"):
        decoct.select(DATA, "facility-location", ipc=1, shard_rows=5, weights=HEAVY)


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
