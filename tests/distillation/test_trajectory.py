"""Trajectory matching against textbook unrolls, TESLA's formula and closed cases."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from resuming import require_exact_resume
from torch import nn
from torch.func import functional_call
from toys import blob_images

from decoct.distillation.driver import distill
from decoct.distillation.labels.hard import Hard
from decoct.distillation.labels.learned import Learned
from decoct.distillation.objective.distribution import Distribution
from decoct.distillation.objective.trajectory import Trajectory, TrajectoryState, trajectory_loss
from decoct.distillation.problem import Problem, RealSource, Synthetic
from decoct.distillation.recipe import Recipe
from decoct.distillation.recipes.table import CARDS, RECIPES
from decoct.distillation.recipes.task import Task
from decoct.distillation.run import Distillation
from decoct.distillation.storage.pixels import Pixels, initial_rows
from decoct.errors import ConfigError
from decoct.networks.build import network
from decoct.streams import Streams
from decoct.training.config import FitConfig
from decoct.training.trajectories import Trajectories

EXPERT = FitConfig(lr=0.05, momentum=0.0, weight_decay=0.0, epochs=4, batch_size=16, schedule="constant")
SMALL = Trajectory(inner_steps=4, expert_epochs=2, max_start_epoch=2, experts=1, expert=EXPERT, inner_lr=0.05)


@pytest.fixture(scope="module")
def data():
    return blob_images(per_class=10)


@pytest.fixture(scope="module")
def experts(data, tmp_path_factory):
    """Where the experts are: every test of this file reads the same ones."""
    return tmp_path_factory.mktemp("experts")


def prepared(data, experts, config=SMALL, strategy="") -> TrajectoryState:
    state = config.init(Problem(data, 2, "convnet2-w4", "cpu", strategy, 0.0, experts), Streams(3))
    assert isinstance(state, TrajectoryState)
    state.prepare(RealSource(data, "cpu", torch.Generator()))
    return state


def rows(dtype=torch.float64) -> Synthetic:
    """Six rows that require gradients, with soft targets that do too."""
    generator = torch.Generator().manual_seed(5)
    images = torch.randn(6, 1, 8, 8, generator=generator, dtype=dtype).requires_grad_(True)
    scores = torch.randn(6, 3, generator=generator, dtype=dtype)
    return Synthetic(images, scores.softmax(1).requires_grad_(True), torch.arange(6) % 3)


def gradients(state, synthetic, data) -> tuple[torch.Tensor, list[torch.Tensor]]:
    alpha = state.tensors["lr"].requires_grad_(True)
    loss = state.loss(synthetic, RealSource(data, "cpu", torch.Generator()))
    found = torch.autograd.grad(loss, [synthetic.images, synthetic.targets, alpha])
    return loss, list(found)


def textbook(state, synthetic, epoch, batches, alpha):
    """Loss of MTT with the whole graph kept, weights by name, nothing shared with the engine."""
    module = network("convnet2-w4", (1, 8, 8), 3, 0).double()
    parts = list(module.named_parameters())

    def named(flat):
        pieces = flat.split([part.numel() for _, part in parts])
        return {name: piece.view_as(part) for (name, part), piece in zip(parts, pieces, strict=True)}

    start, target = (state.experts.at(0, e).double() for e in (epoch, epoch + 2))
    theta, steps = start.clone().requires_grad_(True), []
    for batch in batches:
        logits = functional_call(module, named(theta), (synthetic.images[batch],))
        loss = F.cross_entropy(logits, synthetic.targets[batch])
        steps.append(torch.autograd.grad(loss, theta, create_graph=True)[0])
        theta = theta - alpha * steps[-1]
    return ((theta - target) ** 2).sum() / ((start - target) ** 2).sum(), steps, start, target


def drawn(state, batch=None):
    """The start epoch and the batches that a fresh state draws."""
    generator = Streams(3)("trajectory")
    torch.randint(1, (1,), generator=generator)
    epoch = int(torch.randint(0, 2, (1,), generator=generator))
    if batch is None:
        return epoch, [torch.arange(6)] * 4
    order = Streams(3)("batches")
    return epoch, [part for _ in range(2) for part in torch.randperm(6, generator=order).split(batch)][:4]


@pytest.mark.parametrize("batch", [None, 4])
@pytest.mark.parametrize("mode", ["full", "recompute"])
def test_loss_and_gradients_are_those_of_the_textbook(data, experts, mode, batch):
    state, synthetic = prepared(data, experts, replace(SMALL, mode=mode, batch=batch)), rows()
    loss, found = gradients(state, synthetic, data)
    epoch, batches = drawn(state, batch)
    alpha = state.lr.detach().double().requires_grad_(True)
    expected, *_ = textbook(state, synthetic, epoch, batches, alpha)
    wanted = torch.autograd.grad(expected, [synthetic.images, synthetic.targets, alpha])
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(found[:2], list(wanted[:2]), rtol=1e-5, atol=1e-9)
    assert found[2].item() == pytest.approx(wanted[2].item(), rel=1e-3), "where alpha starts it is its own parameter"


def test_exact_constant_memory_equals_the_full_graph_with_augmentation(data, experts):
    found = []
    for mode in ("full", "recompute"):
        state = prepared(data, experts, replace(SMALL, mode=mode, batch=4), "color_crop_cutout_scale_rotate")
        found.append(gradients(state, rows(), data))
    assert found[0][0].item() == pytest.approx(found[1][0].item(), rel=1e-12)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-8, atol=1e-12)


def test_first_order_is_the_published_formula_of_tesla(data, experts):
    """`2 [alpha (theta* - theta_0) + alpha^2 sum_j g_j]^T d g_i / d x / D`; the official code loses the 2."""
    state, synthetic = prepared(data, experts, replace(SMALL, mode="first-order")), rows()
    loss, found = gradients(state, synthetic, data)
    epoch, batches = drawn(state)
    alpha = float(state.lr.detach())
    module = network("convnet2-w4", (1, 8, 8), 3, 0).double()
    expected, steps, start, target = textbook(state, synthetic, epoch, batches, torch.tensor(alpha).double())
    total = torch.stack(steps).sum(0).detach()
    vector = 2 * (alpha * (target - start) + alpha**2 * total) / ((start - target) ** 2).sum()
    theta, images, targets = start, torch.zeros_like(synthetic.images), torch.zeros_like(synthetic.targets)
    for step in steps:
        leaf = theta.clone().requires_grad_(True)
        pieces = leaf.split([part.numel() for part in module.parameters()])
        named = {n: piece.view_as(p) for (n, p), piece in zip(module.named_parameters(), pieces, strict=True)}
        inner = F.cross_entropy(functional_call(module, named, (synthetic.images,)), synthetic.targets)
        gradient = torch.autograd.grad(inner, leaf, create_graph=True)[0]
        shares = torch.autograd.grad(vector @ gradient, [synthetic.images, synthetic.targets])
        images, targets = images + shares[0], targets + shares[1]
        theta = theta - alpha * step.detach()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(found[:2], [images, targets], rtol=1e-5, atol=1e-9)
    exact = gradients(prepared(data, experts, replace(SMALL, mode="full")), rows(), data)[1]
    assert not torch.allclose(found[0], exact[0], rtol=1e-3)


def test_the_loss_is_one_for_a_student_that_stays_and_zero_on_the_expert(data, experts):
    state = prepared(data, experts, replace(SMALL, inner_steps=1, inner_lr=1e-30))
    assert state.loss(rows(torch.float32), RealSource(data, "cpu", torch.Generator())).item() == 1.0
    start, target = state.experts.at(0, 0), state.experts.at(0, 2)
    assert trajectory_loss(target, start, target) == 0
    assert trajectory_loss(start, start, target) == 1
    assert trajectory_loss((start + target) / 2, start, target).item() == pytest.approx(0.25, rel=1e-4)
    assert torch.isfinite(trajectory_loss(start, start, start)), "an expert that did not move"


def test_a_student_of_the_real_rows_follows_the_expert(data, experts):
    """The expert's own training, seen as synthetic: its rows, its step size, its number of steps; the orders differ."""
    state = prepared(data, experts, replace(SMALL, batch=16, max_start_epoch=1))
    images = data.inputs(data.train)
    real = Synthetic(images, F.one_hot(data.train.labels(), 3).float(), data.train.labels())
    assert state.loss(real, RealSource(data, "cpu", torch.Generator())) < 0.2


