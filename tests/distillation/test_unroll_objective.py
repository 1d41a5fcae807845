"""The unroll objective against a written-out outer step, its draws, and the faults of the official codes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.func import functional_call
from toys import blob_features, blob_images

import decoct
from decoct.augment.siamese import Siamese
from decoct.distillation.estimate import step_bytes
from decoct.distillation.labels.hard import Hard
from decoct.distillation.objective.unroll import Unroll, UnrollState, ordered_rows, random_rows
from decoct.distillation.problem import Problem, RealSource, Synthetic
from decoct.distillation.recipe import Recipe
from decoct.distillation.recipes.table import RECIPES, resolve
from decoct.distillation.recipes.task import Task
from decoct.distillation.run import Distillation
from decoct.distillation.storage.bases import Bases
from decoct.distillation.storage.pixels import Pixels
from decoct.errors import ConfigError
from decoct.networks.build import network
from decoct.streams import Streams, derive_seed

CLASSES = torch.tensor([0, 1, 2, 0, 1, 2])


def problem(strategy: str = "", name: str = "convnet2-w4") -> Problem:
    return Problem(blob_images(classes=3), 2, name, "cpu", strategy, 0.0)


def state_of(config: Unroll, task: Problem, seed: int = 5) -> UnrollState:
    state = config.init(task, Streams(seed))
    assert isinstance(state, UnrollState)
    return state


def synthetic(task: Problem) -> Synthetic:
    images = task.data.inputs(task.data.train, torch.arange(6)).requires_grad_(True)
    scores = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    return Synthetic(images, scores.softmax(1).detach().requires_grad_(True), CLASSES)


@pytest.mark.parametrize("strategy", ["", "flip_scale_color"])
@pytest.mark.parametrize("name", ["convnet2-w4", "convnet2-w4-bn"])
def test_one_step_written_out(strategy, name):
    """Fresh network, momentum, rows of each class, one augmentation for everything, loss on real rows."""
    task = problem(strategy, name)
    config = Unroll(inner_steps=3, momentum=0.5, inner_lr=0.1, batch_per_class=1, real_batch=9)
    rows = synthetic(task)
    loss = state_of(config, task).loss(rows, RealSource(task.data, "cpu", torch.Generator().manual_seed(2)))
    found = torch.autograd.grad(loss, (rows.images, rows.targets))

    streams = Streams(5)
    batches = random_rows(CLASSES, 1, 3, streams("inner"))
    inputs, labels = RealSource(task.data, "cpu", torch.Generator().manual_seed(2)).batch(9)
    siamese = Siamese(strategy)
    drawn = siamese.draw(1, (1, 8, 8), streams("augmentation"))
    module = network(name, (1, 8, 8), 3, derive_seed(5, "unroll", 0))
    weights = {key: value.detach().requires_grad_() for key, value in module.named_parameters()}
    velocity = {key: torch.zeros_like(value) for key, value in weights.items()}
    buffers = {key: value.clone() for key, value in module.named_buffers()}
    for batch in batches:
        logits = functional_call(module, {**weights, **buffers}, (siamese.apply(rows.images[batch], drawn),))
        inner = nn.functional.cross_entropy(logits, rows.targets[batch])
        slopes = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
        velocity = {key: 0.5 * velocity[key] + slope for key, slope in zip(weights, slopes, strict=True)}
        weights = {key: value - 0.1 * velocity[key] for key, value in weights.items()}
    logits = functional_call(module, {**weights, **buffers}, (siamese.apply(inputs, drawn),))
    expected = nn.functional.cross_entropy(logits, labels)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    for mine, theirs in zip(found, torch.autograd.grad(expected, (rows.images, rows.targets)), strict=True):
        assert torch.allclose(mine, theirs, atol=2e-4 * float(theirs.abs().max()))


def test_the_learned_step_sizes_get_the_gradient_of_finite_differences():
    task = problem(name="convnet2-w4-sigmoid")
    state = state_of(Unroll(inner_steps=2, inner_lr=0.3, learn_lr="each", real_batch=30, momentum=0.0), task)
    raw = state.tensors["raw_lr"].requires_grad_(True)
    assert torch.allclose(nn.functional.softplus(raw), torch.full((2,), 0.3))

    def loss_at(change: float) -> torch.Tensor:
        """The loss of the first outer step with one raw step size moved for good."""
        with torch.no_grad():
            raw[1] += change
        state.load_state_dict({"drawn": torch.tensor(0)})
        return state.loss(synthetic(task), RealSource(task.data, "cpu", torch.Generator().manual_seed(2)))

    slope = torch.autograd.grad(loss_at(0.0), raw)[0][1]
    difference = (loss_at(0.1).item() - loss_at(-0.2).item()) / 0.2
    assert slope.item() == pytest.approx(difference, rel=0.02)


@pytest.mark.parametrize(("learn_lr", "key"), [("each", "lrs"), ("one", "lr")])
def test_step_sizes_move_and_are_stored_with_the_set(learn_lr, key):
    point = Recipe(
        Pixels(), Unroll(inner_steps=3, inner_lr=0.02, learn_lr=learn_lr, real_batch=12), Hard(),
        steps=2, lr_objective=0.1,
    )  # fmt: skip
    run = Distillation(problem(), point, seed=0)
    start = run.packed(run.tensors, {}).learned
    assert start["inner_steps"] == 3
    assert start[key] == pytest.approx([0.02] * 3 if key == "lrs" else 0.02)
    for step in range(2):
        run.advance(step / 2)
    assert run.packed(run.tensors, {}).learned[key] != start[key]
    assert Distillation(problem(), replace(point, objective=Unroll()), seed=0).packed(run.tensors, {}).learned == {}


def test_the_window_is_drawn_anew_for_every_step_from_all_its_places():
    """The official code of RaT-BPTT keeps a window for a whole epoch unless a flag is set."""
    state = state_of(Unroll(inner_steps=5, window=3), problem())
    drawn = [state._burn_in() for _ in range(60)]
    assert set(drawn) == {0, 1, 2}
    assert state_of(Unroll(inner_steps=5), problem())._burn_in() == 0


def test_rows_of_the_burn_in_get_no_gradient():
    task = problem()
    state = state_of(Unroll(inner_steps=8, window=1, ordered=True, real_batch=9), task)
    for _ in range(4):
        rows = synthetic(task)
        state.loss(rows, RealSource(task.data, "cpu", torch.Generator().manual_seed(2))).backward()
        assert rows.images.grad is not None
        seen = rows.images.grad.flatten(1).abs().sum(1) > 0
        assert seen.tolist() in ([True] * 3 + [False] * 3, [False] * 3 + [True] * 3), "one row of each class"


def test_every_step_trains_another_network_that_follows_from_the_seed():
    def losses(seed: int) -> list[float]:
        task = problem()
        state = state_of(Unroll(inner_steps=1, real_batch=60), task, seed)
        rows = synthetic(task)
        source = RealSource(task.data, "cpu", torch.Generator().manual_seed(0))
        return [state.loss(rows, source).item() for _ in range(3)]

    first = losses(1)
    assert len(set(first)) == 3
    assert losses(1) == first
    assert losses(2) != first


def test_random_rows_have_the_share_of_every_class_once():
    classes = torch.tensor([2, 0, 1, 0, 2, 2, 0, 0])
    drawn = random_rows(classes, 2, 50, torch.Generator().manual_seed(0))
    for rows in drawn:
        assert len(set(rows.tolist())) == len(rows) == 5
        assert torch.bincount(classes[rows]).tolist() == [2, 1, 2]
    assert set(torch.cat(drawn).tolist()) == set(range(8))
    assert random_rows(classes, None, 2, torch.Generator())[1].tolist() == list(range(8))


def test_ordered_rows_go_round():
    classes = torch.tensor([0, 0, 1, 1, 0, 1])
    assert [rows.tolist() for rows in ordered_rows(classes, 1, 4)] == [[0, 2], [1, 3], [4, 5], [0, 2]]
    assert [rows.tolist() for rows in ordered_rows(classes, 2, 2)] == [[0, 1, 2, 3], [4, 0, 5, 2]]


def test_the_regulariser_of_the_coefficients_has_an_effect():
    """In the official code of Remember the Past it is part of the inner loss, where it has none."""
    moved = []
    for l2 in (0.0, 10.0):
        storage = Bases(count=2, downsample=2, l2=l2)
        point = Recipe(storage, Unroll(inner_steps=2, real_batch=12), Hard(), optimizer="sgd", lr=0.1, steps=1)
        run = Distillation(problem(), point, seed=0)
        start = run.tensors["coefficients"].detach().clone()
        run.advance(0.0)
        moved.append((start, run.tensors["coefficients"].detach() - start))
    start, plain = moved[0]
    penalty = -0.1 * 10.0 * 2 * start / start.numel()
    assert torch.allclose(moved[1][1], plain + penalty, atol=1e-5)


def test_rows_taken_in_order_are_not_sampled():
    """Step sizes go with the rows of the set in their order; those of a sample would be stored with others."""
    point = Recipe(Pixels(), Unroll(inner_steps=2, learn_lr="each", ordered=True, real_batch=9), Hard())
    for refused in (lambda at: Distillation(problem(), at, seed=0), lambda at: step_bytes(problem(), at)):
        with pytest.raises(ConfigError) as told:
            refused(replace(point, rows_per_step=5))
        assert "received: rows_per_step=5, and a set of 6 rows" in str(told.value)
        assert "rows_per_step=6 or more, or leave ordered out" in str(told.value)
    run = Distillation(problem(), replace(point, rows_per_step=6), seed=0)
    run.advance(0.0)
    assert run.packed(run.tensors, {}).learned["ordered"] == 1
    Distillation(problem(), replace(point, rows_per_step=5, objective=Unroll(inner_steps=2)), seed=0)


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(ConfigError, match="setting inner_steps of the objective 'unroll'"):
        Unroll(inner_steps=0)
    with pytest.raises(ConfigError, match="at most inner_steps, 3"):
        Unroll(inner_steps=3, window=4)
    with pytest.raises(ConfigError, match="a number above 0"):
        Unroll(inner_lr=0.0)


@pytest.mark.parametrize("name", ["dd", "rtp", "rat-bptt"])
@pytest.mark.parametrize("preset", ["cpu", "paper"])
def test_recipes_distil(name, preset):
    data = blob_images(classes=3)
    point = resolve(name, Task(data.spec, 2, preset))
    assert isinstance(point.objective, Unroll)
    window = None if point.objective.window is None else 1
    short = replace(point, objective=replace(point.objective, inner_steps=2, window=window, real_batch=12), steps=2)
    small = decoct.distill(data, short, ipc=2, network="convnet2-w4")
    assert torch.isfinite(small.decode()).all()
    assert ("lrs" in small.learned) == (name == "dd")


@pytest.mark.parametrize(
    ("classes", "ipc", "window", "steps", "lr", "batch"),
    [
        (10, 10, 60, 200, 1e-3, 10),
        (100, 10, 100, 300, 1e-3, 1),
        (100, 1, 90, 130, 3e-4, 1),
        (200, 10, 100, 300, 3e-4, 1),
    ],
)
def test_rat_bptt_has_the_published_cell_of_the_data(classes, ipc, window, steps, lr, batch):
    spec = replace(blob_images(classes=2).spec, class_names=tuple(map(str, range(classes))))
    point = RECIPES.load("rat-bptt")(Task(spec, ipc, "paper"))
    assert (point.objective.window, point.objective.inner_steps) == (window, steps)
    assert (point.lr, point.objective.batch_per_class) == (lr, batch)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 8), (12,)])
def test_rat_bptt_starts_from_noise_of_unit_norm_as_published(shape):
    """Standard normal noise of CIFAR has a norm of 55, which makes the same step of Adam 55 times smaller."""
    data = blob_images(shape=shape) if len(shape) == 3 else blob_features(width=12)
    point = resolve("rat-bptt", Task(data.spec, 10, "paper"))
    start = point.storage.init(Problem(data, 10, "convnet2-w4", "cpu", "", 0.0), Streams(3))["pixels"]
    torch.testing.assert_close(start.flatten(1).norm(dim=1), torch.ones(30))
    plain = Pixels(init_from="noise").init(Problem(data, 10, "convnet2-w4", "cpu", "", 0.0), Streams(3))["pixels"]
    torch.testing.assert_close(start, plain / plain.flatten(1).norm(dim=1).view(-1, *[1] * len(shape)))
    assert point.steps == 600_000


def test_dd_halves_its_step_sizes_as_published():
    assert RECIPES.load("dd")(Task(blob_images().spec, 10, "paper")).schedule == "halved"


@pytest.mark.parametrize("name", ["rat-bptt", "frepo", "rfad", "rcig"])
def test_recipes_whose_colour_figures_are_of_whitened_data_say_so(name):
    assert "`whiten=True`" in (RECIPES.load(name).__doc__ or "")
