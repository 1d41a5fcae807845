"""The gradient objective against the textbook loop over classes, closed forms and finite differences."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from toys import blob_features, blob_images

from decoct.augment.siamese import Siamese
from decoct.distillation.apprentice import Apprentice, loops
from decoct.distillation.class_gradients import (
    ClassGradients,
    Metric,
    gradient_distance,
    matched_weights,
    settle_statistics,
)
from decoct.distillation.labels.hard import Hard
from decoct.distillation.objective.gradient import Gradient, GradientState
from decoct.distillation.problem import Problem, RealSource, Synthetic
from decoct.distillation.recipe import Recipe
from decoct.distillation.recipes.table import resolve
from decoct.distillation.recipes.task import Task
from decoct.distillation.run import Distillation
from decoct.distillation.storage.multiformation import Multiformation
from decoct.distillation.storage.pixels import Pixels
from decoct.errors import ConfigError
from decoct.networks.build import network
from decoct.streams import Streams, derive_seed
from decoct.training.config import FitConfig
from decoct.training.fast import FastGradient

SHAPE = (1, 8, 8)


def _gradients(
    module: nn.Module, metric: Metric = "cosine", linear: bool = True, together: bool | None = None
) -> ClassGradients:
    return ClassGradients(module, metric, FastGradient(module, "ce", compile=False), linear, together)


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _state(objective: Gradient, data, ipc=2, strategy="", net="convnet2-w4", seed=5) -> GradientState:
    state = objective.init(Problem(data, ipc, net, "cpu", strategy, 0.0), Streams(seed))
    assert isinstance(state, GradientState)
    return state


def _synthetic(data, rows=6, learned=False) -> Synthetic:
    images = data.inputs(data.train, torch.arange(rows)).requires_grad_(True)
    classes = data.train.labels(torch.arange(rows))
    targets = F.one_hot(classes, data.spec.classes).float()
    return Synthetic(images, targets.requires_grad_(learned), classes)


def _source(data) -> RealSource:
    return RealSource(data, "cpu", torch.Generator().manual_seed(2))


def textbook(module, real, labels, images, targets, classes) -> torch.Tensor:
    """DC as the paper writes it: class by class, layer by layer, row by row."""
    weights = [p for p in module.parameters() if p.ndim > 1]
    total = torch.zeros(())
    for label in classes.unique():
        wanted = torch.autograd.grad(F.cross_entropy(module(real[labels == label]), labels[labels == label]), weights)
        loss = F.cross_entropy(module(images[classes == label]), targets[classes == label])
        own = torch.autograd.grad(loss, weights, create_graph=True)
        for a, b in zip(wanted, own, strict=True):
            for row_a, row_b in zip(a.flatten(1), b.flatten(1), strict=True):
                total = total + 1 - row_a @ row_b / (row_a.norm() * row_b.norm() + 1e-6)
    return total


def test_equal_gradients_have_distance_zero():
    layers = [_random(2, 4, 3, 3, 3), _random(2, 5, 7)]
    metrics: tuple[Metric, ...] = ("cosine", "mse", "l1")
    for metric in metrics:
        assert torch.allclose(gradient_distance(layers, layers, metric), torch.zeros(2).double(), atol=1e-5)
    turned = [-layer for layer in layers]
    assert torch.allclose(gradient_distance(layers, turned, "cosine"), torch.full((2,), 18.0).double(), atol=1e-4)


def test_distances_of_differences_are_plain_sums():
    one, other = [_random(1, 2, 3), _random(1, 2, 2, 2)], [_random(1, 2, 3, seed=1), _random(1, 2, 2, 2, seed=2)]
    gaps = torch.cat([(a - b).flatten() for a, b in zip(one, other, strict=True)])
    assert float(gradient_distance(one, other, "mse")) == pytest.approx(float(gaps.square().sum()))
    assert float(gradient_distance(one, other, "l1")) == pytest.approx(float(gaps.abs().sum()))


def test_rows_of_zeros_give_no_nan():
    zeros = torch.zeros(1, 3, 4, requires_grad=True)
    distance = gradient_distance([torch.zeros(1, 3, 4)], [zeros], "cosine")
    distance.sum().backward()
    assert float(distance.detach()) == 3
    assert zeros.grad is not None
    assert torch.equal(zeros.grad, torch.zeros(1, 3, 4))


def test_a_linear_model_has_the_gradient_of_its_closed_form():
    """The gradient of a linear layer's cross-entropy is `mean_i (softmax(z_i) - y_i) x_i^T`."""
    module = nn.Linear(5, 3).double()
    x, targets = _random(8, 5), _random(8, 3, seed=1).softmax(1)
    groups = [torch.arange(4), torch.arange(4, 8)]
    residual = module(x).softmax(1) - targets
    for together in (True, False):
        (found,) = _gradients(module, together=together).real(x, targets, groups)
        for place, rows in enumerate(groups):
            assert torch.allclose(found[place], residual[rows].T @ x[rows] / 4)


