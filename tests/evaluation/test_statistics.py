"""Mean and interval against closed forms."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decoct.evaluation.statistics import half_width, interval, mean, show_percent


def test_two_values_have_the_interval_of_the_cauchy_distribution() -> None:
    # One degree of freedom: the quantile of t is tan(pi (p - 1/2)); s / sqrt(2) of (a, b) is |a - b| / 2.
    expected = math.tan(math.pi * 0.475) * 0.1
    assert half_width([0.5, 0.7]) == pytest.approx(expected, rel=1e-9)
    low, high = interval([0.5, 0.7]) or (0.0, 0.0)
    assert (low, high) == pytest.approx((0.6 - expected, 0.6 + expected))


def test_three_values_match_the_closed_form_of_two_degrees_of_freedom() -> None:
    # Two degrees of freedom: t = x / sqrt(2 p (1 - p)) with x = 2 p - 1 at p = 0.975, divided by sqrt(2) once more.
    p = 0.975
    quantile = (2 * p - 1) / math.sqrt(2 * p * (1 - p))
    values = [0.1, 0.2, 0.6]
    spread = math.sqrt(sum((v - 0.3) ** 2 for v in values) / 2)
    assert half_width(values) == pytest.approx(quantile * spread / math.sqrt(3), rel=1e-9)


def test_five_values_use_the_tabulated_quantile() -> None:
    values = [0.80, 0.82, 0.84, 0.86, 0.88]
    spread = math.sqrt(0.001)
    assert half_width(values) == pytest.approx(2.7764451 * spread / math.sqrt(5), rel=1e-7)


def test_one_value_has_a_mean_and_no_interval() -> None:
    assert mean([0.8]) == 0.8
    assert interval([0.8]) is None
    assert half_width([0.8]) is None


def test_percent_appears_only_when_printed() -> None:
    assert show_percent([0.841]) == "84.1"
    assert show_percent([0.5, 0.7]) == "60.0 ± 127.1"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.floats(-1, 1), st.floats(0.1, 3))
def test_interval_follows_shift_and_scale(values: list[float], shift: float, scale: float) -> None:
    moved = half_width([shift + scale * v for v in values])
    plain = half_width(values)
    assert plain is not None
    assert moved is not None
    assert moved == pytest.approx(scale * plain, abs=1e-9)
    assert mean([shift + v for v in values]) == pytest.approx(shift + mean(values), abs=1e-12)
