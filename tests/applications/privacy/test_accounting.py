"""The accountant: opacus's own numbers, the closed form of the Gaussian mechanism, the noise that a target needs."""

from __future__ import annotations

import builtins
import math
import warnings

import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from decoct.applications.privacy.accounting import Release, epsilon, noise_for
from decoct.errors import ConfigError, MissingExtraError

pytest.importorskip("opacus")


def gaussian_epsilon(noise: float, times: int, delta: float) -> float:
    """The exact epsilon of `times` full releases: Balle and Wang, 2018, theorem 8, with sensitivity sqrt(times)."""
    mu = math.sqrt(times) / noise

    def missing(eps: float) -> float:
        return norm.cdf(mu / 2 - eps / mu) - math.exp(eps) * norm.cdf(-mu / 2 - eps / mu) - delta

    return brentq(missing, 0, 200)


@pytest.mark.parametrize(("noise", "times"), [(2.0, 1), (5.0, 10), (20.0, 100)])
def test_without_sampling_it_is_the_gaussian_mechanism(noise, times):
    exact = gaussian_epsilon(noise, times, 1e-5)
    tight, loose = (epsilon([Release(noise, 1.0, times)], 1e-5, way) for way in ("prv", "rdp"))
    assert exact <= tight + 1e-6 <= exact + 0.03
    assert exact <= loose <= 1.25 * exact


def test_both_are_what_opacus_says_of_the_same_history():
    from opacus.accountants import PRVAccountant, RDPAccountant

    for way, kind in (("prv", PRVAccountant), ("rdp", RDPAccountant)):
        theirs = kind()
        for _ in range(50):
            theirs.step(noise_multiplier=1.1, sample_rate=0.01)
        theirs.step(noise_multiplier=4.0, sample_rate=1.0)
        ours = epsilon([Release(1.1, 0.01, 50), Release(4.0, 1.0, 1)], 1e-5, way)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # opacus takes the logarithm of 0 where every row takes part
            assert ours == pytest.approx(theirs.get_epsilon(1e-5))


def test_a_smaller_share_more_noise_and_fewer_releases_cost_less():
    base = epsilon([Release(1.0, 0.1, 50)], 1e-5, "rdp")
    for cheaper in (Release(1.0, 0.05, 50), Release(2.0, 0.1, 50), Release(1.0, 0.1, 25)):
        assert epsilon([cheaper], 1e-5, "rdp") < base
    assert epsilon([Release(1.0, 0.1, 50), Release(10.0, 1.0, 1)], 1e-5, "rdp") > base


def test_the_noise_for_a_target_is_the_least_that_is_enough():
    others = [Release(10.0, 1.0, 1)]
    noise = noise_for(4.0, 1e-5, 0.2, 100, others)
    assert epsilon([*others, Release(noise, 0.2, 100)], 1e-5, "rdp") <= 4.0
    assert epsilon([*others, Release(0.99 * noise, 0.2, 100)], 1e-5, "rdp") > 4.0


def test_impossible_requests():
    for release in (Release(0.0, 0.1, 1), Release(1.0, 0.0, 1), Release(1.0, 1.5, 1), Release(1.0, 0.1, 0)):
        with pytest.raises(ConfigError, match="noise > 0, rate in"):
            epsilon([release], 1e-5)
    with pytest.raises(ConfigError, match="delta"):
        epsilon([Release(1.0, 0.1, 1)], 1.0)
    with pytest.raises(ConfigError, match="at least one"):
        epsilon([], 1e-5)
    with pytest.raises(ConfigError, match=r"noise 10000(.|\n)*class sizes"):
        noise_for(0.5, 1e-5, 0.2, 10, [Release(0.5, 1.0, 1)])


def test_without_opacus_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **named):
        if name.startswith("opacus"):
            raise ImportError("No module named 'opacus'")
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"decoct\[privacy\]"):
        epsilon([Release(1.0, 0.1, 1)], 1e-5)