def test_start_epochs_fill_their_window_which_grows(data, experts, monkeypatch):
    config = replace(SMALL, inner_steps=1, expert_epochs=1, min_start_epoch=1, max_start_epoch=4,
                     max_start_epoch_begin=2, grow_share=0.25)  # fmt: skip
    state, asked = prepared(data, experts, config), []
    at = Trajectories.at
    monkeypatch.setattr(Trajectories, "at", lambda self, e, epoch: asked.append(epoch) or at(self, e, epoch))
    tops = []
    for step in range(40):
        state.schedule(step / 40)
        tops.append(state.top())
        state.loss(rows(torch.float32), RealSource(data, "cpu", torch.Generator()))
    starts, ends = asked[::2], asked[1::2]
    assert tops[:11] == [2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 4]
    assert set(starts[:5]) == {1}
    assert set(starts[10:]) == {1, 2, 3}
    assert [end - start for start, end in zip(starts, ends, strict=True)] == [1] * 40


def test_a_run_resumed_in_the_middle_of_the_growth_goes_on_with_the_same_bits(data, tmp_path, monkeypatch):
    config = replace(SMALL, batch=4, max_start_epoch=3, max_start_epoch_begin=1, grow_share=0.75)
    point = Recipe(Pixels(), config, Learned(), optimizer="sgd", lr=1.0, lr_objective=1e-4)
    problem = Problem(data, 2, "convnet2-w4", "cpu", "crop_scale", 0.0, tmp_path)
    whole, first, second = (Distillation(problem, point, seed=7) for _ in range(3))
    whole.prepare()
    monkeypatch.setattr(Trajectories, "_trajectories", None)
    tops, top = [], TrajectoryState.top
    monkeypatch.setattr(TrajectoryState, "top", lambda state: tops.append(top(state)) or tops[-1])
    require_exact_resume(whole, first, second)
    assert tops == [1, 1, 1, 2, 2, 3] * 2, "the window follows the share of the run, resumed or not"
    assert second.objective.learned() == whole.objective.learned()
    assert second.packed(second.tensors, {}).learned["inner_steps"] == 4


