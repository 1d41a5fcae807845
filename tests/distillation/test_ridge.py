"""The ridge objective against scikit-learn, closed forms and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from toys import blob_features, blob_images

from decoct.distillation.objective.ridge import (
    Ridge,
    RidgeState,
    as_scores,
    flipped,
    kernel_predict,
    label_margin,
    platt_loss,
    ridge_predict,
    squared_loss,
)
from decoct.distillation.problem import Problem, RealSource, Synthetic
from decoct.errors import ConfigError, DivergenceError
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


def test_dual_and_primal_solve_agree():
    """More rows than features are solved `[d, d]`; both forms are the same regression."""
    test, train, labels = _random(4, 5), _random(12, 5, seed=1), _random(12, 3, seed=2)
    assert torch.allclose(
        ridge_predict(test, train, labels, 0.01),
        kernel_predict(test @ train.T, train @ train.T, labels, 0.01),
        atol=1e-9,
    )


def test_losses_in_closed_form():
    predicted, labels = _random(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    wanted = np.eye(4)[labels] - 0.25
    expected = 0.5 * ((predicted.numpy() - wanted) ** 2).sum(1).mean()
    assert squared_loss(predicted, labels).item() == pytest.approx(expected, rel=1e-6)
    odds = np.exp(2 * predicted.numpy())
    expected = -np.log(odds[np.arange(6), labels] / odds.sum(1)).mean()
    assert platt_loss(predicted, labels, torch.tensor(2.0).log()).item() == pytest.approx(expected, rel=1e-6)


def test_the_label_margin_stops_at_one_class_share():
    targets = torch.tensor([[0.9, 0.1, 0.0, 0.0], [0.3, 0.2, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0]])
    assert label_margin(targets).item() == pytest.approx((0.25 + 0.1 + 0.0) / 3)


def _one_loss(config: Ridge, targets: torch.Tensor, shape: tuple[int, int, int] = (3, 8, 8)) -> tuple:
    data = blob_images(classes=3, shape=shape)
    state = config.init(Problem(data, 1, "convnet2-w4", "cpu", "", 0.0), Streams(5))
    images = data.inputs(data.train, torch.arange(3)).requires_grad_(True)
    real = RealSource(data, "cpu", torch.Generator().manual_seed(2))
    return state, images, state.loss(Synthetic(images, targets, torch.arange(3)), real)


def test_the_margin_is_taken_off_the_loss_of_learned_labels_alone():
    targets = torch.randn(3, 3, generator=torch.Generator().manual_seed(1)).requires_grad_(True)
    plain, with_margin = (_one_loss(Ridge(real_batch=9, pool=2, margin=w), targets)[2] for w in (0.0, 0.5))
    assert with_margin.item() == pytest.approx(plain.item() - 0.5 * label_margin(targets).item(), rel=1e-5)
    fixed = torch.eye(3)
    plain, with_margin = (_one_loss(Ridge(real_batch=9, pool=2, margin=w), fixed)[2] for w in (0.0, 0.5))
    assert plain.item() == with_margin.item()


def test_flipped_rows_are_added_with_their_labels():
    """The same loss as a set that holds the mirror images itself."""
    targets = torch.randn(3, 3, generator=torch.Generator().manual_seed(1)).requires_grad_(True)
    state, images, loss = _one_loss(Ridge(real_batch=9, pool=2, flip=True, bfloat16=False), targets)
    loss.backward()
    assert images.grad is not None
    assert targets.grad is not None
    data = blob_images(classes=3, shape=(3, 8, 8))
    rows, labels = RealSource(data, "cpu", torch.Generator().manual_seed(2)).batch(9)
    module = network("convnet2-w4", (3, 8, 8), 3, derive_seed(5, "pool", state._current))
    both = flipped(images.detach())
    assert torch.equal(both[3], images.detach()[0].flip(2))
    predicted = ridge_predict(embed(module, rows), embed(module, both), targets.detach().repeat(2, 1), 1e-6)
    assert loss.item() == pytest.approx(squared_loss(predicted, labels).item(), rel=1e-3)
    state.advance(Synthetic(images, targets, torch.arange(3)), RealSource(data, "cpu", torch.Generator()))
    assert state._pool.ages[state._current] in (1, 51)


@pytest.mark.parametrize("running", [False, True])
def test_the_statistics_by_which_batch_normalisation_embeds(running):
    """Running ones are what the pool's steps gathered, and no look at the real rows changes them."""
    data = blob_images(classes=3)
    config = Ridge(real_batch=9, pool=1, bfloat16=False, augmented=False, running_statistics=running)
    state = config.init(Problem(data, 1, "convnet2-w4-bn", "cpu", "", 0.0), Streams(5))
    assert isinstance(state, RidgeState)
    images, targets = data.inputs(data.train, torch.arange(3)).requires_grad_(True), torch.eye(3)
    synthetic, source = Synthetic(images, targets, torch.arange(3)), RealSource(data, "cpu", torch.Generator())
    for _ in range(5):
        state.advance(synthetic, source)
    module = state._pool.modules[0]
    kept = {name: value.clone() for name, value in module.named_buffers()}
    assert kept["blocks.1.running_mean"].abs().max() > 0
    loss = state.loss(synthetic, RealSource(data, "cpu", torch.Generator().manual_seed(2)))
    rows, labels = RealSource(data, "cpu", torch.Generator().manual_seed(2)).batch(9)
    assert all(torch.equal(value, kept[name]) for name, value in module.named_buffers())
    module.train(not running)
    with torch.no_grad():
        predicted = ridge_predict(embed(module, rows), embed(module, images), as_scores(targets), 1e-6)
    assert loss.item() == pytest.approx(squared_loss(predicted, labels).item(), rel=1e-3)


def test_features_have_no_mirror_image():
    with pytest.raises(ConfigError, match="a table of features.*\n.*mirror image.*\n.*flip=False"):
        Ridge(flip=True).init(Problem(blob_features(), 1, "mlp-w8", "cpu", "", 0.0), Streams(0))


def test_fixed_labels_are_centred_and_learned_ones_left_alone():
    assert torch.allclose(as_scores(torch.eye(2)), torch.tensor([[0.5, -0.5], [-0.5, 0.5]]))
    free = torch.eye(2).requires_grad_(True)
    assert as_scores(free) is free


@pytest.mark.parametrize("ipc", [1, 3, 7])
def test_any_number_of_images_a_class(ipc):
    """The official code knows 1, 10 and 50."""
    data = blob_images(classes=3)
    problem = Problem(data, ipc, "convnet2-w4", "cpu", "", 0.0)
    state = Ridge(real_batch=9, pool=2).init(problem, Streams(5))
    images = data.inputs(data.train, torch.arange(3 * ipc)).requires_grad_(True)
    synthetic = Synthetic(images, torch.eye(3)[torch.arange(3 * ipc) % 3], torch.arange(3 * ipc) % 3)
    assert torch.isfinite(state.loss(synthetic, RealSource(data, "cpu", torch.Generator().manual_seed(2))))
