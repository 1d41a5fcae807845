"""Storages: decoding, two-pass back-propagation, what is stored."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toys import blob_images

import decoct
from decoct.compact.decoders import DECODERS
from decoct.distillation.labels.hard import Hard
from decoct.distillation.labels.learned import Learned
from decoct.distillation.objective.distribution import Distribution
from decoct.distillation.problem import Problem
from decoct.distillation.recipe import Recipe
from decoct.distillation.run import Distillation
from decoct.distillation.storage.multiformation import Multiformation
from decoct.distillation.storage.pixels import Pixels, initial_rows
from decoct.errors import ConfigError
from decoct.streams import Streams


def _problem(shape: tuple[int, int, int] = (1, 8, 8), ipc: int = 2) -> Problem:
    return Problem(blob_images(shape=shape), ipc, "convnet2-w4", "cpu", "", 0.0)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 13)])
@pytest.mark.parametrize("factor", [2, 3])
def test_cells_hold_the_shrunken_images_in_order(shape, factor, monkeypatch):
    """Images of one value each: whatever shrinks and enlarges them, every decoded row must keep its own value."""
    count = 3 * 2 * factor**2
    flat = torch.arange(count).float()[:, None, None, None].expand(-1, *shape)
    monkeypatch.setattr("decoct.distillation.storage.multiformation.initial_rows", lambda *_: flat)
    storage = Multiformation(factor=factor)
    tensors = storage.init(_problem(shape), Streams(0))
    assert torch.equal(storage.decode(tensors), flat)
    rows = torch.tensor([count - 1, 0, 5])
    assert torch.equal(storage.decode(tensors, rows), flat[rows])
    assert storage.classes(_problem(shape)).tolist() == [row // (2 * factor**2) for row in range(count)]


def test_medoids_of_a_class_with_too_few_rows_are_repeated():
    data = blob_images()
    few = np.flatnonzero(data.train.y == 1)[3:]
    small = data.with_train(np.setdiff1d(np.arange(len(data.train)), few))
    rows = initial_rows("medoids", Problem(small, 2, "convnet2-w4", "cpu", "", 0.0), 8, Streams(0)).reshape(3, 8, -1)
    assert [len(own.unique(dim=0)) for own in rows] == [8, 3, 8]
    assert torch.equal(rows[1, 3:], rows[1, :5]), "one after another"
    tensors = Multiformation(init_from="medoids").init(Problem(small, 2, "convnet2-w4", "cpu", "", 0.0), Streams(0))
    assert tensors["pixels"].shape == (6, 1, 8, 8)


def test_medoids_are_those_that_k_means_selects():
    problem = _problem()
    core = decoct.select(problem.data, "k-means", ipc=2, seed=5)
    inputs, _, _ = core.materialize()
    expected = inputs[torch.argsort(core.classes, stable=True)]
    assert torch.equal(initial_rows("medoids", problem, 2, Streams(5)), expected)


@pytest.mark.parametrize("storage", [Pixels(), Multiformation()])
def test_two_pass_gradients_equal_direct_ones(storage, monkeypatch):
    """Images first, then the decoder in chunks: the same gradient as one graph through everything."""
    monkeypatch.setattr("decoct.distillation.run.DECODE_ROWS", 5)
    problem = _problem()
    run = Distillation(problem, Recipe(storage, Distribution(real_per_class=4), Hard(), optimizer="sgd"), 0)
    weights = torch.randn(run.recipe.storage.decode(run.tensors).shape, generator=torch.Generator().manual_seed(0))
    rows = torch.arange(len(run.classes))
    leaf = storage.decode(run.tensors, rows).detach().requires_grad_(True)
    ((leaf * weights).sin().sum()).backward()
    run._storage_backward(rows, leaf)
    found = run.tensors["pixels"].grad
    free = run.tensors["pixels"].detach().clone().requires_grad_(True)
    (storage.decode({"pixels": free}) * weights).sin().sum().backward()
    assert found is not None
    assert free.grad is not None
    assert torch.allclose(found, free.grad, atol=1e-6)


@pytest.mark.parametrize("storage", [Pixels(bits=8), Pixels(bits=16), Pixels(bits=32), Multiformation(bits=16)])
def test_what_is_stored_decodes_to_what_was_learned(storage):
    problem = _problem((3, 8, 8))
    tensors = storage.init(problem, Streams(0))
    name, stored, config = storage.pack(tensors, problem)
    error = (DECODERS.load(name)(stored, config) - storage.decode(tensors)).abs().max()
    span = float(tensors["pixels"].max() - tensors["pixels"].min())
    assert error <= {8: span / 255, 16: span / 1000, 32: 0.0}[storage.bits]


def test_real_starts_are_real_rows_of_their_class():
    problem = _problem()
    start = Pixels().init(problem, Streams(0))["pixels"]
    rows = problem.data.inputs(problem.data.train)
    for image, label in zip(start, Pixels().classes(problem), strict=True):
        same = (rows == image).flatten(1).all(1)
        assert problem.data.train.y[same.numpy()].tolist() == [int(label)]


def test_images_too_small_for_the_grid_say_so():
    with pytest.raises(ConfigError, match="factor 5(.|\n)*at least twice the factor(.|\n)*smaller factor"):
        Multiformation(factor=5).init(_problem(), Streams(0))


def test_learned_labels_start_at_the_asked_confidence_or_at_centred_scores():
    problem = _problem()
    objective = Distribution()
    state = Learned(confidence=0.8).init(problem, Pixels(), objective, Streams(0))
    targets = state.targets(torch.arange(6))
    assert torch.allclose(targets.sum(1), torch.ones(6))
    assert torch.allclose(targets.max(1).values, torch.full((6,), 0.8))
    from decoct.distillation.objective.ridge import Ridge

    scores = Learned().init(problem, Pixels(), Ridge(), Streams(0)).targets(torch.arange(6))
    assert torch.allclose(scores.sum(1), torch.zeros(6), atol=1e-6)
    assert scores[0, 0].item() == pytest.approx((1 - 1 / 3) / (3 / 10) ** 0.5)