@pytest.mark.parametrize("name", ["convnet2-w4", "convnet2-w4-gn", "convnet2-w4-bn", "convnet2-w4-ln", "mlp-w8"])
@pytest.mark.parametrize("metric", ["cosine", "l1"])
def test_all_classes_at_once_equal_one_at_a_time(name, metric: Metric):
    shape = (12,) if name.startswith("mlp") else SHAPE
    module = network(name, shape, 3, 0)
    images, targets = _random(9, *shape).float(), _random(9, 3, seed=1).float().softmax(1).requires_grad_()
    groups = [torch.tensor([0, 4, 8]), torch.tensor([1, 2, 3]), torch.tensor([5, 6, 7])]
    settle_statistics(module, images)
    both = [_gradients(module, metric, together=together) for together in (True, False)]
    wanted = [g.real(images.flip(0), targets.detach(), groups) for g in both]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*wanted, strict=True))
    found = [g.distances(wanted[0], images, targets, groups) for g in both]
    for a, b in zip(*found, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-4 * float(b.abs().max()))


def test_groups_of_unequal_size_go_one_at_a_time_and_empty_ones_count_for_nothing():
    module = network("convnet2-w4", SHAPE, 3, 0)
    images, targets = _random(5, *SHAPE).float(), torch.eye(3)[[0, 0, 0, 1, 1]]
    matcher = _gradients(module)
    real = matcher.real(images + 0.1, targets, [torch.arange(3), torch.arange(3, 5)])
    padded = [torch.cat([layer, torch.ones_like(layer[:1])]) for layer in real]
    groups = [torch.arange(3), torch.arange(3, 5), torch.arange(0)]
    values, gradient, _ = matcher.distances(padded, images, targets, groups)
    assert values[2] == 0
    assert (values[:2] > 0).all()
    assert torch.isfinite(gradient).all()