def test_experts_trained_together_are_those_trained_in_turn(noisy):
    config = replace(SMALL, experts=2, stored="float32")
    one, other = (prepared(noisy, None, replace(config, experts_together=size)).experts for size in (1, 2))
    moved = (one.at(1, 4) - one.at(1, 0)).norm()
    assert 0 < (one.at(1, 4) - other.at(1, 4)).norm() < 1e-3 * moved, "0 would be the training in turn"


def test_the_step_size_starts_where_it_should_and_stays_positive(data, experts):
    state = prepared(data, experts)
    assert state.learned()["lr"] == pytest.approx(0.05, rel=1e-4)
    with torch.no_grad():
        state.tensors["lr"].fill_(-0.1)
    assert 0 < state.lr.item() < 0.005
    with torch.no_grad():
        state.tensors["lr"].fill_(0.2)
    assert state.lr.item() == pytest.approx(0.2)


@pytest.mark.parametrize(
    "wrong",
    [{"inner_steps": 0}, {"expert_rows": 0}, {"sam_radius": -0.1}, {"batch": 0}, {"expert_epochs": 0},
     {"experts_together": 0}, {"max_start_epoch": 0}, {"max_start_epoch": 9},
     {"max_start_epoch_begin": 3}, {"inner_lr": 0.0}, {"experts": 0}, {"grow_share": 0.0}, {"grow_share": 1.1}],
)  # fmt: skip
def test_settings_out_of_range(wrong):
    with pytest.raises(ConfigError, match="trajectory matching"):
        replace(SMALL, **wrong)


@pytest.mark.parametrize("preset", ["cpu", "paper"])
@pytest.mark.parametrize("name", ["mtt", "tesla", "datm"])
def test_recipes_for_every_size_of_task(name, preset):
    recipe = RECIPES.load(name)
    card = CARDS.load(name)
    assert card.name == name
    for classes in (2, 100, 200):
        for ipc in (1, 7, 50, 1000):
            spec = replace(blob_images(classes=2).spec, class_names=tuple(map(str, range(classes))))
            point = recipe(Task(spec, ipc, preset))
            assert isinstance(point.objective, Trajectory)
            assert (point.objective.mode == "first-order") == (name == "tesla")


def test_published_settings():
    spec = replace(blob_images(classes=2).spec, class_names=tuple(map(str, range(10))))
    point = RECIPES.load("mtt")(Task(spec, 10, "paper"))
    assert (point.lr, point.lr_objective, point.objective.inner_lr) == (100.0, 1e-5, 0.001)
    assert (point.objective.inner_steps, point.objective.max_start_epoch) == (30, 20)
    first = RECIPES.load("tesla")(Task(spec, 1, "paper"))
    assert (first.lr, first.objective.max_start_epoch) == (500.0, 5), "half of 1000: the factor 2 is in the gradient"
    aligned = RECIPES.load("datm")(Task(spec, 10, "paper")).objective
    assert (aligned.max_start_epoch_begin, aligned.max_start_epoch, aligned.grow_share) == (10, 20, 0.1)
    assert (aligned.sam_radius, aligned.sam_adaptive, aligned.expert.epochs) == (0.01, True, 100)


