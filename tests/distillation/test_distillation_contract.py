"""The contract of every storage x objective x labels: a new member of an axis is one more line in `axis_members`."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch
from axis_members import LABELS, OBJECTIVES, STORAGES
from resuming import require_exact_resume
from torch import nn
from torch.nn import functional
from toys import blob_features, blob_images, class_balance

import decoct
from decoct.data.dataset import Dataset
from decoct.distillation.labels.hard import Hard
from decoct.distillation.objective.distribution import Distribution
from decoct.distillation.objective.ridge import Ridge
from decoct.distillation.problem import Problem
from decoct.distillation.recipe import Recipe
from decoct.distillation.run import Distillation
from decoct.distillation.step_rows import StepRows
from decoct.distillation.storage.pixels import Pixels
from decoct.distillation.validate import validate
from decoct.errors import ConfigError


def covering() -> list[tuple[str, str, str]]:
    """Points of the grid in which every pair of two axes' members meets, and pixels meet every objective and label."""
    kinds = list(LABELS)
    points = {(s, o, kinds[(i + j) % len(kinds)]) for i, s in enumerate(STORAGES) for j, o in enumerate(OBJECTIVES)}
    assert {(s, label) for s, _, label in points} == set(product(STORAGES, LABELS))
    assert {(o, label) for _, o, label in points} == set(product(OBJECTIVES, LABELS))
    points |= {("pixels", o, label) for o in OBJECTIVES for label in LABELS}
    points |= {(s, "distribution", label) for s in STORAGES for label in LABELS}
    return sorted(points)


GRID = covering()
FILLED = {"pixels", "multiformation", "patches"}
"""Storages that spend every byte of the budget."""


@pytest.fixture(autouse=True)
def short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decoct.distillation.validate.STEPS", 4)


def recipe(storage: str, objective: str, labels: str, **changes: object) -> Recipe:
    return Recipe(STORAGES[storage], OBJECTIVES[objective], LABELS[labels], steps=4, **changes)  # type: ignore[arg-type]


def decoded_rows(storage: str, data: Dataset, ipc: int) -> int:
    return len(STORAGES[storage].classes(Problem(data, ipc, "convnet2-w4", "cpu", "", 0.0)))


def bits(small: decoct.DistilledSet) -> list[np.ndarray]:
    return [tensor.numpy() for tensor in small.materialize()]


