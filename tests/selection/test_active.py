"""The pool loop: what it reads, what it records, and its rules for uncertainty and diversity."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from test_gradients import chance
from toys import blob_features, class_balance

import decoct
from decoct.data.dataset import Dataset
from decoct.errors import ConfigError, DataError
from decoct.selection.active import Active
from decoct.selection.driver import select
from decoct.selection.gradients import LastLayer
from decoct.selection.sources import Sources
from decoct.selection.uncertainty import diverse, uncertainty

DATA = blob_features(classes=3, per_class=14)
QUICK = Active(rounds=2, epochs=2, steps=2)


def with_labels(data: Dataset, labels) -> Dataset:
    return dataclasses.replace(data, train=dataclasses.replace(data.train, y=labels))


@pytest.mark.parametrize("strategy", ["margin", "vote-entropy"])
def test_labels_of_rows_that_are_not_chosen_are_never_read(strategy):
    method = Active(rounds=2, epochs=2, steps=2, strategy=strategy, networks=2)
    chosen = select(DATA, method, count=12, balance="global").indices
    labels = (DATA.train.y + 1) % 3
    labels[chosen.numpy()] = DATA.train.y[chosen.numpy()]
    again = select(with_labels(DATA, labels), method, count=12, balance="global").indices
    assert again.tolist() == chosen.tolist()
    labels[chosen[:4].numpy()] = (labels[chosen[:4].numpy()] + 1) % 3
    other = select(with_labels(DATA, labels), method, count=12, balance="global").indices
    assert other[:4].tolist() == chosen[:4].tolist()
    # Votes of two networks are often equal, and then nothing depends on the labels.
    assert strategy == "vote-entropy" or other.tolist() != chosen.tolist(), "the labels of the first batch are read"


def test_every_round_is_balanced_and_recorded():
    core = select(DATA, QUICK, ipc=5)
    assert class_balance(core.classes, 3) == [5, 5, 5]
    rounds = core.provenance["record"]
    assert [round_["round"] for round_ in rounds] == [0, 1, 2]
    assert [round_["added"] for round_ in rounds] == [6, 6, 3]
    assert [round_.get("trained_on") for round_ in rounds] == [None, 6, 12]
    assert all(len(round_["val_accuracy"]) == 1 for round_ in rounds[1:])
    assert all(round_["uncertainty_of_batch"] > round_["uncertainty_of_pool"] for round_ in rounds[1:])
    assert class_balance(core.classes[core.scores == 0], 3) == [2, 2, 2]


def test_rows_whose_uncertainty_is_zero_are_told_apart_from_drawn_ones(monkeypatch):
    """Votes of a committee often agree on every row, and those rows are chosen by diversity all the same."""
    monkeypatch.setattr("decoct.selection.rounds.uncertainty", lambda found, strategy: torch.zeros(found.shape[1]))
    method = dataclasses.replace(QUICK, strategy="vote-entropy", networks=2, explore=0.5)
    core = select(DATA, method, count=18, balance="global")
    drawn = core.reasons == "drawn at random"
    # Three batches of six: the first is drawn, and half of the others.
    assert drawn[:6].all()
    assert int(drawn.sum()) == 12
    assert all("vote-entropy 0" in reason for reason in core.reasons[~drawn])
    assert not (select(DATA, dataclasses.replace(method, explore=0.0), count=18).reasons[9:] == "drawn at random").any()


def test_networks_of_few_rows_are_trained_until_their_uncertainty_means_something():
    """Twenty passes over thirty rows are twenty steps, after which every row is as uncertain as any other."""
    data = decoct.open("digits")
    found = select(data, Active(rounds=1), count=60).provenance["record"][1]["val_accuracy"][0]
    assert found > 0.6
    assert Active().training(30).epochs == 200
    assert Active().training(10_000).epochs == 20


def test_a_group_that_is_picked_from_alone_is_a_pool_of_its_own():
    rows = torch.arange(20, 40)
    picks = QUICK.bind(Sources(DATA, "auto", 0, "cpu"))(rows, 6, chance())
    assert len(set(picks.rows.tolist())) == 6
    assert int(picks.rows.max()) < 20


def test_gradients_and_arrays_are_compared_too():
    by_gradients = select(DATA, dataclasses.replace(QUICK, compare="gradients"), ipc=3).indices
    by_array = select(DATA, QUICK, ipc=3, features=torch.randn(42, 2, generator=chance())).indices
    assert by_gradients.tolist() != by_array.tolist()


def test_an_array_too_large_to_be_compared_is_refused_before_anything_is_trained(monkeypatch):
    monkeypatch.setattr("decoct.selection.rounds.fit_dataset", lambda *_, **__: pytest.fail("trained first"))
    own = torch.randn(42, 2, generator=chance())
    own[5, 1] = 1e20
    with pytest.raises(DataError, match="too large to be compared in 1 rows, first in row 5"):
        select(DATA, QUICK, ipc=3, features=own)


def test_all_rows_can_be_asked_for():
    assert sorted(select(DATA, QUICK, count=42).indices.tolist()) == list(range(42))


def test_uncertain_rows_have_larger_values():
    sure = torch.tensor([[0.98, 0.01, 0.01]])
    unsure = torch.tensor([[0.35, 0.33, 0.32]])
    one = torch.cat([sure, unsure])[None]
    for strategy in ("least-confidence", "entropy", "margin"):
        low, high = uncertainty(one, strategy).tolist()
        assert 0 <= low < high
    agreed, split = torch.stack([sure, sure]), torch.stack([sure, sure.flip(1)])
    for strategy in ("vote-entropy", "disagreement"):
        low, high = uncertainty(torch.cat([agreed, split], 1), strategy).tolist()
        assert low == pytest.approx(0, abs=1e-6)
        assert high > 0.5
    assert float(uncertainty(split, "vote-entropy")[0]) == pytest.approx(0.6931, abs=1e-3)
    assert float(uncertainty(torch.ones(1, 1, 1), "margin")[0]) == 1


def test_diverse_rows_keep_away_from_what_is_chosen():
    table = LastLayer.of_table(torch.tensor([[0.0], [0.1], [10.0], [10.1], [5.0], [0.0]]))
    found = diverse(table, torch.tensor([1, 2, 3, 4, 5]), torch.tensor([0]), 2)
    assert found.tolist() == [3, 4]
    assert diverse(table, torch.tensor([1, 2, 3]), torch.tensor([], dtype=torch.int64), 1).tolist() == [1]


@pytest.mark.parametrize("settings", [{"rounds": 0}, {"epochs": 0}, {"networks": 1}, {"spread": 0.5}])
def test_impossible_settings(settings: dict):
    with pytest.raises(ConfigError, match="keep the defaults"):
        Active(**settings)