class Forked(nn.Module):
    """A network whose path depends on its values: torch cannot vectorise it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x if float(x.detach().sum()) > -1e9 else -x)


def test_networks_that_cannot_be_vectorised_go_one_class_at_a_time():
    module, x = Forked(), _random(2, 4).float()
    (found,) = _gradients(module).real(x, torch.eye(2), [torch.tensor([0]), torch.tensor([1])])
    assert found.shape == (2, 2, 4)


def test_biases_and_normalisation_are_not_matched():
    names = matched_weights(network("convnet2-w4-ln", SHAPE, 3, 0))
    assert names == ["blocks.0.weight", "blocks.4.weight", "classifier.weight"]
    assert matched_weights(network("convnet2-w4", SHAPE, 3, 0), linear=False) == ["blocks.0.weight", "blocks.4.weight"]
    assert len(matched_weights(network("mlp-w8", (12,), 3, 0), linear=False)) > 0, "nothing else is there"
    with pytest.raises(ConfigError, match="no weight with more than one axis"):
        matched_weights(nn.BatchNorm1d(3))


def test_the_bias_of_a_layer_changes_nothing():
    """Gradients that differ in the bias alone: rows x with residual r and rows 0 with another residual."""
    module = nn.Linear(3, 2).double()
    x = torch.cat([_random(2, 3), torch.zeros(2, 3).double()])
    one, other = torch.eye(2).double()[[0, 1, 0, 0]], torch.eye(2).double()[[0, 1, 1, 1]]
    groups = [torch.arange(4)]
    values, _, _ = _gradients(module, "mse").distances(
        _gradients(module).real(x, one, groups), x, other.requires_grad_(), groups
    )
    assert float(values) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("metric", ["cosine", "mse"])
def test_gradients_of_images_and_targets_are_those_of_finite_differences(metric: Metric, together: bool):
    module = network("convnet2-w4-gelu", SHAPE, 2, 0).double()
    matcher = _gradients(module, metric, together=together)
    images, targets = _random(2, *SHAPE), _random(2, 2, seed=1).softmax(1).requires_grad_()
    groups = [torch.tensor([0]), torch.tensor([1])]
    real = matcher.real(_random(2, *SHAPE, seed=3), torch.eye(2).double(), groups)
    _, for_images, for_targets = matcher.distances(real, images, targets, groups)
    for index, (value, gradient) in enumerate(((images, for_images), (targets.detach(), for_targets))):
        direction, step = _random(*value.shape, seed=4), 1e-5
        ends = []
        for sign in (1, -1):
            moved = value + sign * step * direction
            pair = (moved, targets) if index == 0 else (images, moved.requires_grad_())
            ends.append(float(matcher.distances(real, *pair, groups)[0].sum()))
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(float((gradient * direction).sum()), rel=1e-4)


@pytest.mark.parametrize("strategy", ["", "crop_scale"])
def test_the_loss_is_that_of_the_textbook_loop(strategy):
    data = blob_images(classes=3)
    synthetic = _synthetic(data, learned=True)
    loss = _state(Gradient(real_per_class=8), data, strategy=strategy).loss(synthetic, _source(data))
    loss.backward()

    module = network("convnet2-w4", SHAPE, 3, derive_seed(5, "apprentice", 0))
    real, labels = _source(data).per_class(8)
    images = synthetic.images.detach().clone().requires_grad_()
    targets = synthetic.targets.detach().clone().requires_grad_()
    seen = images
    if strategy:
        drawn = Siamese(strategy, per_sample=True).draw(
            3, SHAPE, torch.Generator().manual_seed(derive_seed(5, "class-augmentation", 0, 0))
        )
        siamese = Siamese(strategy, per_sample=True)
        real, seen = (siamese.apply(x, drawn.take(c)) for x, c in ((real, labels), (images, synthetic.classes)))
    expected = textbook(module, real, labels, seen, targets, synthetic.classes)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-5 * expected.item())
    for leaf, own in ((synthetic.images, images), (synthetic.targets, targets)):
        assert leaf.grad is not None
        assert own.grad is not None
        assert torch.allclose(leaf.grad, own.grad, atol=1e-4 * float(own.grad.abs().max()))


def test_any_number_of_images_a_class_has_a_schedule():
    assert [loops(ipc) for ipc in (1, 10, 20, 30, 40, 50)] == [(1, 1), (10, 50), (20, 25), (30, 20), (40, 15), (50, 10)]
    assert loops(5) == (5, 23)
    assert loops(15) == (15, 38)
    assert loops(1000) == loops(100) == (100, 2)
    assert Gradient(outer_loops=3, inner_epochs=0).schedule(7) == (3, 0)


def test_a_network_is_trained_between_steps_and_drawn_anew_after_its_loops():
    data = blob_images(classes=3)
    state, synthetic, real = (
        _state(Gradient(real_per_class=4, outer_loops=2, inner_epochs=3), data),
        _synthetic(data),
        _source(data),
    )
    apprentice = state._apprentice
    start = {name: value.clone() for name, value in apprentice.module.state_dict().items()}
    seen = []
    for _ in range(4):
        state.loss(synthetic, real)
        state.advance(synthetic, real)
        seen.append((apprentice.drawn, apprentice.age))
    assert seen == [(0, 1), (1, 0), (1, 1), (2, 0)]
    assert apprentice._updates == 2 * 3
    fresh = apprentice.module.state_dict()
    assert any(not torch.equal(value, start[name]) for name, value in fresh.items())


def test_training_on_the_synthetic_set_is_plain_sgd():
    data = blob_images(classes=3)
    problem, synthetic = Problem(data, 2, "convnet2-w4", "cpu", "", 0.0), _synthetic(data)
    fit = FitConfig(lr=0.1, momentum=0.0, weight_decay=0.0, batch_size=6)
    apprentice = Apprentice(problem, Streams(0), fit, [], 0.0, 0.0)
    module = network("convnet2-w4", SHAPE, 3, derive_seed(0, "apprentice", 0))
    apprentice.learn(synthetic.images.detach(), synthetic.targets, 2)
    for _ in range(2):
        loss = F.cross_entropy(module(synthetic.images.detach()), synthetic.classes)
        for p, g in zip(module.parameters(), torch.autograd.grad(loss, list(module.parameters())), strict=True):
            p.data -= 0.1 * g
    for mine, own in zip(apprentice.module.parameters(), module.parameters(), strict=True):
        assert torch.allclose(mine, own, atol=1e-6)


def test_batchnorm_takes_the_exact_statistics_of_real_rows():
    """One training pass from fresh running statistics would leave nine tenths of zero and one."""
    data = blob_images(classes=3)
    state = _state(Gradient(real_per_class=8), data, net="convnet2-w4-bn")
    state.loss(_synthetic(data), _source(data))
    module = network("convnet2-w4-bn", SHAPE, 3, derive_seed(5, "apprentice", 0))
    rows, _ = _source(data).per_class(8)
    with torch.no_grad():
        maps = next(iter(module.modules())).blocks[0](rows)  # type: ignore[union-attr]
    norms = [part for part in state._matcher.module.modules() if isinstance(part, nn.BatchNorm2d)]
    assert torch.allclose(norms[0].running_mean, maps.mean((0, 2, 3)), atol=1e-5)  # type: ignore[arg-type]
    assert not any(part.training for part in norms)


def test_a_pool_gives_the_same_lesson_again_and_sees_real_rows_seldom():
    data = blob_images(classes=3)
    state, real = _state(Gradient(real_per_class=4, pool=2, renew_every=4), data, strategy="crop"), _source(data)
    synthetic, asked = _synthetic(data), []
    counted = real.per_class
    real.per_class = lambda *given: asked.append(state._step) or counted(*given)  # type: ignore[method-assign]
    for _ in range(9):
        state.loss(synthetic, real)
        state.advance(synthetic, real)
    assert asked == [0, 1, 4, 8]
    assert [lesson.number for lesson in state._lessons] == [2, 3]


def test_classes_may_be_drawn_for_each_step():
    data = blob_images(classes=5)
    state, real = _state(Gradient(real_per_class=4, classes_per_step=2), data), _source(data)
    synthetic = _synthetic(data, rows=10)
    state.loss(synthetic, real).backward()
    assert synthetic.images.grad is not None
    moved = synthetic.images.grad.flatten(1).norm(dim=1) > 0
    assert len(synthetic.classes[moved].unique()) == 2
    assert int(moved.sum()) == 4


def test_idc_trains_on_real_rows_with_cutmix_and_every_family():
    data = blob_images(classes=3)
    objective = Gradient(metric="mse", real_per_class=4, outer_loops=3, train_on="real", inner_rows=20, early_rows=10,
                         net_batch=8, net_momentum=0.9, cutmix=0.5, every_family=True, match_linear=False)  # fmt: skip
    state, synthetic, real = _state(objective, data, strategy="color_crop_cutout"), _synthetic(data), _source(data)
    for _ in range(2):
        assert torch.isfinite(state.loss(synthetic, real))
        state.advance(synthetic, real)
    assert state._apprentice._updates == 2 + 3 + 3, "10 rows at first, 20 after every step, in batches of up to 8"
    assert [siamese.strategy for siamese in state._siamese] == ["color", "crop", "cutout"]
    assert [siamese.strategy for siamese in state._apprentice._siamese] == ["color", "crop"]


def test_the_global_generator_is_neither_read_nor_set():
    """The official code reseeds it from the clock for every network and every augmentation."""
    data, before = blob_images(), torch.random.get_rng_state()
    losses = []
    for _ in range(2):
        state, real = _state(Gradient(real_per_class=4), data, strategy="crop_scale"), _source(data)
        losses.append(state.loss(_synthetic(data), real).item())
        state.advance(_synthetic(data), real)
        assert torch.equal(before, torch.random.get_rng_state())
    assert losses[0] == losses[1]


@pytest.mark.parametrize("preset", ["cpu", "paper"])
@pytest.mark.parametrize("name", ["dc", "dsa", "idc"])
def test_recipes_take_any_size_and_features(name, preset):
    for data, ipc, net in ((blob_images(), 1, "convnet2-w4"), (blob_images(), 3, "convnet2-w4"),
                           (blob_features(), 2, "mlp-w8")):  # fmt: skip
        recipe = resolve(name, Task(data.spec, ipc, preset))
        assert isinstance(recipe.objective, Gradient)
        less = {"real_per_class": 4, "inner_epochs": 1, "inner_rows": 8}
        less["early_rows"] = min(8, recipe.objective.early_rows)
        recipe = replace(recipe, objective=replace(recipe.objective, **less))
        strategy = "" if recipe.augment in ("", "auto") else recipe.augment
        run = Distillation(Problem(data, ipc, net, "cpu", strategy, 0.0), recipe, 0)
        assert all(torch.isfinite(torch.tensor(run.advance(0.0))) for _ in range(2))


def test_idc_stores_gray_images_whole_from_fifty_a_class_on():
    """Where the authors' own figures say that the grid hurts."""
    for preset in ("cpu", "paper"):
        for shape in ((1, 28, 28), (3, 32, 32)):
            spec = blob_images(shape=shape).spec
            stored = [type(resolve("idc", Task(spec, ipc, preset)).storage) for ipc in (1, 10, 50)]
            assert stored == [Multiformation, Multiformation, Pixels if shape[0] == 1 else Multiformation]


