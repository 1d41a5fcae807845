"""The recipes of the ridge family: every size and preset is a point, and a few steps of it run."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from toys import blob_features, blob_images

import decoct
from decoct.distillation.objective.implicit import Implicit
from decoct.distillation.objective.random_features import RandomFeatures
from decoct.distillation.objective.ridge import Ridge
from decoct.distillation.objective.tangent import Tangent
from decoct.distillation.recipe import Recipe
from decoct.distillation.recipes.table import CARDS, RECIPES, resolve
from decoct.distillation.recipes.task import Preset, Task
from decoct.networks.build import network

NAMES = ("ridge", "kip", "frepo", "rfad", "rcig")
SMALL = {
    Ridge: {"real_batch": 16, "pool": 2},
    RandomFeatures: {"real_batch": 16, "networks": 2},
    Tangent: {"real_batch": 16},
    Implicit: {"real_batch": 16, "pool": 2, "inner_steps": 2, "hvp_steps": 2},
}


def _point(name: str, shape: tuple[int, ...], ipc: int, preset: Preset) -> Recipe:
    data = blob_images(shape=shape) if len(shape) == 3 else blob_features(width=shape[0])  # type: ignore[arg-type]
    return resolve(name, Task(data.spec, ipc, preset))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("preset", ["cpu", "paper"])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (12,)])
@pytest.mark.parametrize("ipc", [1, 3, 50])
def test_every_size_has_a_point_with_a_network_that_exists(name, preset, shape, ipc):
    """The official code of FRePo raises for sizes other than 1, 10 and 50."""
    point = _point(name, shape, ipc, preset)
    assert point.steps >= 100
    if point.network is not None:
        assert network(point.network, shape, 3, 0)(torch.zeros(2, *shape)).shape == (2, 3)
    assert not (shape[0] == 1 and isinstance(point.objective, Ridge) and point.objective.flip)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("preset", ["cpu", "paper"])
def test_a_few_steps_of_every_point_run(name, preset, monkeypatch):
    monkeypatch.setattr("decoct.distillation.validate.STEPS", 4)
    data = blob_images(classes=3, shape=(3, 8, 8))
    point = resolve(name, Task(data.spec, 2, preset))
    small_objective = replace(point.objective, **SMALL[type(point.objective)])  # type: ignore[type-var]
    small = decoct.distill(
        data, replace(point, objective=small_objective), ipc=2, steps=2, network="convnet2-w4", preset=preset
    )
    assert small.label_kind == ("hard" if (name, preset) == ("kip", "cpu") else "scores")
    assert torch.isfinite(small.decode()).all()


@pytest.mark.parametrize("name", NAMES)
def test_cards_name_the_recipe_and_its_point(name):
    card, point = CARDS.load(name), _point(name, (1, 8, 8), 1, "cpu")
    assert card.name == name
    assert card.bibtex.count("@") >= 1
    kinds = {Ridge: "ridge", RandomFeatures: "random-features", Tangent: "tangent", Implicit: "implicit"}
    assert card.axes.startswith("pixels x ")
    assert kinds[type(point.objective)] in card.axes  # type: ignore[index]
    assert name in RECIPES


def test_published_settings():
    frepo = _point("frepo", (3, 32, 32), 10, "paper")
    assert isinstance(frepo.objective, Ridge)
    assert (frepo.objective.flip, frepo.objective.pool, frepo.objective.max_age) == (True, 10, 100)
    assert (frepo.objective.reg, frepo.objective.real_batch, frepo.steps) == (1e-6, 1024, 500_000)
    assert (frepo.objective.running_statistics, frepo.network) == (True, "convnet3-w128-bn")
    rfad = _point("rfad", (3, 32, 32), 10, "paper")
    assert isinstance(rfad.objective, RandomFeatures)
    assert (rfad.objective.networks, rfad.objective.pool, rfad.objective.reg) == (8, 0, 5e-3)
    rcig = _point("rcig", (3, 32, 32), 10, "paper")
    assert isinstance(rcig.objective, Implicit)
    assert (rcig.objective.pool, rcig.objective.inner_steps, rcig.objective.hvp_steps) == (30, 20, 20)
    assert (rcig.lr, rcig.lr_objective) == (0.003, 0.03)


@pytest.mark.parametrize(("classes", "ipc", "mirrored"), [
    (10, 1, True), (10, 50, True), (100, 1, True), (100, 10, False), (100, 50, False), (200, 1, True), (200, 10, False),
    (1000, 1, False),
])  # fmt: skip
def test_frepo_mirrors_where_its_authors_do(classes, ipc, mirrored):
    spec = replace(blob_images(shape=(3, 8, 8)).spec, class_names=tuple(map(str, range(classes))))
    point = resolve("frepo", Task(spec, ipc, "paper"))
    assert isinstance(point.objective, Ridge)
    assert point.objective.flip == mirrored
    kept = resolve("frepo", Task(spec, ipc, "cpu")).objective
    assert isinstance(kept, Ridge)
    assert (kept.flip, kept.running_statistics) == (True, False)


@pytest.mark.parametrize(("shape", "name"), [
    ((3, 32, 32), "convnet3-w128-none-softplus"), ((1, 28, 28), "convnet3-w128-none-softplus"),
    ((3, 64, 64), "convnet4-w128-none"), ((3, 128, 128), "convnet5-w128-none"), ((12,), "mlp-softplus"),
])  # fmt: skip
def test_rcig_has_no_normalisation_and_softplus_in_small_networks(shape, name):
    """`has_bn` is false in all configurations of the authors, `softplus_temp` 0 from a depth of 4 on."""
    assert _point("rcig", shape, 1, "paper").network == name
