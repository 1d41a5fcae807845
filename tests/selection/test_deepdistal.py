"""DEEPDISTAL: its record, when it has enough, and that it finds what random rows miss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toys import blob_features, class_balance

import decoct
from decoct.errors import ConfigError
from decoct.selection.deepdistal import DeepDistal, enough

QUICK = DeepDistal(rounds=3, epochs=3)


def test_every_round_tells_how_well_the_detector_does() -> None:
    data = blob_features(classes=2, per_class=30)
    core = decoct.select(data, QUICK, ipc=8, seed=1)
    assert class_balance(core.classes, 2) == [8, 8]
    start, *rounds, end = core.provenance["record"]
    assert start == {"round": 0, "added": 4}
    assert [part["trained_on"] for part in rounds] == [4, 8, 12]
    for part in rounds:
        assert 0 <= part["val_auc"] <= 1
        assert 0 <= part["val_eer"] <= 1
    assert set(end) == {"enough"}
    assert core.provenance["method"] == "deepdistal"


def test_a_committee_votes_and_more_classes_are_measured_against_the_rest() -> None:
    method = DeepDistal(rounds=1, epochs=2, strategy="disagreement", networks=2)
    core = decoct.select(blob_features(classes=3, per_class=10), method, ipc=4)
    assert 0.3 < core.provenance["record"][1]["val_auc"] <= 1


def test_enough_is_the_first_round_that_later_ones_do_not_better() -> None:
    record = [{"round": 0, "added": 10}] + [
        {"trained_on": 10 * place, "val_auc": area} for place, area in enumerate([0.7, 0.8, 0.801, 0.8, 0.85], start=1)
    ]
    assert enough(record, patience=2, min_gain=0.002) == 20
    assert enough(record, patience=3, min_gain=0.002) is None
    assert enough(record, patience=1, min_gain=0.002) == 20
    assert enough(record, patience=1, min_gain=0.0) == 30
    assert enough(record[:2], patience=1, min_gain=0.5) is None


def test_rows_near_the_border_are_chosen_after_the_random_start() -> None:
    # Two classes along one axis: what is uncertain lies near 0, most rows lie far from it.
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    along = (2 * labels - 1) * rng.uniform(0.02, 3, 400)
    x = np.stack([along, rng.normal(0, 0.1, 400)], 1).astype(np.float32)
    data = decoct.open((x, labels))
    core = decoct.select(data, DeepDistal(rounds=3, epochs=30, explore=0.0), count=40, seed=0)
    away = torch.from_numpy(np.abs(data.train.x[core.indices.numpy(), 0]))
    first = core.scores == 0
    assert float(away[~first].mean()) < 0.5 * float(away[first].mean())


@pytest.mark.parametrize(
    "settings",
    [{"patience": 0}, {"min_gain": -0.1}, {"min_gain": float("nan")}, {"steps": 0}, {"lr": 0.0}, {"explore": 2.0}],
)
def test_impossible_settings(settings: dict) -> None:
    with pytest.raises(ConfigError, match="keep the default"):
        DeepDistal(**settings)


def test_a_share_of_every_batch_is_drawn_at_random() -> None:
    data = blob_features(classes=2, per_class=200)
    kept = {
        share: decoct.select(data, DeepDistal(rounds=1, epochs=2, steps=20, explore=share), count=80, seed=0)
        for share in (0.0, 0.5, 1.0)
    }
    start = kept[0.0].indices[:40]
    assert all(torch.equal(core.indices[:40], start) for core in kept.values())
    batches = [core.indices[40:].tolist() for core in kept.values()]
    assert all(len(set(batch) - set(start.tolist())) == 40 for batch in batches)
    assert len(set(batches[0]) & set(batches[1])) >= 20, "the other half is what would be chosen anyway"


def test_small_batches_are_passed_over_more_often() -> None:
    method = DeepDistal(epochs=10, steps=400)
    assert method.training(100).epochs == 200
    assert method.training(320).epochs == 80
    assert method.training(5000).epochs == 20
    assert method.training(4000).epochs == 10
    assert method.training(100).lr == 0.05
