"""Weights of real rows: what is refused, how rows are drawn by them, and that every maker honours them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import blob_features, blob_images

import decoct
from decoct.data.sample_weights import SampleWeights, draw, random_order, spaced
from decoct.distillation.problem import Problem, RealSource
from decoct.distillation.storage.pixels import initial_rows
from decoct.distillation.strata import Strata
from decoct.errors import DataError, MismatchError, SourceError
from decoct.networks.build import network
from decoct.streams import Streams
from decoct.training.accuracy import accuracy
from decoct.training.expert import train_expert
from decoct.training.fit import FitConfig, fit_dataset

DATA = blob_images(classes=2, per_class=8)
N = len(DATA.train)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def marked(share: float = 0.9):
    """The toy in which row 0 (class 0) and row 1 (class 1) have this share of the weight of their class."""
    rest = (1 - share) / (N // 2 - 1)
    values = np.full(N, rest)
    values[:2] = share
    return DATA.with_weights(values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.full(N, -1.0), "16 are NaN, infinite or negative, first -1 in row 0"),
        (np.r_[np.nan, np.ones(N - 1)], "1 are NaN, infinite or negative, first nan in row 0"),
        (np.r_[np.ones(N - 1), np.inf], "first inf in row 15"),
        (np.zeros(N), "all 0"),
        (np.ones((N, 1)), r"weights of shape \[16, 1\]"),
        (np.array([]), r"weights of shape \[0\]"),
        (np.array(["a"] * N), "numbers"),
        (np.where(DATA.train.y == 1, 0.0, 1.0), "no weight above 0 in 'class 1'"),
    ],
)
def test_weights_that_cannot_be_used_are_refused(values, said):
    with pytest.raises(DataError, match=said):
        DATA.with_weights(values)


def test_weights_of_other_rows_are_refused():
    with pytest.raises(MismatchError, match=r"weights of shape \[15\](.|\n)*one for each of the 16 training rows"):
        DATA.with_weights(np.ones(N - 1))
    ids = DATA.train.ids.astype(str)
    with pytest.raises(MismatchError, match="without 2 of the 16 training rows, such as 'train-14', 'train-15'"):
        DATA.with_weights(SampleWeights(ids[:14], np.arange(1.0, 15)))
    with pytest.raises(MismatchError, match="weights for other rows, such as 'x'"):
        DATA.with_weights(SampleWeights(np.array(["x"]), np.ones(1)))
    with pytest.raises(MismatchError, match="3 weights for 2 ids"):
        SampleWeights(np.array(["a", "b"]), np.ones(3))
    with pytest.raises(DataError, match="occur twice, such as 'a'"):
        SampleWeights(np.array(["a", "a"]), np.ones(2))
    with pytest.raises(MismatchError, match="of the 4 validation rows"):
        DATA.with_weights(SampleWeights(np.r_[ids, DATA.val.ids[:1].astype(str)], np.arange(1.0, N + 2)))


def test_a_file_of_weights(tmp_path):
    table = SampleWeights.of(DATA, np.arange(1.0, N + 1))
    table.save(tmp_path / "w.parquet")
    again = SampleWeights.load(tmp_path / "w.parquet")
    assert again.ids.tolist() == table.ids.tolist()
    assert (again.values == table.values).all()
    (tmp_path / "bad.parquet").write_bytes(b"nothing")
    with pytest.raises(SourceError, match="columns id and weight"):
        SampleWeights.load(tmp_path / "bad.parquet")
    with pytest.raises(SourceError, match="reading weights from"):
        SampleWeights.load(tmp_path / "missing.parquet")


def test_weights_travel_with_their_rows():
    values = np.arange(0.0, N)
    data = DATA.with_weights(SampleWeights(DATA.train.ids.astype(str)[::-1].copy(), values[::-1].copy()))
    assert len(data.train) == N - 1, "a weight of 0 leaves a row out"
    assert data.train.ids[0] == "train-1"
    np.testing.assert_allclose(data.train.weights, values[1:] / values[1:].mean())
    assert data.train.weight(torch.tensor([3, 0])).tolist() == pytest.approx([4 / 8, 1 / 8])
    assert data.with_train(np.array([3])).train.weights == pytest.approx([4 / 8])
    assert data.val.weights is None
    assert data.test.weights is None


def test_equal_weights_and_none_are_the_data_itself():
    assert DATA.with_weights(np.full(N, 7.0)) is DATA
    assert DATA.with_weights(None) is DATA
    assert DATA.rows_key == DATA.train.rows_key


def test_validation_rows_with_weights_count_by_them():
    ids = np.r_[DATA.train.ids, DATA.val.ids].astype(str)
    only = np.r_[np.ones(N), 0.0, 1.0, 0.0, 0.0]
    data = DATA.with_weights(SampleWeights(ids, only))
    assert data.train.weights is None
    module = network("mlp", (1, 8, 8), 2, 0)
    right = accuracy(module, DATA, DATA.val.take(np.array([1])))
    assert accuracy(module, data, data.val) == right
    assert data.rows_key != DATA.rows_key


def test_draws_are_in_proportion():
    weights = torch.tensor([0.5, 1.5, 2.0, 4.0])
    for seed in range(20):
        counts = Counter(draw(weights, 16, generator(seed)).tolist())
        assert [counts[row] for row in range(4)] == [1, 3, 4, 8], "whole shares come out exactly"
    total = Counter()
    for seed in range(400):
        total.update(draw(weights, 3, generator(seed)).tolist())
    shares = np.array([total[row] for row in range(4)]) / 1200
    np.testing.assert_allclose(shares, weights / 8, atol=0.03)
    assert spaced(weights, 4, torch.tensor(0.99)).tolist() == [1, 2, 3, 3]


def test_an_order_by_weight_is_a_permutation_that_starts_with_heavy_rows():
    weights = torch.tensor([1.0, 3.0])
    first = [int(random_order(2, weights, generator(seed))[0]) for seed in range(1000)]
    assert np.mean(first) == pytest.approx(0.75, abs=0.04)
    assert sorted(random_order(9, torch.arange(1.0, 10), generator()).tolist()) == list(range(9))
    assert torch.equal(random_order(9, None, generator()), torch.randperm(9, generator=generator()))


@pytest.mark.parametrize("draws", ["per_class", "batch", "strata"])
def test_real_rows_are_drawn_by_weight(draws):
    data = marked(0.9)
    real = RealSource(data, "cpu", generator())
    if draws == "strata":
        source = Strata(Problem(data, 1, "mlp", "cpu", "", 0.0), 0)
        found = [source.per_class(real, 5) for _ in range(8)]
    else:
        found = [real.per_class(5) if draws == "per_class" else real.batch(10) for _ in range(8)]
    heavy = data.inputs(data.train, torch.tensor([0, 1]))
    hits = [
        bool((row == heavy[label]).all()) for rows, labels in found for row, label in zip(rows, labels, strict=True)
    ]
    assert np.mean(hits) == pytest.approx(0.9, abs=0.05)
    assert all(labels.bincount().tolist() == [5, 5] for _, labels in found)


def test_the_start_of_a_storage_prefers_heavy_rows():
    problem = Problem(marked(0.999), 1, "mlp", "cpu", "", 0.0)
    rows = initial_rows("real", problem, 1, Streams(0))
    assert torch.equal(rows, DATA.inputs(DATA.train, torch.tensor([0, 1])))


def test_training_shows_rows_as_often_as_they_weigh():
    """A class in which one row, labelled otherwise than all its likes, has nearly all the weight: it is learned."""
    data = blob_images(classes=2, per_class=8)
    labels = data.train.y.copy()
    labels[0] = 1
    data = replace(data, train=replace(data.train, y=labels))
    weights = np.where(np.arange(N) == 0, 60.0, 1.0)
    config = FitConfig(epochs=6, batch_size=8, lr=0.05)

    def trained(given):
        [fitted] = fit_dataset(lambda seed: network("mlp", (1, 8, 8), 2, seed), data, config, [0], weights=given)
        return fitted

    rows = data.inputs(data.train, torch.arange(2))
    plain, heavy = (trained(given).module(rows[:1]).softmax(1)[0, 1] for given in (None, weights))
    assert heavy > plain
    same = trained(np.full(N, 3.0)).module(rows)
    assert torch.equal(same, trained(None).module(rows))
    assert trained(weights).samples_seen == 6 * N


def test_an_expert_belongs_to_the_weights_it_was_trained_with(tmp_path):
    train_expert(DATA, "mlp", 1, 0, cache=tmp_path)
    train_expert(marked(), "mlp", 1, 0, cache=tmp_path)
    train_expert(marked(), "mlp", 1, 0, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("recipe", ["dm", "dsa", "ridge", "mtt", "soft-random"])
def test_a_maker_gives_the_same_bits_for_equal_weights_and_others_for_uneven_ones(recipe):
    def made(weights):
        small = decoct.distill(DATA, recipe, ipc=1, steps=2, network="mlp", weights=weights)
        return torch.cat([part.double().flatten() for part in small.materialize()])

    plain = made(None)
    assert torch.equal(plain, made(np.full(N, 2.0)))
    uneven = np.where(np.arange(N) < 2, 50.0, 1.0)
    assert not torch.equal(plain, made(uneven))


def test_a_run_goes_on_only_with_its_own_weights(tmp_path):
    weights = np.arange(1.0, N + 1)
    first = decoct.distill(DATA, "dm", ipc=1, steps=2, network="mlp", out=tmp_path / "run", weights=weights)
    again = decoct.distill(DATA, "dm", ipc=1, steps=2, network="mlp", out=tmp_path / "run", weights=weights * 5)
    assert again.content_hash == first.content_hash, "only ratios matter"
    for other in (None, weights[::-1].copy()):
        with pytest.raises(MismatchError, match="a run that differs in weights"):
            decoct.distill(DATA, "dm", ipc=1, steps=2, network="mlp", out=tmp_path / "run", weights=other)


def test_the_mean_that_is_matched_is_the_weighted_mean():
    """Distribution matching on a linear embedding of features, closed form: the set goes to the weighted class mean."""
    data = blob_features(classes=2, per_class=40, width=4)
    weights = np.where(np.arange(80) < 20, 9.0, 1.0)
    real = RealSource(data.with_weights(weights), "cpu", generator())
    means = torch.stack([
        torch.stack([rows[labels == label].mean(0) for label in range(2)])
        for rows, labels in (real.per_class(20) for _ in range(200))
    ]).mean(0)  # fmt: skip
    rows, labels = data.inputs(data.train, slice(None)), data.train.labels()
    share = torch.tensor(weights, dtype=torch.float32)[:, None]
    wanted = torch.stack([(share * rows)[labels == c].sum(0) / share[labels == c].sum() for c in range(2)])
    torch.testing.assert_close(means, wanted, atol=0.05, rtol=0)
