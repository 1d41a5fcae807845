"""The scaling law: planted exponents come back inside their intervals; fronts and trades by brute force."""

from __future__ import annotations

import numpy as np
import pytest

from decoct.analysis.law import equivalent, fit_law, pareto_front
from decoct.errors import DataError
from decoct.evaluation import statistics

NS, KS = (1, 3, 10, 30), (1, 2, 5, 10)


def runs(alpha: float, beta: float, scale: float, floor: float, noise: float, seed: int, seeds: int = 3):
    rng = np.random.default_rng(seed)
    cells = [(n, k) for n in NS for k in KS for _ in range(seeds)]
    clean = [floor + scale * n**-alpha * k**-beta for n, k in cells]
    return [n for n, _ in cells], [k for _, k in cells], [e * np.exp(noise * rng.normal()) for e in clean]


@pytest.mark.parametrize("floor", [0.0, 0.08])
def test_planted_exponents_are_recovered(floor: float) -> None:
    law = fit_law(*runs(0.6, 0.25, 0.7, floor, 0.0005, 0))
    assert law.alpha == pytest.approx(0.6, abs=0.02)
    assert law.beta == pytest.approx(0.25, abs=0.02)
    assert law.scale == pytest.approx(0.7, abs=0.02)
    assert law.floor == pytest.approx(floor, abs=0.01)
    assert law.doubling == pytest.approx(2 ** (0.25 / 0.6), abs=0.05)


def test_intervals_cover_about_as_often_as_they_say() -> None:
    covered = {"alpha": 0, "beta": 0}
    for seed in range(40):
        law = fit_law(*runs(0.5, 0.2, 0.6, 0.0, 0.05, seed))
        for name, truth in (("alpha", 0.5), ("beta", 0.2)):
            low, high = law.intervals[name] or (0, 0)
            assert low < getattr(law, name) < high
            covered[name] += low <= truth <= high
    assert min(covered.values()) >= 33  # 38 are expected of 40


def seeded(seed: int, noise: float, share: float, seeds: int = 4):
    """Runs of which a share of the variance is common to all k of one n and seed: the same images and expert."""
    rng = np.random.default_rng(seed)
    n, k, error, of = [], [], [], []
    for s in range(seeds):
        for images in NS:
            common = rng.normal()
            for entries in KS:
                chance = share**0.5 * common + (1 - share) ** 0.5 * rng.normal()
                n.append(images)
                k.append(entries)
                error.append(0.6 * images**-0.5 * entries**-0.2 * np.exp(noise * chance))
                of.append(s)
    return n, k, error, of


@pytest.mark.parametrize("share", [0.9, 0.0])
def test_intervals_cover_where_runs_of_one_seed_go_together(share: float) -> None:
    """Of 100 with a share of 0.9, those that count every run for itself cover alpha 60 times."""
    covered = {"alpha": 0, "beta": 0}
    for seed in range(100):
        law = fit_law(*seeded(seed, 0.05, share))
        for name, truth in (("alpha", 0.5), ("beta", 0.2)):
            low, high = law.intervals[name] or (0, 0)
            covered[name] += low <= truth <= high
    assert min(covered.values()) >= 88


def test_where_all_seeds_have_the_same_cells_intervals_are_those_of_powers_fitted_seed_by_seed() -> None:
    n, k, error, of = map(np.array, seeded(3, 0.05, 0.9))
    law = fit_law(n.tolist(), k.tolist(), error.tolist(), of.tolist())
    assert (law.floor, law.by_seed) == (0.0, True)
    plane = np.stack([np.ones(16), -np.log(n[of == 0]), -np.log(k[of == 0])], 1)
    powers = np.stack([np.linalg.lstsq(plane, np.log(error[of == s]), rcond=None)[0] for s in range(4)])
    for place, name in ((1, "alpha"), (2, "beta")):
        assert law.intervals[name] == pytest.approx(statistics.interval(powers[:, place].tolist()), rel=1e-4)


def test_two_seeds_count_every_run_for_itself() -> None:
    n, k, error, of = seeded(3, 0.05, 0.9, seeds=2)
    law = fit_law(n, k, error, of)
    assert law == fit_law(n, k, error)
    assert not law.by_seed


def test_more_runs_make_intervals_narrower() -> None:
    few, many = (fit_law(*runs(0.5, 0.2, 0.6, 0.0, 0.05, 1, seeds)).intervals["alpha"] for seeds in (1, 8))
    assert few is not None
    assert many is not None
    assert many[1] - many[0] < 0.6 * (few[1] - few[0])


def test_iso_accuracy_is_the_law_turned_round() -> None:
    law = fit_law(*runs(0.6, 0.25, 0.7, 0.05, 0.0005, 0))
    for k in (1, 4, 10):
        n = law.images_for(0.3, k)
        assert n is not None
        assert law.error(n, k) == pytest.approx(0.3)
    assert law.images_for(law.floor, 1) is None


@pytest.mark.parametrize(
    ("n", "k", "error"),
    [([1, 2, 4], [1, 1, 2], [0.5, 0.4, 0.3]), ([1] * 8, [1, 2] * 4, [0.5] * 8), ([1, 2] * 4, [1] * 8, [0.5] * 8)],
)
def test_too_few_runs_are_refused(n: list[int], k: list[int], error: list[float]) -> None:
    with pytest.raises(DataError, match="(?s)fitting the scaling law.*at least 6 runs.*more seeds"):
        fit_law(n, k, error)


def test_errors_of_zero_do_not_break_the_fit() -> None:
    n, k, error = runs(0.6, 0.25, 0.7, 0.0, 0.01, 0)
    error[-1] = 0.0
    assert np.isfinite(fit_law(n, k, error).alpha)


@pytest.mark.parametrize("kinds", [1, 2, 3])
def test_the_front_is_what_nothing_beats(kinds: int) -> None:
    rng = np.random.default_rng(kinds)
    costs, gains = rng.integers(0, 6, (60, kinds)).astype(float), rng.integers(0, 6, 60).astype(float)

    def beaten(i: int) -> bool:
        for j in range(60):
            no_worse = all(costs[j, d] <= costs[i, d] for d in range(kinds)) and gains[j] >= gains[i]
            if no_worse and (gains[j] > gains[i] or any(costs[j, d] < costs[i, d] for d in range(kinds))):
                return True
        return False

    assert pareto_front(costs, gains).tolist() == [not beaten(i) for i in range(60)]


def test_how_many_images_reach_an_accuracy() -> None:
    n, accuracy = (1, 10, 100), (0.2, 0.6, 0.5)
    assert equivalent(n, accuracy, 0.2) == pytest.approx(1)
    assert equivalent(n, accuracy, 0.4) == pytest.approx(10**0.5)
    assert equivalent(n, accuracy, 0.6) == pytest.approx(10)
    assert equivalent(n, accuracy, 0.61) is None
    assert equivalent(n, accuracy, 0.19) is None