@pytest.mark.parametrize(("storage", "objective", "labels"), GRID)
def test_budget_balance_and_round_trip(storage, objective, labels, tmp_path):
    data = blob_images(classes=3)
    small = decoct.distill(data, recipe(storage, objective, labels), ipc=2, network="convnet2-w4", out=tmp_path / "a")
    inputs, targets, weights = small.materialize()
    rows = decoded_rows(storage, data, 2)
    assert inputs.shape == (rows, 1, 8, 8)
    assert class_balance(small.classes, 3) == [rows // 3] * 3
    whole = 3 * 2 * 64
    assert small.nbytes.images <= whole, "one byte a value of a real image, whatever is decoded from it"
    assert small.nbytes.images == whole or storage not in FILLED
    assert torch.isfinite(inputs).all()
    assert torch.isfinite(targets.float()).all()
    assert len(weights) == len(inputs)
    again = decoct.load(tmp_path / "a")
    assert all(np.array_equal(a, b) for a, b in zip(bits(small), bits(again), strict=True))
    assert again.content_hash == small.content_hash


@pytest.mark.parametrize(("storage", "objective", "labels"), GRID)
def test_resume_gives_the_bits_of_an_uninterrupted_run(storage, objective, labels):
    data, point = blob_images(classes=3), recipe(storage, objective, labels)
    whole, first, second = (_distillation(data, point) for _ in range(3))
    require_exact_resume(whole, first, second)


def _distillation(data, point) -> Distillation:
    return Distillation(Problem(data, 2, "convnet2-w4", "cpu", "crop_scale", 0.0), point, seed=7)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_same_seed_same_bits_and_the_global_generator_is_left_alone(objective):
    data, point = blob_images(), recipe("pixels", objective, "learned")
    before = torch.random.get_rng_state()
    one = decoct.distill(data, point, ipc=1, network="convnet2-w4", seed=3)
    two = decoct.distill(data, point, ipc=1, network="convnet2-w4", seed=3)
    other = decoct.distill(data, point, ipc=1, network="convnet2-w4", seed=4)
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(np.array_equal(a, b) for a, b in zip(bits(one), bits(two), strict=True))
    assert not np.array_equal(bits(one)[0], bits(other)[0])


class Noisy(nn.Sequential):
    """A dropout layer, and a `forward` that drops out by itself."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return super().forward(functional.dropout(input, 0.2, self.training))


def noisy(shape: tuple[int, ...], classes: int) -> nn.Module:
    width = math.prod(shape)
    return Noisy(nn.Flatten(), nn.Linear(width, 6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, classes))


def dropping(shape: tuple[int, ...], classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 6), nn.Dropout(0.5), nn.Linear(6, classes))


def _after_two_steps(objective: str, seed: int) -> dict[str, torch.Tensor]:
    """The state of a run in which another part of the program has used the global generator."""
    torch.manual_seed(seed)
    before = torch.random.get_rng_state()
    problem = Problem(blob_images(), 1, f"{__name__}:noisy", "cpu", "", 0.0)
    run = Distillation(problem, recipe("pixels", objective, "learned"), seed=7)
    run.prepare()
    for step in range(2):
        run.advance(step / 2)
    assert torch.equal(before, torch.random.get_rng_state())
    return {name: value.detach().clone() for name, value in run.state()[0].items()}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_dropout_in_a_network_leaves_the_seed_in_charge(objective):
    with torch.random.fork_rng(devices=[]):
        one, two = _after_two_steps(objective, 1), _after_two_steps(objective, 2)
    assert [name for name in one if not torch.equal(one[name], two[name])] == []


@pytest.mark.parametrize("objective", ["queued-distribution", "ridge", "kept-random-features", "implicit"])
def test_a_resume_with_dropout_in_the_network_is_exact(objective):
    """Real features that are computed again have to be those that were lost."""
    problem, point = (
        Problem(blob_images(), 1, f"{__name__}:dropping", "cpu", "", 0.0),
        recipe("pixels", objective, "hard"),
    )
    require_exact_resume(*(Distillation(problem, point, seed=7) for _ in range(3)))
    module = problem.module(0)
    rows = torch.ones(4, 1, 8, 8)
    assert module.training
    assert torch.equal(module(rows), module(rows))


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(("classes", "shape"), [(2, (3, 8, 8)), (20, (1, 8, 8)), (3, (3, 9, 14))])
def test_channels_class_counts_and_sides(objective, classes, shape):
    data = blob_images(classes=classes, per_class=8, shape=shape)
    others = [name for name in STORAGES if name != "pixels"]
    # Each objective meets another storage beside pixels; all pairs of the two meet in the grid above.
    for storage in ("pixels", others[(list(OBJECTIVES).index(objective) + classes) % len(others)]):
        small = decoct.distill(data, recipe(storage, objective, "learned"), ipc=1, network="convnet2-w4")
        assert small.decode().shape == (decoded_rows(storage, data, 1), *shape)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("labels", LABELS)
def test_features_work_in_place_of_images(objective, labels):
    small = decoct.distill(blob_features(), recipe("pixels", objective, labels), ipc=2, network="mlp-w8")
    assert small.decode().shape == (6, 12)


def test_multiformation_of_features_says_what_to_use():
    with pytest.raises(ConfigError, match="use the storage 'pixels'"):
        decoct.distill(blob_features(), recipe("multiformation", "ridge", "hard"), ipc=1, network="mlp-w8")


@pytest.mark.parametrize("network", ["convnet2-w4-bn", "convnet2-w4-none"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_other_normalisations(objective, network):
    small = decoct.distill(blob_images(), recipe("pixels", objective, "hard"), ipc=1, network=network)
    assert torch.isfinite(small.decode()).all()


@pytest.mark.parametrize("init", ["real", "noise", "medoids"])
def test_every_start(init):
    point = Recipe(Pixels(init_from=init), OBJECTIVES["ridge"], Hard(), steps=1)
    assert decoct.distill(blob_images(), point, ipc=2, network="convnet2-w4").decode().shape == (6, 1, 8, 8)


@pytest.mark.parametrize("rows", [3, 7])
def test_large_sets_are_sampled_by_step(rows):
    point = recipe("multiformation", "distribution", "hard", rows_per_step=rows)
    small = decoct.distill(blob_images(), point, ipc=2, network="convnet2-w4")
    assert len(small.classes) == 24


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_fewer_rows_a_step_than_classes(objective, monkeypatch):
    """So many rows, each of another class, where rows are taken by themselves, and else one of every class."""
    some = objective == "statistics"
    data, point = blob_images(classes=5, per_class=8), recipe("pixels", objective, "learned", rows_per_step=3)
    run, seen = Distillation(Problem(data, 2, "convnet2-w4", "cpu", "", 0.0), point, seed=7), []
    loss = type(run.objective).loss

    def seeing(own, synthetic, real):
        seen.append(synthetic.classes.tolist())
        return loss(own, synthetic, real)

    monkeypatch.setattr(type(run.objective), "loss", seeing)
    run.prepare()
    for step in range(4):
        run.advance(step / 4)
    assert all(len(step) == len(set(step)) == (3 if some else 5) for step in seen)
    assert set().union(*seen) == set(range(5)), "all have their turn"
    assert StepRows(point, run.classes, 5).count == len(seen[0]), "what memory is reckoned with"


def test_a_resume_draws_the_classes_of_the_next_steps():
    point = recipe("multiformation", "statistics", "learned", rows_per_step=2)
    problem = Problem(blob_images(classes=5, per_class=8), 1, "convnet2-w4", "cpu", "crop", 0.0)
    require_exact_resume(*(Distillation(problem, point, seed=7) for _ in range(3)))


def uneven() -> Dataset:
    """Classes of 2, 9 and 30 rows of four channels."""
    data = blob_images(classes=3, per_class=30, shape=(4, 8, 8))
    kept = zip(data.train.class_rows(3), (2, 9, 30), strict=True)
    return data.with_train(np.concatenate([rows[:size] for rows, size in kept]))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_classes_of_uneven_sizes_and_rows_of_uneven_weights(objective, weighted):
    """Each objective with another storage and other labels, all of which occur both with weights and without."""
    data, place = uneven(), list(OBJECTIVES).index(objective)
    if weighted:
        data = data.with_weights(np.geomspace(0.1, 10, len(data.train)))
    storage, labels = (list(axis)[(place + weighted) % len(axis)] for axis in (STORAGES, LABELS))
    small = decoct.distill(data, recipe(storage, objective, labels), ipc=2, network="convnet2-w4", steps=2)
    inputs, targets, _ = small.materialize()
    assert inputs.shape == (decoded_rows(storage, data, 2), 4, 8, 8)
    assert len(set(class_balance(small.classes, 3))) == 1
    assert torch.isfinite(inputs).all()
    assert torch.isfinite(targets.float()).all()


@pytest.mark.parametrize(
    ("objective", "settings"),
    [
        (Distribution(real_per_class=16, pool=4), {"optimizer": "sgd", "lr": 1.0, "steps": 60}),
        (Ridge(real_batch=64, pool=2), {"optimizer": "adam", "lr": 0.2, "steps": 200}),
    ],
)
def test_better_than_where_it_started_on_a_toy_problem(objective, settings, monkeypatch):
    """From noise with the right labels, students learn little; from what the steps made of it, much more."""
    monkeypatch.setattr("decoct.distillation.validate.STEPS", 250)
    data = blob_images(classes=4, per_class=30, seed=1)
    problem = Problem(data, 2, "convnet2-w8", "cpu", "", 0.0)
    run = Distillation(problem, Recipe(Pixels(init_from="noise"), objective, Hard(), augment="", **settings), seed=0)
    start = validate(run.packed(run.tensors, {}), problem, 0)
    for step in range(settings["steps"]):
        run.advance(step / settings["steps"])
    assert validate(run.packed(run.tensors, {}), problem, 0) > start + 0.2
