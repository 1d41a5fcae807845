"""Hyper-parameters as a differentiable vector: each kind against its formula, mixtures at their corners, refusals."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from decoct.errors import ConfigError
from decoct.networks.build import network
from decoct.training.flat import FlatNetwork
from decoct.training.hyperparameters import LabelSmoothing, LearningRate, Noise, OperationMixture, WeightDecay
from decoct.training.space import Space


@pytest.fixture(scope="module")
def net():
    return FlatNetwork(network("convnet2-w4", (1, 8, 8), 3, 0))


def test_layers_add_up_to_all_weights_and_each_has_one_matrix(net):
    assert sum(net.layers.values()) == net.count
    assert list(net.layers) == ["blocks.0.weight", "blocks.4.weight", "classifier.weight"]
    assert net.layers["blocks.0.weight"] == 4 * 9 + 4 + 4 + 4


def test_weight_decay_is_half_its_value_times_the_squares_of_each_layer(net):
    kind = WeightDecay(1e-4, 1e-2)
    theta = torch.randn(net.count, generator=torch.Generator().manual_seed(0))
    values = torch.tensor([0.0, 0.5, 1.0])
    parts = [part.square().sum() for part in theta.split(list(net.layers.values()))]
    expected = (1e-4 * parts[0] + 1e-3 * parts[1] + 1e-2 * parts[2]) / 2
    assert torch.allclose(kind.penalty(theta, theta, values, net), expected)
    one = WeightDecay(1e-4, 1e-2, per_layer=False)
    assert torch.allclose(one.penalty(theta, theta, torch.tensor([1.0]), net), 1e-2 * theta.square().sum() / 2)


def test_the_learning_rate_surrogate_stays_as_near_as_that_many_small_steps(net):
    """On a quadratic loss the minimum with the penalty is where gradient descent has come to, for a small step size."""
    matrix, b = (
        torch.diag(torch.tensor([1.0, 3.0], dtype=torch.float64)),
        torch.tensor([1.0, -2.0], dtype=torch.float64),
    )
    start = torch.zeros(2, dtype=torch.float64)
    for rate in (1e-4, 1e-3):
        kind, u = LearningRate(1e-5, 1e-1, steps=20), (math.log(rate) - math.log(1e-5)) / math.log(1e4)
        walked = start.clone()
        for _ in range(20):
            walked = walked - rate * (matrix @ walked - b)
        weight = 1 / (rate * 20)
        reached = torch.linalg.solve(matrix + weight * torch.eye(2, dtype=torch.float64), b + weight * start)
        assert torch.allclose(walked, reached, rtol=3 * 20 * rate)
        found = kind.penalty(reached, start, torch.tensor([u], dtype=torch.float64), net)
        assert float(found) == pytest.approx(float(weight * reached.square().sum() / 2), rel=1e-5)


def test_smoothing_and_noise_are_linear_in_their_values(net):
    y = F.one_hot(torch.tensor([0, 2]), 3).float()
    smooth = LabelSmoothing(0.4).targets(y, torch.tensor([0.5]))
    assert torch.allclose(smooth[0], torch.tensor([0.8 + 0.2 / 3, 0.2 / 3, 0.2 / 3]))
    x = torch.zeros(2, 1, 8, 8)
    once, twice = (Noise(2.0).inputs(x, torch.tensor([u])) for u in (0.25, 0.5))
    assert torch.allclose(2 * once, twice)
    assert float(twice.std()) == pytest.approx(1.0, abs=0.15)


def test_a_corner_of_a_mixture_is_nearly_its_operation_and_the_middle_is_the_mean(net):
    kind = OperationMixture(("identity", "mirror", "invert"))
    x = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    nearly = kind.inputs(x, torch.tensor([0.0, 1.0, 0.0]))
    assert float((nearly - x.flip(-1)).norm() / x.norm()) < 0.05
    assert torch.allclose(kind.inputs(x, torch.full((3,), 0.5)), (x + x.flip(-1) - x) / 3, atol=1e-6)
    assert sorted(map(tuple, kind.corners(net))) == [(0, 0, 1), (0, 1, 0), (1, 0, 0)]


def test_a_space_is_its_kinds_one_after_the_other(net):
    space = Space((WeightDecay(), OperationMixture(), LabelSmoothing()))
    assert len(space.names(net)) == 3 + 3 + 1
    generator = torch.Generator().manual_seed(0)
    candidates = space.candidates(net, 50, generator)
    assert candidates.shape == (50, 7)
    assert torch.equal(candidates[:, 3:6].sum(1), torch.ones(50))
    assert set(candidates[:, 3:6].flatten().tolist()) == {0.0, 1.0}
    starts = space.starts(net, 6, generator)
    assert starts.shape == (6, 7)
    assert torch.equal(starts[:, 3:6].sum(0), torch.full((3,), 2.0)), "every choice as often"
    with pytest.raises(ConfigError, match=r"2 values.*\n.*7: weight decay of blocks.0.weight"):
        space.penalty(net, torch.zeros(2), torch.zeros(net.count), torch.zeros(net.count))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: WeightDecay(0.1, 0.01), "0 < low < high"),
        (lambda: LearningRate(steps=0), "1 step or more"),
        (lambda: LabelSmoothing(1.0), r"in \(0, 1\)"),
        (lambda: Noise(0.0), "above 0"),
        (lambda: OperationMixture(("identity", "swirl")), "two or more of identity, blur"),
        (lambda: Space(()), "at least one"),
        (lambda: OperationMixture().inputs(torch.zeros(2, 5), torch.zeros(3)), "leave OperationMixture out"),
    ],
)
def test_what_cannot_work_is_refused(make, said):
    with pytest.raises(ConfigError, match=said):
        make()
