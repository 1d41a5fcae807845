"""Every recipe, at both presets, takes its steps on every kind of data, or says why not; new ones are in by name."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
import torch
from toys import blob_features, blob_images, class_balance
from unread import closed

import decoct
from decoct.data.dataset import Dataset
from decoct.distillation.labels.teacher import Teacher
from decoct.distillation.problem import Problem
from decoct.distillation.recipe import Recipe
from decoct.distillation.recipes.table import RECIPES, resolve
from decoct.distillation.recipes.task import Preset, Task
from decoct.errors import ConfigError

DATA = {
    "gray": lambda: blob_images(classes=3, per_class=10),
    "colour, two classes, not square": lambda: blob_images(classes=2, per_class=10, shape=(3, 8, 12)),
    "features": blob_features,
}
IMAGES_ONLY = {"rded"}
"""Recipes whose storage cuts pictures."""
AT_MOST = {
    "real_per_class": 4, "real_batch": 12, "real_rows": 16, "frequencies": 8, "pool": 2, "networks": 2, "size": 2,
    "start": 2, "train_steps": 1, "warm_steps": 1, "batch": 8, "epochs": 2, "experts": 1, "expert_rows": 8,
    "expert_epochs": 1, "inner_steps": 2, "window": 2, "hvp_steps": 2, "train_per_class": 2, "val_rows": 6, "points": 2,
    "starts": 2, "length": 2, "first_steps": 2, "next_steps": 1, "images": 4, "crops": 2, "views": 2, "inner_rows": 8,
    "early_rows": 8, "net_batch": 8, "outer_loops": 2, "inner_epochs": 1, "max_per_class": 4, "candidates": 1,
}  # fmt: skip
"""The largest value that a setting keeps, so that a step takes milliseconds; every choice of a recipe stays."""
FIXED = {"min_start_epoch": 0, "max_start_epoch": 1, "max_start_epoch_begin": None}
"""Where expert trajectories of two passes can begin."""


@pytest.fixture(autouse=True)
def short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decoct.distillation.validate.STEPS", 2)


def shrunk(settings: Any) -> Any:
    """A frozen dataclass with every count at most what `AT_MOST` says, in all that it is made of."""
    changes: dict[str, Any] = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        if is_dataclass(value):
            changes[field.name] = shrunk(value)
        elif field.name in FIXED:
            changes[field.name] = FIXED[field.name]
        elif isinstance(value, int) and not isinstance(value, bool) and field.name in AT_MOST:
            changes[field.name] = min(value, AT_MOST[field.name])
    return replace(settings, **changes)


def small_recipe(name: str, data: Dataset, ipc: int, preset: Preset) -> Recipe:
    recipe = shrunk(resolve(name, Task(data.spec, ipc, preset)))
    objective, image = recipe.objective, data.spec.is_image
    if image and getattr(objective, "backbones", ()):
        recipe = replace(recipe, objective=replace(objective, backbones=("convnet2-w4-bn",)))
    if image and isinstance(recipe.labels, Teacher) and recipe.labels.network:
        others = ("convnet2-w3",) if recipe.labels.others else ()
        recipe = replace(recipe, labels=replace(recipe.labels, network="convnet2-w4-bn", others=others))
    if hasattr(recipe.storage, "decoder"):
        recipe = replace(recipe, storage=replace(recipe.storage, decoder="small-decoder-z8-w2"))
    return replace(recipe, steps=2)


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("preset", ["cpu", "paper"])
@pytest.mark.parametrize("name", RECIPES)
def test_two_steps_or_a_reason(name, preset, kind):
    """Test data are for the judge: none of the recipes reads them, neither to match nor to choose."""
    data = closed(DATA[kind]())
    network = "convnet2-w4" if data.spec.is_image else "mlp-w8"
    point = small_recipe(name, data, 2, preset)
    if kind == "features" and name in IMAGES_ONLY:
        with pytest.raises(ConfigError, match=r"images(.|\n)*what to do:"):
            decoct.distill(data, point, ipc=2, network=network)
        return
    small = decoct.distill(data, point, ipc=2, network=network)
    inputs, targets, _ = small.materialize()
    assert torch.isfinite(inputs).all()
    assert torch.isfinite(targets.float()).all()
    assert len(set(class_balance(small.classes, data.spec.classes))) == 1, "classes in equal shares"
    assert inputs.shape[1:] == data.spec.shape


BY_PARTS = {"sre2l", "cda", "gvbsm", "idc"}
"""Recipes that are published with steps on a part of the set: batches of images, or 128 rows of a class."""


@pytest.mark.parametrize("name", sorted(set(RECIPES) - BY_PARTS))
def test_published_steps_see_every_row(name):
    """The sizes at which 2000 rows a step, which two cores can do, are not all: DATM's 10,000, NCFM's grid of 4000."""
    for shape, classes, ipc in (((3, 32, 32), 10, 1000), ((3, 32, 32), 100, 10), ((1, 28, 28), 100, 50)):
        data = blob_images(classes, 1, shape)
        point = resolve(name, Task(data.spec, ipc, "paper"))
        problem = Problem(data, ipc, "convnet3-w2", "cpu", "", 0.0)
        assert not point.objective.moves or point.rows_per_step >= len(point.storage.classes(problem))


@pytest.mark.parametrize("name", RECIPES)
def test_two_hundred_classes(name):
    data = blob_images(classes=200, per_class=3)
    small = decoct.distill(data, small_recipe(name, data, 1, "cpu"), ipc=1, network="convnet2-w4")
    assert set(small.classes.tolist()) == set(range(200))