def test_a_recipe_makes_a_set_that_says_how_to_train_on_it(data):
    point = RECIPES.load("datm")(Task(data.spec, 1, "cpu"))
    quick = replace(point.objective, experts=1, expert_rows=12, inner_steps=2)
    small = distill(data, replace(point, objective=quick), ipc=1, steps=2, network="convnet2-w4")
    assert small.label_kind == "probabilities"
    assert small.learned["inner_steps"] == 2
    assert 0 < small.learned["lr"] < 1


def expert_logits(data, experts, number=0):
    """What an expert says of all training rows after its last pass, by plain layers and not by the code under test."""
    state = prepared(data, experts, replace(SMALL, experts=2))
    module = network("convnet2-w4", data.spec.shape, data.spec.classes, 0)
    torch.nn.utils.vector_to_parameters(state.experts.at(number, EXPERT.epochs), module.parameters())
    with torch.no_grad():
        return state, module(data.inputs(data.train))


@pytest.fixture(scope="module")
def noisy():
    """Rows of which experts get some wrong: every fourth one has the class of the next."""
    data = blob_images(per_class=12)
    labels = data.train.y.copy()
    labels[::4] = (labels[::4] + 1) % 3
    return replace(data, train=replace(data.train, y=labels))


def places(data, images) -> list[int]:
    """The training rows that these images are."""
    inputs = data.inputs(data.train)
    return [int((inputs == image).flatten(1).all(1).nonzero()) for image in images]


def test_images_start_as_rows_that_an_expert_classifies_right_then_as_the_likeliest(noisy, tmp_path):
    state, said = expert_logits(noisy, tmp_path)
    problem, labels = Problem(noisy, 10, "convnet2-w4", "cpu", "", 0.0), noisy.train.labels()
    tensors = Pixels(init_from="correct").init(problem, Streams(1))
    Pixels(init_from="correct").begin(tensors, problem, state, Streams(2))
    rows = torch.tensor(places(noisy, tensors["pixels"])).reshape(3, 10)
    right = said.argmax(1) == labels
    few = [label for label in range(3) if int((right & (labels == label)).sum()) < 10]
    assert few, "else the filling is not tested"
    for label, picked in enumerate(rows):
        own = (labels == label).nonzero().flatten()
        assert set(picked.tolist()) <= set(own.tolist())
        assert len(set(picked.tolist())) == 10
        count = min(10, int(right[own].sum()))
        assert bool(right[picked[:count]].all())
        wrong = own[~right[own]]
        likely = wrong[said.softmax(1)[wrong, label].argsort(descending=True)]
        assert picked[count:].tolist() == likely[: 10 - count].tolist()


def test_such_starts_prefer_heavy_rows_and_follow_the_seed(noisy, tmp_path):
    state, said = expert_logits(noisy, tmp_path)
    right = said.argmax(1) == noisy.train.labels()
    heavy = [int((right & (noisy.train.labels() == label)).nonzero()[-1]) for label in range(3)]
    weights = torch.ones(len(right)).scatter(0, torch.tensor(heavy), 1e6)

    def start(data, seed):
        problem = Problem(data, 1, "convnet2-w4", "cpu", "", 0.0)
        tensors = {"pixels": torch.zeros(3, *problem.shape)}
        Pixels(init_from="correct").begin(tensors, problem, state, Streams(seed))
        return places(data, tensors["pixels"])

    assert start(noisy.with_weights(weights.numpy()), 0) == heavy
    seeds = [start(noisy, seed) for seed in range(5)]
    assert seeds[0] == start(noisy, 0)
    assert len({tuple(found) for found in seeds}) > 1


def test_labels_start_at_the_mean_logits_of_the_experts_that_are_right(noisy, tmp_path):
    state, first = expert_logits(noisy, tmp_path)
    _, second = expert_logits(noisy, tmp_path, 1)
    problem, classes = Problem(noisy, 12, "convnet2-w4", "cpu", "", 0.0), noisy.train.labels()
    labels = Learned(teacher="experts").init(problem, Pixels(), SMALL, Streams(0))
    labels.begin(noisy.inputs(noisy.train), classes, state)
    counts = []
    for row, (one, other) in enumerate(zip(first, second, strict=True)):
        kept = [logits for logits in (one, other) if logits.argmax() == classes[row]]
        counts.append(len(kept))
        expected = torch.stack(kept or [one, other]).mean(0)
        assert torch.allclose(labels.tensors["labels"][row], expected, atol=1e-5)
    assert {0, 2} <= set(counts), "rows that no expert is right about, and rows that both are right about"


