"""Judging detectors on several parts of unseen rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toys import blob_images

from decoct.errors import ConfigError, DataError
from decoct.evaluation.real_or_fake import Detection, compared, judge_detector, one_split
from decoct.training.roc import Area

DATA = blob_images(classes=2, per_class=24, shape=(1, 8, 8))


def test_a_learnable_class_is_found_and_noise_is_not() -> None:
    noise = DATA.test.take(np.arange(len(DATA.test)))
    rng = np.random.default_rng(0)
    blurred = noise.__class__(rng.integers(0, 255, noise.x.shape, dtype=np.uint8), noise.y, noise.ids)
    found = judge_detector(DATA, {"same": DATA.test, "noise": blurred}, network="mlp-w16", steps=40, seeds=[0, 1])
    assert found["same"].auc > 0.95
    assert found["same"].eer < 0.2
    assert found["same"].rows == len(DATA.test)
    assert abs(found["noise"].auc - 0.5) < 0.45
    assert len(found["same"].areas) == len(found["same"].rates) == 2
    mirrored = judge_detector(DATA, {"same": DATA.test}, positive=0, network="mlp-w16", steps=40, seeds=[0, 1])
    assert mirrored["same"].auc == pytest.approx(found["same"].auc), "of two classes either finds the other"


def test_the_interval_is_that_of_student_and_differences_are_paired() -> None:
    one = Detection(10, tuple(Area(value, 0.0, 1.0) for value in (0.8, 0.9, 0.85)), (0.1, 0.2, 0.3))
    other = Detection(10, tuple(Area(value, 0.0, 1.0) for value in (0.7, 0.8, 0.75)), (0.1, 0.2, 0.3))
    assert one.auc == pytest.approx(0.85)
    assert one.eer == pytest.approx(0.2)
    low, high = one.interval or (0, 0)
    assert (high - low) / 2 == pytest.approx(4.302653 * 0.05 / 3**0.5, rel=1e-4)
    gap, interval = compared(one, other)
    assert gap == pytest.approx(0.1)
    assert interval == pytest.approx((0.1, 0.1))
    with pytest.raises(ConfigError, match="3 and 1 seeds"):
        compared(one, Detection(10, one.areas[:1], (0.1,)))


def test_small_and_large_sets_take_as_many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def spy(build, data, config, seeds, **_):
        seen.append((len(data.train), config.epochs * -(-len(data.train) // config.batch_size), config.batch_size))
        raise KeyboardInterrupt

    monkeypatch.setattr("decoct.evaluation.real_or_fake.fit_dataset", spy)
    big = blob_images(classes=2, per_class=320, shape=(1, 4, 4))
    for data in (big, big.with_train(np.arange(65)), big.with_train(np.arange(64)), big.with_train(np.arange(10))):
        with pytest.raises(KeyboardInterrupt):
            judge_detector(data, {}, steps=100)
    assert seen == [(640, 100, 64), (65, 100, 64), (64, 100, 64), (10, 100, 64)]


def test_parts_are_joined_and_bad_ones_refused() -> None:
    joined = one_split([DATA.test.take(np.arange(3)), DATA.val.take(np.arange(2))])
    assert len(joined) == 5
    assert joined.ids.tolist() == [*DATA.test.ids[:3].tolist(), *DATA.val.ids[:2].tolist()]
    assert torch.equal(joined.raw(), torch.cat([DATA.test.raw(slice(0, 3)), DATA.val.raw(slice(0, 2))]))
    with pytest.raises(ConfigError, match="a class number"):
        judge_detector(DATA, {}, positive=2)
    only = DATA.test.take(np.flatnonzero(DATA.test.y == 0))
    with pytest.raises(DataError, match="rows of both kinds"):
        judge_detector(DATA, {"one class": only}, network="mlp-w8", steps=1, seeds=[0])
