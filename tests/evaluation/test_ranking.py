"""Rank correlations against scipy, intervals that cover, regret by hand, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr

from decoct.errors import DataError
from decoct.evaluation.ranking import agreement, kendall, regret, spearman, spearman_gain

LISTS = st.integers(3, 12).flatmap(
    lambda n: st.tuples(*(st.lists(st.integers(0, 5).map(float), min_size=n, max_size=n) for _ in range(2)))
)


@settings(deadline=None, max_examples=60)
@given(LISTS)
def test_both_correlations_are_those_of_scipy_with_ties(pair):
    a, b = map(np.array, pair)
    if len(set(a)) > 1 and len(set(b)) > 1:
        assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)
        assert kendall(a, b) == pytest.approx(kendalltau(a, b).statistic, abs=1e-12)
    else:
        assert spearman(a, b) == kendall(a, b) == 0.0


def test_regret_is_what_the_choice_loses():
    truth = np.array([0.5, 0.9, 0.7])
    assert regret(np.array([1.0, 2.0, 3.0]), truth) == pytest.approx(0.2)
    assert regret(truth, truth) == 0.0
    found = agreement(np.array([[1.0, 2.0, 3.0]]), truth[None])
    assert (found.chosen, found.items) == (2, 3)


def test_the_interval_of_the_correlation_covers_that_of_the_population():
    """Scores with a correlation of 0.8 in the population: nearly all intervals cover its Spearman."""
    rng = np.random.default_rng(0)
    expected = 6 / np.pi * np.arcsin(0.8 / 2)
    covered = 0
    for trial in range(25):
        truth = rng.normal(size=60)
        scores = 0.8 * truth + 0.6 * rng.normal(size=60)
        low, high = agreement(scores[None], truth[None], seed=trial).spearman.interval or (0, 0)
        covered += low <= expected <= high
    assert covered >= 21


def test_more_noise_between_runs_gives_wider_intervals():
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(1, 30))
    widths = []
    for noise in (0.01, 2.0):
        found = agreement(truth + noise * rng.normal(size=(4, 30)), truth)
        low, high = found.spearman.interval or (0, 0)
        widths.append(high - low)
    assert widths[1] > 3 * widths[0]


def test_runs_that_rank_alone_are_averaged_after_ranking():
    truth = np.array([[1.0, 2.0, 3.0]])
    scores = np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [1.0, 2.0, 30.0]])
    assert agreement(scores, truth).spearman.value == 1.0
    alone = agreement(scores, truth, runs="alone")
    assert alone.spearman.value == pytest.approx(1 / 3)
    assert alone.regret.value == pytest.approx(2 / 3)
    paired = agreement(scores, scores, runs="paired")
    assert (paired.spearman.value, paired.regret.value) == (1.0, 0.0)
    with pytest.raises(DataError, match="of the same runs if paired"):
        agreement(scores, truth, runs="paired")


def test_a_gain_is_told_where_the_two_intervals_overlap():
    """Items that are hard to place are so for both, and fall out of the difference."""
    rng = np.random.default_rng(3)
    truth = rng.normal(size=(1, 90))
    good = truth + 0.9 * rng.normal(size=90) + 0.05 * rng.normal(size=(3, 90))
    worse = good + 0.5 * rng.normal(size=(3, 90))
    one, other = agreement(good, truth, runs="alone").spearman, agreement(worse, truth, runs="alone").spearman
    assert one.interval is not None
    assert other.interval is not None
    assert other.interval[1] > one.interval[0]
    gain, back = spearman_gain(good, worse, truth), spearman_gain(worse, good, truth)
    assert gain.value == pytest.approx(one.value - other.value)
    assert gain.interval is not None
    assert 0 < gain.interval[0] < gain.value < gain.interval[1]
    assert back.interval == pytest.approx((-gain.interval[1], -gain.interval[0]))
    same = spearman_gain(good, good, truth)
    assert (same.value, same.interval) == (0, (0, 0))
    assert spearman_gain(good[:, :7], worse[:, :7], truth[:, :7]).interval is None
    with pytest.raises(DataError, match="of the same runs if paired"):
        spearman_gain(good, worse[:2], truth)


def test_the_gain_of_equal_tables_holds_nothing_but_chance():
    """Two tables of one kind: nearly all intervals of their difference hold 0."""
    rng, held = np.random.default_rng(4), 0
    for trial in range(25):
        truth = rng.normal(size=(1, 40))
        first, second = (truth + rng.normal(size=(2, 40)) for _ in range(2))
        low, high = spearman_gain(first, second, truth, seed=trial).interval or (1, 1)
        held += low <= 0 <= high
    assert held >= 21


def test_too_few_items_have_no_interval_and_one_run_no_spread_of_regret():
    rng = np.random.default_rng(2)
    few = agreement(rng.normal(size=(3, 5)), rng.normal(size=(3, 5)))
    assert few.spearman.interval is None
    assert few.kendall.interval is None
    assert few.regret.interval is not None
    single = agreement(rng.normal(size=(1, 20)), rng.normal(size=(1, 20)))
    assert single.regret.interval is None
    assert single.spearman.interval is not None


@pytest.mark.parametrize(
    ("scores", "truth", "said"),
    [
        (np.zeros((1, 2)), np.zeros((1, 2)), "of at least 3"),
        (np.zeros((1, 4)), np.zeros((1, 5)), r"scores \[1, 4\] and truth \[1, 5\]"),
        (np.zeros((0, 4)), np.zeros((1, 4)), "same items"),
        (np.full((1, 4), np.nan), np.zeros((1, 4)), "not finite"),
    ],
)
def test_tables_that_cannot_be_compared_are_refused(scores, truth, said):
    with pytest.raises(DataError, match=said):
        agreement(scores, truth)
