"""Patches: which crops are kept, where they come to lie, and what an expert must not lend or lose."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from toys import blob_features, blob_images, class_balance

import decoct
from decoct.data.dataset import Dataset
from decoct.distillation.labels.teacher import Teacher, expert_of
from decoct.distillation.objective.nothing import Nothing
from decoct.distillation.problem import Problem
from decoct.distillation.recipe import Recipe
from decoct.distillation.recipes.table import CARDS, RECIPES
from decoct.distillation.recipes.task import Task
from decoct.distillation.storage.patches import Patches, cut, draw_boxes, surest
from decoct.errors import ConfigError, MismatchError
from decoct.streams import Streams
from decoct.training.expert import train_expert

NETWORK = "convnet2-w4"


@pytest.fixture(autouse=True)
def short_students(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decoct.distillation.validate.STEPS", 2)


def problem_of(data: Dataset | None = None, network: str = NETWORK, ipc: int = 2) -> Problem:
    return Problem(data or blob_images(), ipc, network, "cpu", "", 0.0)


def test_the_best_crop_of_every_image_comes_before_any_second_best():
    losses = torch.tensor([[3.0, 1.0], [0.5, 0.6], [9.0, 2.0]])
    assert surest(losses, 3).tolist() == [[1, 0], [0, 1], [2, 1]]
    assert surest(losses, 5).tolist() == [[1, 0], [0, 1], [2, 1], [1, 1], [0, 0]]
    assert surest(losses, 8).tolist()[6:] == [[1, 0], [0, 1]], "from the beginning where all are used"


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 14)])
def test_boxes_lie_in_the_image_keep_its_proportions_and_their_areas_are_even(shape):
    boxes = draw_boxes(400, 5, shape, 0.25, torch.Generator().manual_seed(0))
    top, left, height, width = boxes.unbind(-1)
    assert boxes.min() >= 0
    assert (top + height).max() == shape[1]
    assert (left + width).max() == shape[2]
    assert ((height / shape[1] - width / shape[2]).abs() <= 1 / min(shape[1:])).all()
    share = (height * width).float() / (shape[1] * shape[2])
    assert 0.15 < float(share.min()) < 0.35
    assert abs(float(share.mean()) - 0.625) < 0.03
    assert draw_boxes(3, 2, shape, 1.0, torch.Generator())[0, 0].tolist() == [0, 0, *shape[1:]]


def test_a_cut_of_the_whole_image_is_the_image():
    image = torch.randn(1, 2, 6, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(cut(image, torch.tensor([0, 0, 6, 4]), (6, 4)), image)
    assert torch.equal(cut(image, torch.tensor([2, 1, 3, 2]), (3, 2)), image[:, :, 2:5, 1:3])


def test_cells_hold_the_surest_crops_of_their_class():
    """The whole start again with loops: every crop enlarged, scored by the expert, ranked by hand."""
    problem, storage = problem_of(ipc=1), Patches(factor=2, images=6, crops=3, epochs=1)
    decoded = storage.decode(storage.init(problem, Streams(5)))
    module = expert_of(problem, NETWORK, 1, Streams(5)).module
    generator, data = Streams(5)("patches"), problem.data
    for label in range(3):
        members = np.flatnonzero(data.train.y == label)
        rows = members[torch.randperm(len(members), generator=generator)[:6].numpy()]
        boxes = draw_boxes(6, 3, (1, 8, 8), 0.08, generator)
        best = []
        for row, own in zip(rows, boxes, strict=True):
            seen = [
                F.interpolate(cut(data.inputs(data.train, np.array([row])), box, (4, 4)), size=(8, 8), mode="bilinear")
                for box in own
            ]
            with torch.no_grad():
                losses = [float(-module(view).log_softmax(1)[0, label]) for view in seen]
            best.append((min(losses), seen[losses.index(min(losses))]))
        kept = [view for _, view in sorted(best, key=lambda pair: pair[0])[:4]]
        assert torch.allclose(decoded[4 * label : 4 * label + 4], torch.cat(kept), atol=1e-5)
    assert storage.classes(problem).tolist() == [0] * 4 + [1] * 4 + [2] * 4


@pytest.mark.parametrize(("shape", "factor"), [((3, 9, 14), 2), ((1, 8, 8), 1), ((1, 12, 7), 3)])
def test_any_sides_channels_and_factors(shape, factor):
    data = blob_images(per_class=6, shape=shape)
    storage = Patches(factor=factor, epochs=1, images=4, crops=2)
    small = decoct.distill(data, Recipe(storage, Nothing(), Teacher(epochs=1)), ipc=2, network=NETWORK)
    assert small.decode().shape == (3 * 2 * factor**2, *shape)
    assert class_balance(small.classes, 3) == [2 * factor**2] * 3
    assert small.nbytes.images == 3 * 2 * int(np.prod(shape))
    assert float(small.decode().abs().amax((1, 2, 3)).min()) > 0, "no cell is left empty"


def test_a_class_with_few_images_borrows_none_of_another():
    """The official loader takes as many rows as a batch holds, over the end of a class, and calls them all its own."""
    data = blob_images(classes=2, per_class=12)
    values = np.where(data.train.y == 0, 0, 255).astype(np.uint8)
    flat = np.broadcast_to(values[:, None, None, None], data.train.x.shape).copy()
    train = replace(data.train, x=flat)
    keep = np.sort(np.concatenate([np.flatnonzero(train.y == 0)[:2], np.flatnonzero(train.y == 1)]))
    problem = problem_of(replace(data, train=train.take(keep)))
    storage = Patches(factor=2, epochs=1, images=300)
    decoded = storage.decode(storage.init(problem, Streams(0)))
    low, high = problem.data.inputs(problem.data.train).amin(), problem.data.inputs(problem.data.train).amax()
    assert torch.allclose(decoded[:8], low.expand(8, 1, 8, 8), atol=1e-5)
    assert torch.allclose(decoded[8:], high.expand(8, 1, 8, 8), atol=1e-5)


def test_running_statistics_of_the_expert_stay_as_they_were_trained():
    """The official student is also fed unmixed images in training mode, for a metric."""
    problem = problem_of(network="convnet2-w4-bn")
    expert = expert_of(problem, "convnet2-w4-bn", 1, Streams(0))
    before = {name: part.clone() for name, part in expert.module.state_dict().items()}
    Patches(epochs=1).init(problem, Streams(0))
    assert all(torch.equal(before[name], part) for name, part in expert.module.state_dict().items())
    assert any("running" in name for name in before)


def test_labels_and_patches_share_one_expert(monkeypatch):
    import decoct.distillation.labels.teacher as room

    trained: list[int] = []
    real = room.train_expert
    monkeypatch.setattr(room, "train_expert", lambda *a, **k: trained.append(1) or real(*a, **k))
    decoct.distill(blob_images(), "rded", ipc=1, network=NETWORK)
    assert len(trained) == 1


def test_the_order_of_the_classes_is_part_of_the_set_and_of_the_expert(tmp_path):
    """Labels by the numbers of another order of folders are what broke the official results for so many."""
    x = np.random.default_rng(0).integers(0, 255, (60, 8, 8, 1), dtype=np.uint8)
    names = np.array(["ant", "bee", "cat"])
    first = decoct.open((x, names[np.arange(60) % 3]))
    other = decoct.open((x, np.array(["cat", "bee", "ant"])[np.arange(60) % 3]))
    small = decoct.distill(first, "rded", ipc=1, network=NETWORK, out=tmp_path / "a")
    assert decoct.load(tmp_path / "a").spec.class_names == ("ant", "bee", "cat")
    with pytest.raises(MismatchError):
        decoct.evaluate(small, other, networks=[NETWORK], seeds=1, baselines=[])
    trained = [replace(problem_of(data), cache=tmp_path / "experts") for data in (first, other)]
    for problem in trained:
        expert_of(problem, NETWORK, 1, Streams(0))
    assert len(list((tmp_path / "experts").iterdir())) == 2, "an expert of another order is not taken for this one"


@pytest.mark.parametrize("settings", [{"images": 0}, {"crops": 0}, {"smallest": 0.0}, {"factor": 5}, {"factor": 0}])
def test_settings_out_of_range(settings):
    with pytest.raises(ConfigError, match="at least twice the factor"):
        Patches(**settings).init(problem_of(), Streams(0))


def test_noise_and_features_have_no_patches():
    with pytest.raises(ConfigError, match="crops of real rows"):
        Patches(init_from="noise").init(problem_of(), Streams(0))
    with pytest.raises(ConfigError, match="use the storage 'pixels' for features"):
        decoct.distill(blob_features(), "rded", ipc=1, network="mlp-w8")


@pytest.mark.parametrize("name", ["soft-random", "rded"])
@pytest.mark.parametrize("preset", ["cpu", "paper"])
def test_recipes_at_both_scales(name, preset):
    spec = blob_images(shape=(3, 32, 32), per_class=2).spec
    recipe = RECIPES.load(name)(Task(spec, 10, preset))
    assert not recipe.objective.moves
    assert recipe.network == ("convnet3-w32" if preset == "cpu" else "convnet3-w128")
    assert CARDS.load(name).name == name
    if name == "rded":
        assert recipe.storage.factor == 1
        assert recipe.storage.epochs == recipe.labels.epochs
        assert recipe.labels.views == (0 if preset == "cpu" else 300)
        assert recipe.labels.temperature == (1 if preset == "cpu" else 20)
    else:
        assert recipe.labels.epoch == "student"


def test_soft_random_keeps_real_rows():
    data = blob_images()
    small = decoct.distill(data, "soft-random", ipc=2, network=NETWORK)
    real = data.inputs(data.train).flatten(1)
    nearest = torch.cdist(small.decode().flatten(1), real).amin(1)
    assert (nearest < 0.1).all(), "up to 8 bits a pixel"
    assert small.label_kind == "probabilities"


@pytest.mark.parametrize("name", ["soft-random", "rded"])
def test_a_set_without_steps_costs_its_teacher(name, monkeypatch):
    monkeypatch.setattr("decoct.distillation.validate.STEPS", 4)
    taken = []

    def slow(*arguments, **options):
        start = time.monotonic()
        expert = train_expert(*arguments, **options)
        time.sleep(0.5)
        taken.append(time.monotonic() - start)
        return expert

    monkeypatch.setattr("decoct.distillation.labels.teacher.train_expert", slow)
    small = decoct.distill(blob_images(classes=2, per_class=20), name, ipc=1, network="convnet2-w4", device="cpu")
    assert small.provenance["seconds"] >= sum(taken) > 0.5
