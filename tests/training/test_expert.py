"""Experts and their snapshots."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from toys import blob_features, blob_images

from decoct.errors import ConfigError
from decoct.training.accuracy import accuracy
from decoct.training.expert import expert_config, short_training, train_expert


@pytest.fixture(scope="module")
def data():
    return blob_images(per_class=40)


def test_snapshots_differ_are_copies_and_the_best_is_chosen_on_validation(data):
    expert = train_expert(data, "convnet2-w8", 6, 0)
    assert len(expert.snapshots) == len(expert.val_accuracy) == 6
    assert not torch.equal(*(expert.snapshots[e]["classifier.weight"] for e in (0, 1)))
    assert expert.epoch == 1 + expert.val_accuracy.index(max(expert.val_accuracy))
    assert not expert.module.training
    for epoch in range(1, 7):
        assert accuracy(expert.module_at(epoch), data, data.val) == expert.val_accuracy[epoch - 1]
    early = expert.module_at(1)
    with torch.no_grad():
        early.get_parameter("classifier.weight").zero_()
    assert expert.snapshots[0]["classifier.weight"].abs().sum() > 0
    assert accuracy(expert.module, data, data.val) == max(expert.val_accuracy)


def test_an_expert_is_read_from_the_cache_and_only_where_it_fits(data, tmp_path: Path):
    first = train_expert(data, "convnet2-w8", 2, 0, cache=tmp_path)
    again = train_expert(data, "convnet2-w8", 2, 0, cache=tmp_path)
    assert again.val_accuracy == first.val_accuracy
    assert (first.device, train_expert(data, "convnet2-w8", 2, 0, "meta", cache=tmp_path).device) == ("cpu", "cpu")
    torch.testing.assert_close(again.snapshots, first.snapshots, rtol=0, atol=0)
    [path] = tmp_path.iterdir()
    train_expert(data, "convnet2-w8", 2, 1, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    path.write_bytes(path.read_bytes()[:1000])
    healed = train_expert(data, "convnet2-w8", 2, 0, cache=tmp_path)
    torch.testing.assert_close(healed.snapshots, first.snapshots, rtol=0, atol=0)


def test_an_epoch_it_never_had(data):
    expert = train_expert(data, "convnet2-w8", 1, 0)
    with pytest.raises(ConfigError, match="a number from 1 to 1"):
        expert.module_at(2)


def test_settings_follow_the_size():
    assert (expert_config(60_000, 20).batch_size, expert_config(1_000, 20).batch_size) == (256, 64)


def test_another_choice_of_rows_of_the_same_data_is_another_expert(tmp_path):
    data = blob_features()
    half = data.with_train(np.arange(0, 30))
    other = data.with_train(np.arange(30, 60))
    first = train_expert(half, "mlp-w8", 1, 0, cache=tmp_path)
    second = train_expert(other, "mlp-w8", 1, 0, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    assert first.val_accuracy != second.val_accuracy or not all(
        torch.equal(a, b) for a, b in zip(first.snapshots[0].values(), second.snapshots[0].values(), strict=True)
    )


def test_few_rows_are_passed_more_often_until_there_are_steps_enough() -> None:
    assert [short_training(rows) for rows in (1, 100, 1439, 4999, 10_000, 60_000)] == [50, 50, 9, 5, 5, 5]
