"""The ridge objective against scikit-learn, closed forms and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from toys import blob_images

from decoct.distillation.objective.ridge import Ridge, ridge_predict
from decoct.distillation.problem import Problem, RealSource, Synthetic
from decoct.errors import DivergenceError
from decoct.networks.build import network
from decoct.networks.embedding import embed
from decoct.streams import Streams, derive_seed


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("rows", "width"), [(6, 15), (15, 6), (8, 8)])
def test_equals_scikit_learn(rows, width):
    test, train, labels = _random(5, width), _random(rows, width, seed=1), _random(rows, 3, seed=2)
    reg = 0.1
    alpha = reg * float(train.square().sum()) / rows
    reference = KernelRidge(alpha=alpha, kernel="linear").fit(train.numpy(), labels.numpy()).predict(test.numpy())
    assert np.allclose(ridge_predict(test, train, labels, reg).numpy(), reference, atol=1e-10)


def test_interpolates_its_own_rows_without_ridge():
    train, labels = _random(4, 9), _random(4, 2, seed=3)
    assert torch.allclose(ridge_predict(train, train, labels, 1e-12), labels, atol=1e-6)


@pytest.mark.parametrize(("rows", "width"), [(3, 5), (5, 3)])
def test_gradients_are_those_of_finite_differences(rows, width):
    test, train, labels = _random(2, width), _random(rows, width, seed=1), _random(rows, 2, seed=2)
    assert torch.autograd.gradcheck(
        lambda a, b: ridge_predict(test, a, b, 0.2), (train.requires_grad_(), labels.requires_grad_())
    )


def test_equal_rows_need_a_larger_ridge_and_still_give_an_answer():
    train = torch.ones(4, 6, dtype=torch.float64)
    predicted = ridge_predict(train, train, torch.tensor([[1.0], [0.0], [1.0], [0.0]]), 0.0)
    assert torch.allclose(predicted, torch.full((4, 1), 0.5, dtype=torch.float64), atol=1e-3)


def test_features_that_are_not_finite_raise():
    with pytest.raises(
        DivergenceError, match="not positive definite.*\n.*finite features.*\n.*lower the learning rate"
    ):
        ridge_predict(torch.ones(1, 2), torch.full((3, 2), torch.nan), torch.ones(3, 1), 1e-6)


def test_the_loss_is_the_one_of_the_textbook():
    """The whole objective, once, written out for one step: pool member, embeddings, regression, squared error."""
    data = blob_images(classes=3)
    problem = Problem(data, 2, "convnet2-w4", "cpu", "", 0.0)
    state = Ridge(real_batch=9, pool=2, bfloat16=False).init(problem, Streams(5))
    images = data.inputs(data.train, torch.arange(6)).requires_grad_(True)
    targets = torch.randn(6, 3, generator=torch.Generator().manual_seed(1)).requires_grad_(True)
    real = RealSource(data, "cpu", torch.Generator().manual_seed(2))
    loss = state.loss(Synthetic(images, targets, torch.arange(6) % 3), real)
    loss.backward()

    same = RealSource(data, "cpu", torch.Generator().manual_seed(2))
    rows, labels = same.batch(9)
    member = int(torch.randint(2, (1,), generator=Streams(5)("pool")))
    module = network("convnet2-w4", (1, 8, 8), 3, derive_seed(5, "pool", member))
    free, soft = images.detach().clone().requires_grad_(True), targets.detach().clone().requires_grad_(True)
    hs, ht = embed(module, free).double(), embed(module, rows).double().detach()
    kernel = hs @ hs.T
    solved = torch.linalg.inv(kernel + 1e-6 * kernel.trace() / 6 * torch.eye(6)) @ soft.double()
    wanted = torch.eye(3)[labels] - 1 / 3
    expected = 0.5 * ((ht @ hs.T @ solved - wanted) ** 2).sum(1).mean()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    assert images.grad is not None
    assert free.grad is not None
    assert torch.allclose(images.grad, free.grad, atol=1e-4 * float(free.grad.abs().max()))


def test_the_pool_trains_one_network_a_step_and_renews_old_ones():
    data = blob_images(classes=3)
    problem = Problem(data, 1, "convnet2-w4", "cpu", "", 0.0)
    state = Ridge(real_batch=6, pool=2, max_age=2).init(problem, Streams(0))
    pool = state._pool  # type: ignore[attr-defined]
    assert pool.ages == [0, 1], "ages are staggered"
    images, targets = data.inputs(data.train, torch.arange(3)), torch.eye(3) - 1 / 3
    first = {name: value.clone() for name, value in pool.modules[0].state_dict().items()}
    pool.train(0, images, targets)
    changed = [name for name, value in pool.modules[0].state_dict().items() if not torch.equal(value, first[name])]
    assert changed
    assert pool.ages == [1, 1]
    before = pool.modules[0]
    pool.train(0, images, targets)
    assert pool.ages == [0, 1]
    assert pool.modules[0] is not before
    assert pool.drawn == 3
