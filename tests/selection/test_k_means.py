"""k-means against scikit-learn, and where rows are equal."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import cluster
from sklearn.metrics import pairwise_distances_argmin

from decoct.selection.k_means import KMeans


def _planted(sizes: list[int], seed: int = 0) -> torch.Tensor:
    """Clusters of these sizes, far apart."""
    generator = torch.Generator().manual_seed(seed)
    centres = (torch.eye(len(sizes)) * 30).repeat_interleave(torch.tensor(sizes), 0)
    return centres + torch.randn(centres.shape, generator=generator)


@pytest.mark.parametrize("batch_above", [1000, 10])
def test_planted_clusters_give_the_rows_scikit_learn_finds_largest_first(batch_above: int) -> None:
    phi = _planted([30, 10, 20])
    picks = KMeans(batch_above=batch_above).pick(phi, 3, torch.Generator().manual_seed(0))
    assert np.searchsorted([30, 40, 60], picks.rows.numpy(), side="right").tolist() == [0, 2, 1]
    torch.testing.assert_close(picks.weights, torch.tensor([1.5, 1.0, 0.5]))
    if batch_above == 1000:
        fitted = cluster.KMeans(3, n_init=3, random_state=7).fit(phi.numpy())
        nearest = pairwise_distances_argmin(fitted.cluster_centers_, phi.numpy())
        assert set(picks.rows.tolist()) == set(nearest.tolist())
        gap = np.linalg.norm(fitted.cluster_centers_[:, None] - phi.numpy()[picks.rows.numpy()], axis=-1).min(0)
        np.testing.assert_allclose(picks.scores, gap, rtol=1e-4)


def test_two_centres_never_claim_the_same_row() -> None:
    generator = torch.Generator().manual_seed(5)
    for count in (1, 7, 30, 59, 60):
        phi = torch.randn(60, 2, generator=generator)
        assert len(set(KMeans().pick(phi, count, generator).rows.tolist())) == count


def test_fewer_distinct_rows_than_clusters() -> None:
    phi = torch.tensor([[0.0, 0.0], [1.0, 1.0]]).repeat_interleave(10, 0)
    picks = KMeans().pick(phi, 6, torch.Generator().manual_seed(0))
    assert len(set(picks.rows.tolist())) == 6
    assert {0, 1} == set((picks.rows[:2] // 10).tolist())
    assert picks.weights.min() > 0


def test_the_seed_is_taken_from_the_generator_alone() -> None:
    phi = torch.randn(80, 5, generator=torch.Generator().manual_seed(0))
    global_state = np.random.get_state()[1].copy()
    answers = [KMeans(restarts=1).pick(phi, 8, torch.Generator().manual_seed(s)).rows.tolist() for s in (0, 0, 1)]
    assert answers[0] == answers[1] != answers[2]
    assert (np.random.get_state()[1] == global_state).all()
