"""Dirichlet splits: every row once, the concentration asked for, bad input told."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toys import blob_images

from decoct.applications.client_split import dirichlet_split
from decoct.errors import ConfigError


@pytest.mark.parametrize("alpha", [1e-4, 0.1, 1.0, 1000.0])
@pytest.mark.parametrize("clients", [1, 3, 20])
def test_every_row_goes_to_exactly_one_client(alpha, clients):
    data = blob_images(classes=4, per_class=30)
    split = dirichlet_split(data, clients, alpha, seed=0)
    assert [client.number for client in split] == list(range(clients))
    assert sorted(torch.cat([client.rows for client in split]).tolist()) == list(range(120))
    for client in split:
        labels = data.train.labels(client.rows)
        assert client.counts == tuple(torch.bincount(labels, minlength=4).tolist())
        assert set(client.classes) == set(labels.tolist())


def test_shares_have_the_variance_of_the_dirichlet_distribution():
    data, clients = blob_images(classes=3, per_class=400), 5
    for alpha in (0.2, 1.0, 10.0):
        shares = [
            count / 400
            for seed in range(60)
            for client in dirichlet_split(data, clients, alpha, seed)
            for count in client.counts
        ]
        expected = (1 / clients) * (1 - 1 / clients) / (clients * alpha + 1)
        assert np.mean(shares) == pytest.approx(1 / clients)
        assert np.var(shares) == pytest.approx(expected, rel=0.2)


def test_a_small_alpha_makes_clients_of_few_classes_and_a_large_one_makes_them_alike():
    data = blob_images(classes=4, per_class=100)
    few, many = (dirichlet_split(data, 8, alpha, 1) for alpha in (0.05, 1e4))
    assert np.mean([len(client.classes) for client in few]) < 3
    assert any(len(client) == 0 for client in dirichlet_split(data, 40, 0.01, 0)), "some may hold nothing"
    counts = np.array([client.counts for client in many])
    assert counts.min() >= 10
    assert counts.max() <= 15


def test_the_seed_decides_and_nothing_else():
    data = blob_images(classes=3, per_class=50)
    first, again, other = (dirichlet_split(data, 4, 0.5, seed) for seed in (0, 0, 1))
    assert all(torch.equal(a.rows, b.rows) for a, b in zip(first, again, strict=True))
    assert any(not torch.equal(a.rows, b.rows) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize(
    ("clients", "alpha", "text"),
    [(0, 1.0, "clients=0"), (61, 1.0, "from 1 to the 60"), (3, 0.0, "alpha=0.0"), (3, float("nan"), "alpha=nan")],
)
def test_bad_requests(clients, alpha, text):
    with pytest.raises(ConfigError, match=text):
        dirichlet_split(blob_images(), clients, alpha, 0)