@pytest.mark.parametrize("name", ["convnet2-w4-bn", "test_trajectory:dropping"])
def test_what_experts_say_of_an_image_does_not_hang_on_the_others(noisy, name):
    """BatchNorm fed with one class takes away its mean, and with it what tells the class apart."""
    state = replace(SMALL, experts=2).init(Problem(noisy, 2, name, "cpu", "", 0.0), Streams(3))
    state.prepare(RealSource(noisy, "cpu", torch.Generator()))
    images, labels = noisy.inputs(noisy.train), noisy.train.labels()
    whole = [said.clone() for said in state.said_by_experts(images)]
    assert len(whole) == 2
    for rows in (*((labels == label).nonzero().flatten() for label in range(3)), torch.tensor([5])):
        for said, expected in zip(state.said_by_experts(images[rows]), whole, strict=True):
            torch.testing.assert_close(said, expected[rows], rtol=1e-4, atol=1e-5)


def test_experts_with_batch_normalisation_know_the_real_rows(data):
    """As well asked about a class at a time as they are in training mode about all of them."""
    problem = Problem(data, 2, "convnet2-w4-bn", "cpu", "", 0.0)
    state = replace(SMALL, expert=replace(EXPERT, epochs=12)).init(problem, Streams(3))
    assert isinstance(state, TrajectoryState)
    state.prepare(RealSource(data, "cpu", torch.Generator()))
    images, labels = data.inputs(data.train), data.train.labels()
    trained = state._flat.logits(state.experts.at(0, 12), images).argmax(1) == labels
    asked = [next(state.said_by_experts(images[labels == label])).argmax(1) == label for label in range(3)]
    assert trained.float().mean() > 0.9
    assert torch.cat(asked).float().mean() > trained.float().mean() - 0.05


def dropping(shape, classes):
    size = shape[0] * shape[1] * shape[2]
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(size), nn.Dropout(0.5), nn.Linear(size, classes))


def test_a_run_that_starts_from_experts_is_resumed_to_the_same_bits(noisy, tmp_path):
    point = Recipe(Pixels(init_from="correct"), replace(SMALL, batch=4, experts=2), Learned(teacher="experts"), lr=0.1)
    problem = Problem(noisy, 2, "convnet2-w4", "cpu", "", 0.0, tmp_path)
    whole, first, second, fresh = (Distillation(problem, point, seed=7) for _ in range(4))
    require_exact_resume(whole, first, second)
    fresh.prepare()
    assert not torch.equal(fresh.tensors["pixels"], initial_rows("real", problem, 2, Streams(7)))


def test_only_an_objective_with_experts_can_say_where_to_start():
    with pytest.raises(ConfigError, match="storage of a recipe") as told:
        Recipe(Pixels(init_from="correct"), Distribution(), Hard())
    assert "trains experts on the real data" in str(told.value)
    with pytest.raises(ConfigError, match="labels of a recipe"):
        Recipe(Pixels(), Distribution(), Learned(teacher="experts"))


def test_where_datm_starts():
    spec = replace(blob_images(classes=2).spec, class_names=tuple(map(str, range(100))))
    for ipc in (1, 10, 50):
        point = RECIPES.load("datm")(Task(spec, ipc, "paper"))
        assert point.storage == Pixels(init_from="real" if ipc == 50 else "correct")
        assert point.labels == Learned(teacher="experts")
        point = RECIPES.load("datm")(Task(spec, ipc, "cpu"))
        assert (point.storage, point.labels) == (Pixels(), Learned())


@pytest.mark.parametrize(("own", "augmented", "seen"), [("", True, "crop"), ("", False, ""), ("flip", True, "flip")])
def test_experts_see_the_augmentation_that_their_own_settings_name(data, own, augmented, seen):
    config = replace(SMALL, expert=replace(EXPERT, augment=own), expert_augmented=augmented)
    state = config.init(Problem(data, 2, "convnet2-w4", "cpu", "crop", 0.0), Streams(3))
    assert isinstance(state, TrajectoryState)
    assert state.experts._course.config.augment == seen
