"""GLISTER against a greedy that moves the last layer and asks autograd again after every pick."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_gradients import a_layer, chance, written_out
from toys import blob_features, class_balance

import decoct
from decoct.errors import ConfigError
from decoct.networks.build import network
from decoct.selection.driver import select
from decoct.selection.glister import Glister, LastLayerLoss, QuadraticLoss
from decoct.selection.gradients import LastLayer, look
from decoct.selection.sources import Sources

TWO_DIRECTIONS = torch.tensor([[1.0, 0.0]] * 6 + [[0.0, 0.9]] * 6)


def by_autograd(count: int, eta: float, refresh: int) -> list[int]:
    layer, train = a_layer(seed=0)
    _, val = a_layer(n=9, seed=5)
    full = written_out(layer, train)
    rows: list[int] = []
    gains = torch.zeros(len(full), dtype=torch.float64)
    for step in range(count):
        if step % refresh == 0:
            moved = [part.detach().clone().requires_grad_() for part in layer.parameters()]
            at = sum((full[row] for row in rows), torch.zeros_like(full[0])) * -eta * 3 / max(len(rows), 3)
            with torch.no_grad():
                moved[0] += at[:15].reshape(3, 5)
                moved[1] += at[15:]
            loss = F.cross_entropy(val.features @ moved[0].T + moved[1], val.labels)
            gains = full @ torch.cat([part.flatten() for part in torch.autograd.grad(loss, moved)])
        gains[rows] = -torch.inf
        rows.append(int(gains.argmax()))
    return rows


@pytest.mark.parametrize("refresh", [1, 3])
def test_the_validation_gradient_follows_the_picks_in_closed_form(refresh: int):
    layer, train = a_layer(seed=0)
    _, val = a_layer(n=9, seed=5)
    val = dataclasses.replace(val, logits=layer(val.features).detach())
    eta = 0.3 * float((1 + val.features.square().sum(1)).mean())
    picks = Glister(refresh=refresh).greedy(train.gradients(), LastLayerLoss(val, eta), 8, chance())
    expected = by_autograd(8, 0.3, refresh)
    assert picks.rows.tolist() == expected
    assert expected != by_autograd(8, 0.3, 100), "the example must tell a gradient that is never refreshed"


def test_a_gradient_that_is_never_refreshed_stays_in_one_direction():
    assert sorted(Glister(eta=6.0).pick(TWO_DIRECTIONS, 2, chance()).rows.tolist()) == [0, 6]
    assert Glister(eta=6.0, refresh=99).pick(TWO_DIRECTIONS, 2, chance()).rows.tolist() == [0, 1]


def test_refreshes_grow_rarer_with_the_picks_unless_asked_otherwise(monkeypatch):
    asked = []
    loss = QuadraticLoss(LastLayer.of_table(torch.randn(900, 3, generator=chance(), dtype=torch.float64)), 1e-3)
    gradients = LastLayer.of_table(torch.randn(900, 3, generator=chance(1), dtype=torch.float64))
    monkeypatch.setattr(loss, "add", lambda part, rows: asked.append(rows))
    Glister().greedy(gradients, loss, 400, chance())
    assert asked[:199] == [1] * 199
    assert asked[-1] == 3
    Glister(refresh=50).greedy(gradients, loss, 400, chance())
    assert asked[-7:] == [50] * 7


def test_planted_clusters_are_all_met():
    centres = (torch.eye(3) * 30).repeat_interleave(20, 0)
    phi = centres + torch.randn(60, 3, generator=chance(7))
    assert sorted((Glister().pick(phi, 3, chance()).rows // 20).tolist()) == [0, 1, 2]


def test_the_stochastic_engine_draws_no_more_than_is_left_and_all_where_it_may_lose_nothing():
    phi = torch.randn(20, 4, generator=chance(1))
    naive = Glister().pick(phi, 20, chance()).rows.tolist()
    assert Glister(engine="stochastic", epsilon=1e-12).pick(phi, 20, chance()).rows.tolist() == naive
    few = Glister(engine="stochastic", epsilon=0.5).pick(phi, 20, chance()).rows.tolist()
    assert sorted(few) == list(range(20))
    assert few != naive


def test_classes_are_picked_from_together_and_each_gets_its_budget(monkeypatch):
    data = blob_features(classes=3, per_class=10)
    module = network("mlp", data.spec.shape, 3, 0)
    monkeypatch.setattr(Sources, "expert", module)
    core = select(data, "glister", ipc=4)
    assert class_balance(core.classes, 3) == [4, 4, 4]
    seen, val = (look(module, data, split) for split in (data.train, data.val))
    groups = [torch.from_numpy(rows) for rows in data.train.class_rows(3)]
    pool = torch.cat(groups)
    # By hand: one validation loss over all classes, which take turns.
    loss, rows = LastLayerLoss(val, Glister().eta), []
    layer = seen.gradients().take(pool).double()
    for step in range(12):
        gains = layer.inner(loss.gradient())
        gains[seen.labels[pool] != step % 3] = -torch.inf
        gains[rows] = -torch.inf
        rows.append(int(gains.argmax()))
        loss.add(layer.take(torch.tensor(rows[-1:])).sum(), 1)
    assert core.indices.tolist() == pool[rows].tolist()


@pytest.mark.parametrize("balance", ["class", "global"])
def test_few_wrong_labels_are_chosen_where_validation_labels_are_right(balance: str):
    clean = decoct.open("digits")
    wrong = torch.rand(len(clean.train), generator=chance()) < 1 / 3
    labels = np.where(wrong, (clean.train.y + 1 + np.arange(len(wrong)) % 9) % 10, clean.train.y)
    data = dataclasses.replace(clean, train=dataclasses.replace(clean.train, y=labels))
    core = select(data, "glister", count=200, balance=balance)
    assert float(wrong[core.indices].float().mean()) < 0.1


def test_test_rows_change_nothing(monkeypatch):
    data = blob_features(classes=2, per_class=10)
    monkeypatch.setattr(Sources, "expert", network("mlp", data.spec.shape, 2, 0))
    blind = dataclasses.replace(data, test=data.test.take(slice(0, 1)))
    assert select(data, "glister", ipc=3).indices.tolist() == select(blind, "glister", ipc=3).indices.tolist()


@pytest.mark.parametrize("settings", [{"eta": 0.0}, {"refresh": 0}, {"epsilon": 1.0}])
def test_impossible_settings(settings: dict):
    with pytest.raises(ConfigError, match="keep the defaults"):
        Glister(**settings)
