"""Mixup and CutMix: shares of images and of targets are the same."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from decoct.augment.mixing import cutmix, mixup
from decoct.errors import ConfigError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def marked(count: int, shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Image i holds i everywhere, and its target is class i: what is mixed can be read off the pixels."""
    x = torch.arange(count, dtype=torch.float64).reshape(-1, *[1] * len(shape)).expand(count, *shape).clone()
    return x, torch.eye(count, dtype=torch.float64)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), side=st.integers(1, 9), alpha=st.sampled_from([0.2, 1.0, 4.0]))
def test_cutmix_targets_are_the_area_of_the_clipped_box(seed, side, alpha):
    x, targets = marked(5, (2, side, 7))
    mixed, soft = cutmix(x, targets, generator(seed), alpha, probability=1.0)
    torch.testing.assert_close(soft.sum(1), torch.ones(5).double())
    areas = F.one_hot(mixed[:, 0].long(), 5).double().mean((1, 2))
    torch.testing.assert_close(soft, areas)
    assert torch.equal(mixed[:, 0], mixed[:, 1])


def test_cutmix_pastes_one_box():
    x, targets = marked(4, (1, 9, 9))
    for seed in range(10):
        mixed, _ = cutmix(x, targets, generator(seed), probability=1.0)
        changed = (mixed != x)[:, 0].any(0)
        rows, columns = changed.any(1), changed.any(0)
        assert torch.equal(changed, rows[:, None] & columns[None, :])
        for line in (rows, columns):
            assert (line.int().diff() != 0).sum() <= 2


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31), shape=st.sampled_from([(3, 4, 4), (6,)]))
def test_mixup_mixes_targets_as_inputs(seed, shape):
    x, targets = marked(6, shape)
    mixed, soft = mixup(x, targets, generator(seed))
    torch.testing.assert_close(soft.sum(1), torch.ones(6).double())
    torch.testing.assert_close(mixed.flatten(1)[:, 0], soft @ torch.arange(6.0).double())


def test_shares_follow_the_beta_distribution():
    x, targets = torch.tensor([[0.0], [1.0]]), torch.eye(2)
    for alpha, variance in ((1.0, 1 / 12), (4.0, 1 / 36)):
        gen, shares = generator(1), []
        for _ in range(600):
            _, soft = mixup(x, targets, gen, alpha)
            shares.append(float(soft[0, 0]))
        mixed = torch.tensor([share for share in shares if share < 1])
        assert abs(mixed.mean() - 0.5) < 0.05
        assert mixed.var() == pytest.approx(variance, rel=0.25)


def test_probability_and_draws():
    x, targets = marked(4, (1, 6, 6))
    gen, changed = generator(0), 0
    for _ in range(200):
        changed += int(not torch.equal(cutmix(x, targets, gen, probability=0.5)[1], targets))
    assert 60 < changed < 120
    ends = []
    for probability in (0.0, 1.0):
        gen = generator(2)
        out, soft = cutmix(x, targets, gen, probability=probability)
        ends.append(gen.get_state())
        if probability == 0:
            assert torch.equal(out, x)
            assert torch.equal(soft, targets)
    assert torch.equal(*ends)


@pytest.mark.parametrize("mix", [mixup, lambda x, t, g: cutmix(x, t, g, probability=1.0)])
def test_a_seed_is_a_seed_and_gradients_flow(mix):
    x, targets = torch.randn(5, 2, 6, 6, generator=generator(7)).requires_grad_(), torch.eye(5)
    before = torch.random.get_rng_state()
    first, second = mix(x, targets, generator(3)), mix(x, targets, generator(3))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert torch.equal(before, torch.random.get_rng_state())
    (slope,) = torch.autograd.grad(first[0].sum(), x)
    torch.testing.assert_close(slope.sum(), torch.tensor(float(x.numel())))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda g: cutmix(torch.zeros(3, 5), torch.eye(3), g), r"inputs \[3, 5\][\s\S]*use mixup for features"),
        (lambda g: cutmix(torch.zeros(3, 1, 2, 2), torch.eye(3), g, probability=1.5), "probability 1.5"),
        (lambda g: mixup(torch.zeros(3, 5), torch.eye(3), g, alpha=0.0), "alpha 0.0\n  expected: a positive number"),
        (lambda g: cutmix(torch.zeros(3, 1, 2, 2), torch.eye(3), g, alpha=-1.0), "use alpha=1.0"),
    ],
)
def test_what_cannot_be_mixed_says_why(call, text):
    with pytest.raises(ConfigError, match=text):
        call(generator())
