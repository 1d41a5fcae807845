"""The attack on networks that were really trained: cells reused, ways compared, too few shadows told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import blob_images

from decoct.analysis.finding import Finding
from decoct.applications.privacy.dp import PrivateConfig
from decoct.applications.privacy.lira import halves
from decoct.applications.privacy.membership import MembershipConfig, _made, membership, require_attack
from decoct.errors import BudgetError, ConfigError, DataError, UnknownNameError
from decoct.training.config import FitConfig

FIT = FitConfig(optimizer="adam", lr=5e-3, epochs=8, batch_size=32, weight_decay=0.0)


def settings(**changes) -> MembershipConfig:
    base = MembershipConfig(models=6, ipc=2, steps=2, network="mlp", real=FIT, small=FIT)
    return replace(base, **changes)


def noisy(per_class: int = 40):
    """Labels that say nothing: only a memoriser can be right."""
    data = blob_images(classes=2, per_class=per_class)
    labels = np.random.default_rng(0).integers(0, 2, len(data.train))
    return replace(data, train=replace(data.train, y=labels))


def test_labels_that_must_be_memorised_give_members_away_and_few_rows_do_not(tmp_path, monkeypatch):
    data = noisy()
    memoriser = replace(FIT, epochs=60)
    result = membership(data, ["real", "random"], settings(real=memoriser), out=tmp_path, device="cpu")
    real, random = result.ways
    assert np.mean(real.auc) > 0.8
    assert np.mean(random.auc) < np.mean(real.auc) - 0.15, "four rows of eighty are nearly all that a network has seen"
    assert random.rows == 4 < real.rows
    finding = Finding.from_json(result.finding().to_json())
    assert finding.rows[0]["made from"] == "real"
    assert any("too few for a false-positive rate of 0.1 %" in note for note in finding.notes)
    assert result.to_json()["ways"][1]["tpr"].keys() == {"0.001", "0.01"}
    monkeypatch.setattr("decoct.applications.privacy.membership._cell", lambda *_: pytest.fail("done twice"))
    again = membership(data, ["real", "random"], settings(real=memoriser), out=tmp_path, device="cpu")
    assert again.ways[0].auc == real.auc


def test_distilled_sets_of_both_starts_can_be_attacked(monkeypatch):
    monkeypatch.setattr("decoct.distillation.validate.STEPS", 2)
    config = settings(network="convnet2-w4", small=replace(FIT, epochs=2))
    result = membership(blob_images(classes=2, per_class=20), ["dm+noise", "dm+real"], config, device="cpu")
    assert [way.way for way in result.ways] == ["dm+noise", "dm+real"]
    assert result.ways[0].auc != result.ways[1].auc
    assert result.ways[0].rows == 4


def test_private_sets_are_attacked_like_any_other(tmp_path, monkeypatch):
    pytest.importorskip("opacus")
    private = PrivateConfig(releases=4, rate=1.0, noise=1e-3, size_noise=1e-3, steps=20, delta=1e-3, accountant="rdp")
    config = settings(network="convnet1-w4", private=private)
    data = blob_images(classes=2, per_class=20)
    [loud] = membership(data, ["private"], config, out=tmp_path, device="cpu").ways
    assert (loud.way, loud.rows, len(loud.auc)) == ("private", 4, 6)
    cells = len(list((tmp_path / "cells").iterdir()))
    drowned = replace(config, private=replace(private, noise=1e3))
    [quiet] = membership(data, ["private"], drowned, out=tmp_path, device="cpu").ways
    assert len(list((tmp_path / "cells").iterdir())) == 2 * cells, "sets of other noise are other cells"
    assert quiet.auc != loud.auc
    # Nothing else depends on how private sets are made.
    membership(data, ["random"], settings(network="convnet1-w4"), out=tmp_path, device="cpu")
    monkeypatch.setattr("decoct.applications.privacy.membership._cell", lambda *_: pytest.fail("done twice"))
    membership(data, ["random"], config, out=tmp_path, device="cpu")


def test_the_private_way_needs_its_settings_and_rows_without_weights():
    data = blob_images()
    with pytest.raises(ConfigError, match=r"'private' without its settings(.|\n)*--epsilon"):
        membership(data, ["private"], settings())
    heavy = data.with_weights(1 + torch.arange(len(data.train)) % 2)
    with pytest.raises(ConfigError, match="weights on the training rows"):
        membership(heavy, ["private"], settings(private=PrivateConfig()))


@pytest.mark.parametrize(
    ("changes", "ways", "error", "text"),
    [
        ({"models": 4}, ["real"], ConfigError, r"4 networks of each(.|\n)*from 6 on(.|\n)*models=16"),
        ({"models": 7}, ["real"], ConfigError, "even number"),
        ({}, [], ConfigError, "at least one way"),
        ({}, ["reel"], UnknownNameError, "real"),
    ],
)
def test_bad_requests(changes, ways, error, text):
    with pytest.raises(error, match=text):
        membership(blob_images(), ways, settings(**changes))


def test_real_rows_of_a_half_count_by_their_weights():
    data = blob_images(classes=2, per_class=10)
    heavy = data.with_weights(1 + 9.0 * (torch.arange(20) % 4 < 2))
    made = _made(heavy.with_train(torch.arange(0, 20, 2)), "real", settings(), 0, "cpu")
    assert float(made.weights.max() / made.weights.min()) == pytest.approx(10)


@pytest.mark.parametrize(
    ("way", "weighted", "text"),
    [
        ("ridge", False, "recipe 'ridge', whose labels are scores"),
        ("frepo", False, "recipe 'frepo', whose labels are scores"),
        ("k-center", True, "no weighted form"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_before_anything_is_made(way, weighted, text, monkeypatch):
    monkeypatch.setattr("decoct.applications.privacy.membership._cell", lambda *_: pytest.fail("too late"))
    data = blob_images()
    data = data.with_weights(1 + torch.arange(len(data.train)) % 2) if weighted else data
    with pytest.raises(ConfigError, match=text):
        membership(data, ["real", way], settings())


@pytest.mark.parametrize("way", ["random", "dm+noise"])
def test_more_images_than_the_smallest_half_has_of_a_class_are_refused_before_anything_is_made(way, monkeypatch):
    """15 rows of a class make halves of about 7: ten images of it are too many, whatever a half that is larger has."""
    monkeypatch.setattr("decoct.applications.privacy.membership._cell", lambda *_: pytest.fail("too late"))
    data = blob_images(classes=2, per_class=30)
    rows = torch.cat([torch.nonzero(data.train.labels() == c).flatten()[:n] for c, n in ((0, 30), (1, 15))])
    data, config = data.with_train(rows), settings(ipc=10)
    fewest = int(halves(45, 6, 0)[:, data.train.labels() == 1].sum(1).min())
    assert fewest < 8
    with pytest.raises(BudgetError) as caught:
        membership(data, ["real", way], config)
    assert "received: 10 images a class" in str(caught.value)
    assert f"at most {fewest}: so many rows of class 'class 1' has the half that has the fewest of them" in str(
        caught.value
    )
    require_attack(data, ["real", way], settings(ipc=fewest), 0)
    require_attack(data, ["real"], config, 0)


def test_an_edited_network_is_attacked_anew(tmp_path, monkeypatch):
    room, data, done = "decoct.applications.privacy.membership", blob_images(classes=2, per_class=20), []
    rows = len(data.train)

    def cell(*_):
        done.append(1)
        said = np.random.default_rng(len(done)).normal(size=rows).tolist()
        return {"confidence": said, "accuracy": 0.5, "rows": rows // 2, "seconds": 1.0}

    monkeypatch.setattr(f"{room}._cell", cell)
    for version, runs in (("one", 6), ("one", 6), ("two", 12)):
        monkeypatch.setattr(f"{room}.network_identity", lambda name, *_, v=version: f"{name}@{v}")
        told = membership(data, ["real"], settings(), out=tmp_path, device="cpu")
        assert len(done) == runs
        assert told.facts["config"]["network"] == "mlp"


def test_data_without_test_rows_are_refused():
    data = blob_images()
    with pytest.raises(DataError, match="without test rows"):
        membership(replace(data, test=data.test.take(slice(0, 0))), ["real"], settings())
