"""Baselines: their bytes, their balance, what is drawn afresh."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from toys import blob_images, class_balance

from decoct.data.dataset import Dataset
from decoct.errors import UnknownNameError
from decoct.evaluation.baselines import Drawn, baseline
from decoct.evaluation.contender import Contender
from decoct.evaluation.draws import draw_rows, equal_classes, even_quota, herd_rows
from decoct.evaluation.teacher import Teacher

DATA = blob_images(classes=3, per_class=12)
ROW = 64  # 1 x 8 x 8 bytes


def teacher(data: Dataset = DATA, cache: Path | None = None) -> Teacher:
    return Teacher(data, "convnet3-w8", 2, "cpu", cache)


def made(name: str, nbytes: int, data: Dataset = DATA) -> Contender:
    found = baseline(name, data, nbytes, teacher(data))
    assert found is not None
    return found


@pytest.mark.parametrize(("name", "row"), [("random", ROW + 1), ("herding", ROW + 1), ("random+teacher", ROW + 6)])
@pytest.mark.parametrize("nbytes", [100, 195, 196, 1000, 2339])
def test_bytes_stay_within_one_row_below_those_of_the_set(name: str, row: int, nbytes: int) -> None:
    weight = made(name, nbytes).weight
    total = weight.images + weight.labels + weight.decoder
    assert nbytes - row < total <= nbytes
    assert weight.rows == nbytes // row
    assert weight.images == weight.rows * ROW


def test_more_rows_than_there_are_give_all_there_are() -> None:
    generator = torch.Generator().manual_seed(0)
    assert even_quota([12, 12, 12], 37, generator) == [12, 12, 12]
    assert even_quota([2, 0, 5], 100, generator) == [2, 0, 5]
    assert draw_rows(DATA, 37, 0).sort().values.tolist() == list(range(36))


def test_a_teacher_labels_more_rows_than_it_was_trained_on() -> None:
    """A set of many small parts decodes to more rows than the training split has."""
    one = teacher()
    inputs = DATA.inputs(DATA.train, torch.arange(36))
    many = one.probabilities(torch.cat([inputs, inputs[:1]]))
    assert many.shape == (37, 3)
    assert list(one.chosen) == [36], "the pass is that of all rows there are"
    torch.testing.assert_close(many[:36], one.probabilities(inputs))


def test_no_baseline_is_larger_than_the_training_split() -> None:
    assert made("random", 10**9).weight.rows == len(DATA.train)


def test_full_weighs_the_training_split_and_tells_its_passes() -> None:
    full = made("full", 100)
    assert (full.weight.rows, full.weight.images, full.weight.labels) == (36, 36 * ROW, 36)
    assert full.notes == ("2 passes over the training split",)


@pytest.mark.parametrize("name", ["random", "herding", "random+teacher"])
def test_less_than_one_row_is_no_baseline(name: str) -> None:
    assert baseline(name, DATA, ROW, teacher()) is None


def test_fewer_rows_than_classes_is_said() -> None:
    assert made("random", 2 * (ROW + 1)).notes == ("2 rows are all that fits, 1 of 3 classes are left out",)
    assert made("random", 3 * (ROW + 1)).notes == ()


def test_more_than_256_classes_need_two_bytes_a_label() -> None:
    many = blob_images(classes=300, per_class=2, shape=(1, 2, 2))
    assert made("random", 6 * 10, many).weight.labels == 20


def test_unknown_baseline_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'herding'"):
        baseline("herdin", DATA, 1000, teacher())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.data(), st.integers(0, 5))
def test_quota_is_even_and_complete(available: Sequence[int], data: st.DataObject, seed: int) -> None:
    count = data.draw(st.integers(0, sum(available)))
    quota = even_quota(available, count, torch.Generator().manual_seed(seed))
    assert sum(quota) == count
    assert all(0 <= got <= have for got, have in zip(quota, available, strict=True))
    # No class that could give more is more than one row behind another.
    unfilled = [got for got, have in zip(quota, available, strict=True) if got < have]
    assert not unfilled or max(quota) <= min(unfilled) + 1


def test_random_rows_are_stratified_distinct_and_differ_by_seed() -> None:
    first, second = draw_rows(DATA, 9, seed=0), draw_rows(DATA, 9, seed=1)
    assert class_balance(DATA.train.labels(first), 3) == [3, 3, 3]
    assert len(set(first.tolist())) == 9
    assert set(first.tolist()) != set(second.tolist())
    assert torch.equal(first, draw_rows(DATA, 9, seed=0))


def test_a_smaller_draw_is_part_of_a_larger_one() -> None:
    small, large = draw_rows(DATA, 4, seed=3), draw_rows(DATA, 11, seed=3)
    assert set(small.tolist()) < set(large.tolist())


def test_every_class_counts_the_same() -> None:
    labels = torch.tensor([0, 0, 0, 2, 3, 3])
    weights = equal_classes(labels)
    assert weights.tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2, 1, 1])
    assert weights.mean() == pytest.approx(1)
    drawn = made("random", 7 * (ROW + 1))
    assert isinstance(drawn, Drawn)
    material = drawn.material(0)
    assert material.weights is not None
    totals = torch.zeros(3).index_add(0, material.targets, material.weights)
    assert totals.tolist() == pytest.approx([7 / 3] * 3)


def test_herding_takes_the_row_nearest_to_the_mean_first() -> None:
    rows = herd_rows(DATA, 3)
    pixels = DATA.inputs(DATA.train).flatten(1)
    for c, row in enumerate(rows.tolist()):
        members = pixels[DATA.train.labels() == c]
        distance = (pixels - members.mean(0)).norm(dim=1)
        nearest = min(np.flatnonzero(DATA.train.y == c), key=lambda i: float(distance[i]))
        assert row == nearest


def test_keys_tell_different_rows_apart() -> None:
    keys = [made(name, 1000).key(seed) for name in ("random", "herding", "random+teacher", "full") for seed in (0, 1)]
    assert len(set(keys)) == 6
    assert made("random", 1000).key(0) != made("random", 2000).key(0)


def test_teacher_labels_are_stored_in_half_precision_and_sum_to_one() -> None:
    drawn = made("random+teacher", 12 * (ROW + 6))
    assert isinstance(drawn, Drawn)
    material = drawn.material(0)
    assert material.label_kind == "probabilities"
    assert material.targets.shape == (12, 3)
    torch.testing.assert_close(material.targets.sum(1), torch.ones(12))
    expert = drawn.teacher.module_for(12) if drawn.teacher else None
    assert expert is not None
    with torch.no_grad():
        expected = expert(DATA.inputs(DATA.train, draw_rows(DATA, 12, 0))).softmax(1)
    torch.testing.assert_close(material.targets, expected, atol=1e-3, rtol=1e-2)
    assert not torch.equal(material.targets, expected)


def test_the_pass_of_the_teacher_is_the_one_that_taught_so_many_rows_best(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chosen once for each number of rows, by students that see the labels of that pass on as many rows."""
    scores = iter([0.9, 0.2, 0.3, 0.8])
    seen: list[tuple[int, Tensor]] = []

    def student(inputs: Tensor, targets: Tensor, *_: object, **__: object) -> float:
        seen.append((len(inputs), targets))
        return next(scores)

    monkeypatch.setattr("decoct.evaluation.teacher.student_accuracy", student)
    one = teacher()
    inputs = DATA.inputs(DATA.train, slice(0, 9))
    for count in (3, 9, 3):
        one.probabilities(inputs[:count])
    assert [count for count, _ in seen] == [3, 3, 9, 9]
    assert one.chosen == {3: 1, 9: 2}
    with torch.no_grad():
        first = one.expert.module_at(1)(DATA.inputs(DATA.train, draw_rows(DATA, 3, 0))).softmax(1)
    torch.testing.assert_close(seen[0][1], first, atol=1e-3, rtol=1e-2)


def test_teacher_is_trained_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import decoct.evaluation.teacher as room

    calls: list[int] = []
    real = room.train_expert
    monkeypatch.setattr(room, "train_expert", lambda *a, **k: calls.append(1) or real(*a, **k))
    one = teacher()
    inputs = DATA.inputs(DATA.train, slice(0, 4))
    assert torch.equal(one.probabilities(inputs), one.probabilities(inputs))
    assert len(calls) == 1
