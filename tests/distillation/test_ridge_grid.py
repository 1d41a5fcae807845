"""`ridge-grid`: small images with learned scores, together no heavier than the real images they stand for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from toys import blob_features, blob_images

import decoct
from decoct.distillation.objective.random_features import RandomFeatures
from decoct.distillation.recipes.ridge import room_for_scores
from decoct.distillation.recipes.table import CARDS, resolve
from decoct.distillation.recipes.task import Task
from decoct.distillation.storage.multiformation import Multiformation


def _task(shape: tuple[int, int, int], classes: int, ipc: int = 1) -> Task:
    spec = blob_images(shape=shape).spec
    return Task(replace(spec, class_names=tuple(map(str, range(classes)))), ipc)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 48)])
@pytest.mark.parametrize("classes", [2, 10, 100])
@pytest.mark.parametrize("ipc", [1, 10])
def test_images_shrink_just_enough_for_their_scores(shape, classes, ipc):
    def weight(shrink: int) -> int:
        channels, height, width = shape
        stored = channels * (height - shrink) * (width - shrink) + 4 * classes * 2
        return ipc * classes * stored + 8 * channels

    shrink, allowed = room_for_scores(_task(shape, classes, ipc), 2), ipc * classes * (torch.Size(shape).numel() + 1)
    if shrink is None:
        assert 2 * 4 * classes * 2 > torch.Size(shape).numel()
        return
    assert weight(shrink) <= allowed
    assert shrink == 0 or weight(shrink - 1) > allowed


@pytest.mark.parametrize("preset", ["cpu", "paper"])
def test_the_set_weighs_no_more_than_real_images(preset, monkeypatch):
    monkeypatch.setattr("decoct.distillation.validate.STEPS", 4)
    data = blob_images(classes=3, shape=(1, 16, 18))
    point = resolve("ridge-grid", Task(data.spec, 2, preset))
    assert isinstance(point.objective, RandomFeatures)
    assert isinstance(point.storage, Multiformation)
    assert point.storage.shrink == 1
    small_objective = replace(point.objective, real_batch=16, networks=2)
    small = decoct.distill(data, replace(point, objective=small_objective), ipc=2, steps=2, network="convnet2-w4")
    assert small.label_kind == "scores"
    assert small.decode().shape == (3 * 2 * 4, 1, 16, 18)
    assert small.nbytes.total <= 3 * 2 * (16 * 18 + 1)


def test_where_a_grid_makes_no_sense_the_recipe_is_ridge():
    assert room_for_scores(_task((1, 8, 8), 10), 2) is None, "too small for cells"
    assert room_for_scores(_task((3, 32, 32), 400), 2) is None, "scores would be most of the bytes"
    table = Task(blob_features().spec, 2)
    assert resolve("ridge-grid", table) == resolve("ridge", table)


@pytest.mark.parametrize(("ipc", "age"), [(1, 100), (10, 10), (50, 2), (200, 0)])
def test_networks_of_large_sets_grow_up_in_fewer_steps(ipc, age):
    """A step of growing up passes over the whole set, so that ages must fall as sets grow."""
    objective = resolve("ridge-grid", _task((1, 28, 28), 10, ipc)).objective
    assert isinstance(objective, RandomFeatures)
    assert objective.max_age == age


def test_the_card_names_the_recipe():
    card = CARDS.load("ridge-grid")
    assert card.name == "ridge-grid"
    assert card.axes == "multiformation x random-features x learned"
