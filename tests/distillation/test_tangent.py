"""The tangent kernel against random networks, a plain recursion, scikit-learn and finite differences."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from toys import blob_features, blob_images

from decoct.augment.siamese import Siamese
from decoct.distillation.objective.ridge import kernel_predict
from decoct.distillation.objective.tangent import Tangent, own_kernel, tangent_kernel
from decoct.distillation.problem import Problem, RealSource, Synthetic
from decoct.errors import ConfigError
from decoct.streams import Streams


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _plain(x: np.ndarray, z: np.ndarray, depth: int, w: float, b: float) -> float:
    """The textbook recursion for one pair, with 2 x 2 covariances and arccos."""
    cov = np.array([[x @ x, x @ z], [x @ z, z @ z]]) * w**2 / len(x) + b**2
    ntk = cov[0, 1]
    for _ in range(depth):
        scale = math.sqrt(cov[0, 0] * cov[1, 1])
        t = math.acos(max(-1.0, min(1.0, cov[0, 1] / scale)))
        cross = w**2 * scale * (math.sin(t) + (math.pi - t) * math.cos(t)) / (2 * math.pi) + b**2
        cov = np.array([[w**2 * cov[0, 0] / 2 + b**2, cross], [cross, w**2 * cov[1, 1] / 2 + b**2]])
        ntk = cross + w**2 * ntk * (math.pi - t) / (2 * math.pi)
    return ntk


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize(("w", "b"), [(math.sqrt(2), 0.1), (1, 0), (1.3, 0.7)])
def test_equals_the_textbook_recursion(depth, w, b):
    left, right = _random(4, 6), 3 * _random(5, 6, seed=1)
    expected = [[_plain(x, z, depth, w, b) for z in right.numpy()] for x in left.numpy()]
    assert np.allclose(tangent_kernel(left, right, depth, w, b).numpy(), expected, rtol=1e-10)
    expected = [[_plain(x, z, depth, w, b) for z in left.numpy()] for x in left.numpy()]
    assert np.allclose(own_kernel(left, depth, w, b).numpy(), expected, rtol=1e-6)


def test_is_the_limit_of_wide_networks():
    """The empirical tangent kernel of finite networks in the NTK parametrisation, averaged over draws."""
    x, width, draws, w, b = _random(3, 5), 400, 40, math.sqrt(2), 0.3
    total = torch.zeros(3, 3, dtype=torch.float64)
    generator = torch.Generator().manual_seed(3)
    sizes = [5, width, width, 1]
    for _ in range(draws):
        weights = [
            torch.randn(j, i, generator=generator, dtype=torch.float64, requires_grad=True) for i, j in pairwise(sizes)
        ]
        biases = [torch.randn(j, generator=generator, dtype=torch.float64, requires_grad=True) for j in sizes[1:]]
        rows = []
        for row in x:
            hidden = row
            for layer, (matrix, bias) in enumerate(zip(weights, biases, strict=True)):
                hidden = w / math.sqrt(matrix.shape[1]) * matrix @ (hidden.relu() if layer else hidden) + b * bias
            gradient = torch.autograd.grad(hidden.sum(), [*weights, *biases])
            rows.append(torch.cat([part.flatten() for part in gradient]))
        jacobian = torch.stack(rows)
        total += jacobian @ jacobian.T / draws
    kernel = tangent_kernel(x, x, 2, w, b)
    assert torch.allclose(total, kernel, rtol=0.05)


@pytest.mark.parametrize("b", [0.0, 0.4])
def test_gradients_are_those_of_finite_differences(b):
    left, right = _random(2, 4).requires_grad_(), _random(3, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, c: tangent_kernel(a, c, 3, 1.4, b), (left, right))
    assert torch.autograd.gradcheck(lambda a: own_kernel(a, 2, 1.4, b), (right,))


@pytest.mark.parametrize("distance", [1e-2, 1e-4, 1e-6])
def test_gradients_of_inputs_that_nearly_coincide(distance):
    """One hidden layer without bias has its angle in closed form from the difference of the unit vectors."""
    base, step = _random(6), _random(6, seed=1)
    near = (base + distance * step).requires_grad_()
    kernel = tangent_kernel(base[None], near[None], 1, math.sqrt(2), 0.0)
    (found,) = torch.autograd.grad(kernel.sum(), near)

    free = near.detach().clone().requires_grad_()
    u, v = base / base.norm(), free / free.norm()
    t = 2 * torch.atan2((u - v).norm(), (u + v).norm())
    size = base.norm() * free.norm() / 6
    exact = 2 * size * ((t.sin() + (math.pi - t) * t.cos()) + t.cos() * (math.pi - t)) / math.pi
    (expected,) = torch.autograd.grad(exact, free)
    assert kernel.item() == pytest.approx(exact.item(), rel=1e-9)
    assert torch.allclose(found, expected, rtol=0, atol=1e-3 * float(expected.norm()))


def test_equal_opposite_and_empty_inputs_have_finite_gradients():
    """A synthetic row starts as a real one: the derivative of arccos at 1 must not make it NaN."""
    rows = _random(3, 5)
    rows[2] = 0
    same = rows.clone().requires_grad_()
    for sigma_b in (0, 0.1):
        for other in (rows, -rows):
            (found,) = torch.autograd.grad(tangent_kernel(other, same, 2, 1.4, sigma_b).sum(), same)
            assert torch.isfinite(found).all()
        (found,) = torch.autograd.grad(own_kernel(same, 2, 1.4, sigma_b).sum(), same)
        assert torch.isfinite(found).all()


def test_the_solve_equals_scikit_learn():
    test, train, labels = _random(5, 6), _random(7, 6, seed=1), _random(7, 3, seed=2)
    kernel, cross = own_kernel(train, 2, 1.4, 0.1), tangent_kernel(test, train, 2, 1.4, 0.1)
    alpha: Any = 0.05 * float(kernel.trace()) / 7
    reference = KernelRidge(alpha=alpha, kernel="precomputed")
    expected = reference.fit(kernel.numpy(), labels.numpy()).predict(cross.numpy())
    assert np.allclose(kernel_predict(cross, kernel, labels, 0.05).numpy(), expected, atol=1e-9)


@pytest.mark.parametrize("data", [blob_images(classes=3), blob_features(classes=3)], ids=["images", "features"])
def test_the_loss_is_the_one_of_the_paper(data):
    problem = Problem(data, 1, "mlp-w8", "cpu", "", 0.0)
    images = data.inputs(data.train, torch.arange(3)).requires_grad_(True)
    targets = torch.randn(3, 3, generator=torch.Generator().manual_seed(1)).requires_grad_(True)
    real = RealSource(data, "cpu", torch.Generator().manual_seed(2))
    state = Tangent(real_batch=8, depth=2, reg=0.01).init(problem, Streams(0))
    loss = state.loss(Synthetic(images, targets, torch.arange(3)), real)
    loss.backward()
    rows, labels = RealSource(data, "cpu", torch.Generator().manual_seed(2)).batch(8)
    s, t = (x.detach().double().flatten(1).numpy() for x in (images, rows))
    kss = np.array([[_plain(a, c, 2, math.sqrt(2), 0.1) for c in s] for a in s])
    kts = np.array([[_plain(a, c, 2, math.sqrt(2), 0.1) for c in s] for a in t])
    predicted = kts @ np.linalg.solve(kss + 0.01 * np.trace(kss) / 3 * np.eye(3), targets.detach().double().numpy())
    expected = 0.5 * ((predicted - np.eye(3)[labels] + 1 / 3) ** 2).sum(1).mean()
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert images.grad is not None
    assert targets.grad is not None
    assert torch.isfinite(images.grad).all()


def test_both_sides_are_seen_under_one_augmentation():
    data = blob_images(classes=3)
    problem = Problem(data, 1, "mlp-w8", "cpu", "crop_scale", 0.0)
    made, classes = data.inputs(data.train, torch.arange(3)), torch.arange(3)
    targets = torch.eye(3)

    def loss(images: torch.Tensor, real: RealSource, **settings: Any) -> float:
        state = Tangent(real_batch=8, reg=0.1, **settings).init(problem, Streams(5))
        return state.loss(Synthetic(images, targets, classes), real).item()

    rows, labels = RealSource(data, "cpu", torch.Generator().manual_seed(2)).batch(8)
    siamese = Siamese("crop_scale")
    drawn = siamese.draw(1, problem.shape, Streams(5)("augmentation"))

    class Seen(RealSource):
        def batch(self, count: int) -> Any:
            return siamese.apply(rows, drawn), labels

    seen = Seen(data, "cpu", torch.Generator())
    found = loss(made, RealSource(data, "cpu", torch.Generator().manual_seed(2)), augmented=True)
    assert found == pytest.approx(loss(siamese.apply(made, drawn), seen), rel=1e-6)
    assert found != pytest.approx(loss(made, RealSource(data, "cpu", torch.Generator().manual_seed(2))), rel=1e-6)


def test_impossible_settings_raise():
    with pytest.raises(ConfigError, match="depth=0.*\n.*depth of at least 1"):
        Tangent(depth=0)
