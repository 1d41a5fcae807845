"""AUC, its interval and the equal error rate against scikit-learn, resampling and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from sklearn.metrics import roc_auc_score, roc_curve

from decoct.errors import DataError
from decoct.training.roc import against_rest, auc, equal_error_rate


def drawn(seed: int, n: int, ties: bool) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    positive = rng.random(n) < 0.4
    positive[:2] = (True, False)
    scores = rng.normal(size=n) + positive
    return torch.from_numpy(scores.round() if ties else scores), torch.from_numpy(positive)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1000), n=st.integers(2, 80), ties=st.booleans())
def test_the_area_is_that_of_scikit_learn(seed: int, n: int, ties: bool) -> None:
    scores, positive = drawn(seed, n, ties)
    found = auc(scores, positive)
    assert found.auc == pytest.approx(roc_auc_score(positive, scores), abs=1e-12)
    assert 0 <= found.low <= found.auc <= found.high <= 1


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1000), n=st.integers(2, 80), ties=st.booleans())
def test_the_equal_error_rate_is_where_the_curve_crosses(seed: int, n: int, ties: bool) -> None:
    scores, positive = drawn(seed, n, ties)
    false, right, _ = roc_curve(positive, scores, drop_intermediate=False)
    # The curve by its length, so that upright and level pieces are no jumps.
    length = np.concatenate([[0], np.cumsum(np.abs(np.diff(false)) + np.abs(np.diff(right)))])
    at = brentq(lambda way: 1 - np.interp(way, length, right) - np.interp(way, length, false), 0, length[-1])
    assert equal_error_rate(scores, positive) == pytest.approx(np.interp(at, length, false), abs=1e-9)


def test_perfect_reversed_and_constant_scores() -> None:
    positive = torch.tensor([True, True, False, False])
    best = torch.tensor([4.0, 3, 2, 1])
    assert (auc(best, positive).auc, equal_error_rate(best, positive)) == (1, 0)
    assert (auc(-best, positive).auc, equal_error_rate(-best, positive)) == (0, 1)
    assert (auc(torch.zeros(4), positive).auc, equal_error_rate(torch.zeros(4), positive)) == (0.5, 0.5)


def test_the_interval_is_as_wide_as_resampling_says() -> None:
    scores, positive = drawn(7, 400, ties=False)
    found = auc(scores, positive)
    rng = np.random.default_rng(0)
    high, low = scores[positive].numpy(), scores[~positive].numpy()
    again = [np.mean(rng.choice(high, len(high))[:, None] > rng.choice(low, len(low))[None]) for _ in range(600)]
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(np.std(again), rel=0.12)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    # Two normal distributions a unit apart: the true area is Phi(1 / sqrt 2).
    truth = 0.7602499389
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(300):
        scores = torch.from_numpy(np.concatenate([rng.normal(1, 1, 60), rng.normal(0, 1, 60)]))
        found = auc(scores, torch.arange(120) < 60)
        hits += found.low <= truth <= found.high
    assert 0.91 <= hits / 300 <= 0.98


def test_classes_against_the_rest() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(90) % 3
    logits = torch.randn(90, 3, generator=generator) + torch.nn.functional.one_hot(labels, 3)
    shares = logits.softmax(1).numpy()
    area, rate = against_rest(logits, labels)
    assert area == pytest.approx(roc_auc_score(labels, shares, multi_class="ovr", average="macro"), abs=1e-9)
    assert 0 < rate < 0.5
    two = labels < 2
    pair = logits[two][:, :2]
    area, rate = against_rest(pair, labels[two])
    assert area == pytest.approx(roc_auc_score(labels[two], pair[:, 1] - pair[:, 0]), abs=1e-12)
    assert against_rest(1000 * pair, labels[two]) == pytest.approx((area, rate)), "sure networks are not cut off"


def test_what_cannot_be_measured() -> None:
    positive = torch.tensor([True, False])
    with pytest.raises(DataError, match=r"1 not finite\), 1 positive and 1 negative"):
        auc(torch.tensor([float("nan"), 1]), positive)
    with pytest.raises(DataError, match="2 positive and 0 negative"):
        equal_error_rate(torch.ones(2), torch.ones(2, dtype=torch.bool))
    with pytest.raises(DataError, match="rows of both kinds"):
        against_rest(torch.randn(4, 3), torch.zeros(4, dtype=torch.int64))