def test_settings_that_make_no_sense_are_refused():
    for name in ("real_per_class", "outer_loops", "classes_per_step", "renew_every"):
        with pytest.raises(ConfigError, match=f"setting {name}"):
            Gradient(**{name: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize("objective", [
    Gradient(real_per_class=4, outer_loops=3, inner_epochs=1),
    Gradient(real_per_class=4, outer_loops=3, inner_epochs=1, pool=2, renew_every=2, classes_per_step=2),
    Gradient(real_per_class=4, outer_loops=3, train_on="real", inner_rows=8, net_momentum=0.9, early_rows=4,
             cutmix=1.0),
])  # fmt: skip
def test_a_resumed_run_gives_the_same_bits(objective):
    def start() -> Distillation:
        problem = Problem(blob_images(), 1, "convnet2-w4-bn", "cpu", "crop_scale", 0.0)
        return Distillation(problem, Recipe(Pixels(), objective, Hard()), 3)

    whole = start()
    losses = [whole.advance(0.0) for _ in range(5)]
    for stop in (1, 3):
        first, second = start(), start()
        begun = [first.advance(0.0) for _ in range(stop)]
        tensors, facts = first.state()
        second.load_state({name: value.detach().clone() for name, value in tensors.items()}, facts)
        assert losses == begun + [second.advance(0.0) for _ in range(5 - stop)]
        expected, found = whole.state()[0], second.state()[0]
        assert expected.keys() == found.keys()
        assert all(torch.equal(value, found[name]) for name, value in expected.items())
