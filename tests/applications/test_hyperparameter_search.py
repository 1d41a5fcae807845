"""Ordering hyper-parameters by small validation sets: numbers that must hold, resuming, the command, refusals."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import blob_features, blob_images

import decoct
from decoct.applications import candidates as room
from decoct.applications.candidates import Search
from decoct.applications.hyperparameter_search import RANDOM, WHOLE, condensing, hyperparameter_search
from decoct.data.sample_weights import SampleWeights
from decoct.errors import ConfigError, MismatchError
from decoct.evaluation.ranking import spearman
from decoct.training.hyperparameters import LabelSmoothing, WeightDecay
from decoct.training.space import Space

QUICK = Search(candidates=6, steps=10, full_steps=10, full_batch=16)
SPACE = Space((WeightDecay(1e-3, 3.0, per_layer=False), LabelSmoothing()))


def search(data, out=None, **changes):
    train = decoct.select(data, "random", ipc=3)
    val = decoct.select(condensing(data), "herding", ipc=1)
    settings = {"network": "convnet1-w2", "search": QUICK, "seeds": 2, **changes}
    return hyperparameter_search(data, train, {"herding": val}, SPACE, out=out, **settings)


def test_every_number_follows_from_the_losses():
    data = blob_images(per_class=24)
    found = search(data)
    assert [one.name for one in found.orderings] == ["herding", RANDOM, WHOLE]
    assert [one.rows for one in found.orderings] == [3, 3, len(data.val)]
    truth = np.array(found.truth)
    alone = search(data, seeds=1)
    for one in alone.orderings:
        assert one.agreement.spearman.value == pytest.approx(spearman(np.array(one.losses), np.array(alone.truth)))
        lost = alone.truth[int(np.argmin(one.losses))] - min(alone.truth)
        assert one.agreement.regret.value == pytest.approx(lost)
    herding, random, whole = alone.orderings
    assert set(herding.gains) == {RANDOM, WHOLE}
    gain = herding.agreement.spearman.value - random.agreement.spearman.value
    assert herding.gains[RANDOM].value == pytest.approx(gain) == pytest.approx(-random.gains["herding"].value)
    assert f"gain over {RANDOM}" in alone.table()
    assert whole.gains[RANDOM].interval is None
    assert len(truth) == 6
    assert found.orderings[-1].same_networks.spearman.value == pytest.approx(1.0)
    assert found.names == ("weight decay", "label smoothing")
    json.dumps(found.to_json(), allow_nan=False)
    assert "whole split" in found.table()


def test_the_validation_rows_take_the_place_of_the_training_rows():
    data = blob_images()
    picked = decoct.select(condensing(data), "random", ipc=1)
    assert set(picked.ids.tolist()) <= set(data.val.ids.tolist())


def test_a_second_call_trains_nothing_and_a_new_set_needs_no_training(tmp_path, monkeypatch):
    data = blob_images()
    first = search(data, tmp_path)
    monkeypatch.setattr(room, "train_at", None)
    assert search(data, tmp_path) == first
    more = search(data, tmp_path, random_rows=6)
    assert [one.rows for one in more.orderings] == [3, 6, len(data.val)]
    next((tmp_path / "candidates").glob("*")).write_bytes(b"broken")
    with pytest.raises(TypeError):
        search(data, tmp_path)


def test_an_edited_network_is_trained_anew(tmp_path, monkeypatch):
    data, trained, done = blob_images(), room.train_at, []
    monkeypatch.setattr(room, "train_at", lambda *of, **how: done.append(1) or trained(*of, **how))
    for version, runs in (("one", 6), ("one", 6), ("two", 12)):
        monkeypatch.setattr(room, "network_identity", lambda name, *_, v=version: f"{name}@{v}")
        found = search(data, tmp_path, seeds=1, search=replace(QUICK, candidates=3, steps=1, full_steps=1))
        assert len(done) == runs, "3 candidates, on the small set and on all rows"
        assert found.network == "convnet1-w2"


def test_rows_of_sets_and_of_the_validation_split_count_by_their_weights(tmp_path):
    data = blob_images(per_class=24)
    train = decoct.select(data, "random", ipc=3)
    val = decoct.select(condensing(data), "herding", ipc=1)
    heavy = replace(train, weights=torch.tensor([6.0] + [1.0] * 8))
    settings = {"network": "convnet1-w2", "search": QUICK, "seeds": 1, "out": tmp_path}

    def losses(train_set, val_set, source=data):
        found = hyperparameter_search(source, train_set, {"herding": val_set}, SPACE, **settings)
        return {one.name: one.losses for one in found.orderings}, found.truth

    plain, truth = losses(train, val)
    trained, same_truth = losses(heavy, val)
    assert trained["herding"] != plain["herding"], "training by weights"
    assert same_truth == truth
    measured, _ = losses(train, replace(val, weights=torch.tensor([4.0, 1.0, 1.0])))
    assert measured["herding"] != plain["herding"], "measuring by weights"
    assert measured[WHOLE] == plain[WHOLE]
    ids = np.concatenate([data.train.ids, data.val.ids])
    values = np.concatenate([np.ones(len(data.train)), np.where(data.val.y == 0, 5.0, 1.0)])
    split, weighted_truth = losses(train, val, data.with_weights(SampleWeights(ids, values)))
    assert split["herding"] == pytest.approx(plain["herding"])
    assert split[WHOLE] != pytest.approx(plain[WHOLE])
    assert weighted_truth != pytest.approx(truth)


def test_features_and_a_set_for_each_seed():
    data = blob_features()
    train = decoct.select(data, "random", ipc=3)
    sets = [decoct.select(condensing(data), "random", ipc=1, seed=seed) for seed in (0, 1)]
    found = hyperparameter_search(data, train, {"drawn": sets}, SPACE, network="mlp-w8", search=QUICK, seeds=2)
    assert found.orderings[0].name == "drawn"


def test_what_was_timed_is_told_and_longer_is_called_longer():
    found = search(blob_images(per_class=24), seeds=1)
    told = {seconds: replace(found, seconds=seconds, full_seconds=32.0).finding().sentence for seconds in (10.0, 64.0)}
    training = "nats. Training all candidates on the small set takes "
    rest = " than on all rows; making the sets is not counted."
    assert told[10.0].endswith(f"{training}3.2 times less time{rest}")
    assert told[64.0].endswith(f"{training}2.0 times longer{rest}")


def test_no_small_validation_set_is_told_before_anything_is_trained(monkeypatch):
    monkeypatch.setattr(room, "train_at", None)
    data = blob_images()
    train = decoct.select(data, "random", ipc=1)
    for rows, least in (({}, "1 or more: one small"), ({"herding": train}, "0 or more")):
        with pytest.raises(ConfigError, match=rf"random_rows=.* beside {len(rows)} validation sets\n.*{least}"):
            hyperparameter_search(data, train, rows, SPACE, random_rows=-len(rows))


def test_random_rows_are_rounded_up_to_equal_shares():
    data = blob_images(per_class=24)
    found = search(data, seeds=1, random_rows=4)
    assert found.orderings[1].rows == 6


def test_what_does_not_belong_together_is_refused(tmp_path):
    data = blob_images()
    train = decoct.select(data, "random", ipc=1)
    other = decoct.select(blob_images(classes=4), "random", ipc=1)
    with pytest.raises(MismatchError, match="searching hyper-parameters with compact sets"):
        hyperparameter_search(data, train, {"other": other}, SPACE)
    with pytest.raises(MismatchError, match="made from data"):
        hyperparameter_search(data, decoct.select(blob_images(seed=3), "random", ipc=1), {}, SPACE)
    with pytest.raises(ConfigError, match=r"2 validation sets called 'mine' and 3 seeds.*\n.*one for each seed"):
        hyperparameter_search(data, train, {"mine": [train, train]}, SPACE)
    with pytest.raises(ConfigError, match="a name other than 'random'"):
        hyperparameter_search(data, train, {"random": train}, SPACE)
    scores = decoct.distill(data, "ridge", ipc=1, steps=1, network="convnet1-w4")
    with pytest.raises(ConfigError, match="scores of a regression"):
        hyperparameter_search(data, train, {"ridge": scores}, SPACE)
    with pytest.raises(ConfigError, match="0 or more|seeds=0"):
        hyperparameter_search(data, train, {}, SPACE, seeds=0)
    with pytest.raises(ConfigError, match="setting candidates of a Search"):
        replace(QUICK, candidates=2)
