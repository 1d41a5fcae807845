"""Permuting rows permutes the answer of every selector that draws, on a plain cloud and with its samples in use."""

from __future__ import annotations

import pytest
import torch
from toys import blob_features

from decoct.selection import similarity
from decoct.selection.active import Active
from decoct.selection.coverage import Coverage
from decoct.selection.craig import Craig
from decoct.selection.deduplicate import SemDeDup
from decoct.selection.deepdistal import DeepDistal
from decoct.selection.driver import select
from decoct.selection.facility_location import FacilityLocation
from decoct.selection.feature_based import FeatureBased
from decoct.selection.glister import Glister
from decoct.selection.graph_cut import GraphCut
from decoct.selection.k_center import KCenter
from decoct.selection.k_means import KMeans
from decoct.selection.k_median import KMedian
from decoct.selection.kernel_thinning import KernelThinning
from decoct.selection.log_det import LogDet
from decoct.selection.methods import METHODS, selector
from decoct.selection.selector import Selector
from decoct.selection.sharded.selector import Sharded


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


CLOUD = torch.randn(360, 5, generator=_generator(2))
ORDER = torch.randperm(360, generator=_generator(3))

DRAWING = {
    "k-means": KMeans(),
    "k-means, mini-batches": KMeans(batch_above=100),
    "k-median, many blocks": KMedian(),
    "k-median, samples": KMedian(exact_up_to=100, sample_rows=60),
    "k-center, first drawn": KCenter(first="random"),
    "semdedup, many clusters": SemDeDup(cluster_rows=40),
    "kernel-thinning": KernelThinning(),
    "facility-location, width of a sample": FacilityLocation(kind="rbf"),
    "facility-location, stochastic": FacilityLocation(engine="stochastic", epsilon=0.3),
    "graph-cut, stochastic": GraphCut(engine="stochastic", epsilon=0.3),
    "log-det, stochastic": LogDet(engine="stochastic", epsilon=0.3),
    "feature-based, stochastic": FeatureBased(engine="stochastic", epsilon=0.3),
    "glister, stochastic": Glister(engine="stochastic", epsilon=0.3),
    "ccs": Coverage(strata=5),
    "k-means in shards": Sharded(KMeans(), 80),
    "k-median in shards": Sharded(KMedian(exact_up_to=20, sample_rows=30), 80),
}


@pytest.mark.parametrize("method", DRAWING.values(), ids=DRAWING.keys())
def test_permuting_a_cloud_permutes_the_picks(monkeypatch: pytest.MonkeyPatch, method: Selector) -> None:
    monkeypatch.setattr(similarity, "SAMPLE", 50)
    picks = method.pick(CLOUD, 40, _generator())
    permuted = method.pick(CLOUD[ORDER], 40, _generator())
    assert ORDER[permuted.rows].tolist() == picks.rows.tolist()
    torch.testing.assert_close(permuted.weights, picks.weights)
    torch.testing.assert_close(permuted.scores, picks.scores, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("method", [
    Active(rounds=2, epochs=2, steps=2),
    Active(rounds=2, epochs=2, steps=2, explore=0.5, strategy="vote-entropy", networks=2),
    DeepDistal(rounds=2, epochs=2, steps=2),
], ids=["active", "active, explore", "deepdistal"])  # fmt: skip
@pytest.mark.parametrize("balance", ["class", "global"])
def test_permuting_the_training_rows_permutes_what_is_chosen_in_rounds(method: Selector, balance: str) -> None:
    data = blob_features(classes=2, per_class=30)
    order = torch.randperm(60, generator=_generator(4))
    chosen = select(data, method, count=18, balance=balance)
    permuted = select(data.with_train(order), method, count=18, balance=balance)
    assert permuted.ids.tolist() == chosen.ids.tolist()
    torch.testing.assert_close(permuted.scores, chosen.scores, atol=1e-4, rtol=1e-4)
    assert select(data, method, count=18, balance=balance, seed=1).ids.tolist() != chosen.ids.tolist()


def test_weights_of_rows_go_with_them() -> None:
    weights = torch.rand(360, generator=_generator(6)) + 0.5
    # Equal rows that differ in weight alone.
    cloud = CLOUD.clone()
    cloud[:60] = cloud[60:120]
    picks = KMeans().pick_weighted(cloud, weights, 40, _generator())
    permuted = KMeans().pick_weighted(cloud[ORDER], weights[ORDER], 40, _generator())
    assert ORDER[permuted.rows].tolist() == picks.rows.tolist()
    torch.testing.assert_close(permuted.weights, picks.weights)


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"random"}))
@pytest.mark.parametrize(("n", "d"), [(60, 2), (60, 5), (90, 8)])
def test_so_do_nearly_all_rows_of_a_cloud_in_their_order(method: str, n: int, d: int) -> None:
    """Where few rows are left, pairs that are nearest to each other tie exactly for facility location and CRAIG."""
    cloud, order = torch.randn(n, d, generator=_generator(n + d)), torch.randperm(n, generator=_generator(1))
    picks = selector(method).pick(cloud, n - 2, _generator())
    permuted = selector(method).pick(cloud[order], n - 2, _generator())
    assert order[permuted.rows].tolist() == picks.rows.tolist()


@pytest.mark.parametrize("method", [
    Craig(), Craig(table_rows=0), FacilityLocation(), FacilityLocation(engine="naive"), FacilityLocation(form="blocks"),
], ids=["craig", "craig, columns", "facility-location", "naive", "blocks"])  # fmt: skip
def test_so_do_rows_with_weights_that_tie(method: Selector) -> None:
    cloud, order = CLOUD[:60], torch.randperm(60, generator=_generator(5))
    weights = torch.randint(1, 3, (60,), generator=_generator(7)).float()
    for weighed in (False, True):
        picks, permuted = (
            method.pick_weighted(cloud[rows], weights[rows], 58, _generator()) if weighed
            else method.pick(cloud[rows], 58, _generator()) for rows in (torch.arange(60), order)
        )  # fmt: skip
        assert order[permuted.rows].tolist() == picks.rows.tolist()
        torch.testing.assert_close(permuted.weights, picks.weights)


def test_of_equal_rows_the_lowest_is_picked() -> None:
    cloud = CLOUD[:10].repeat(3, 1)
    for method in (Craig(), FacilityLocation()):
        assert int(method.pick(cloud, 10, _generator()).rows.max()) < 10


def test_the_seed_still_decides() -> None:
    for name in ("k-means", "k-median, samples", "graph-cut, stochastic"):
        one, other = (DRAWING[name].pick(CLOUD, 40, _generator(seed)).rows.tolist() for seed in (0, 1))
        assert one != other
