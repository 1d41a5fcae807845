"""Teacher labels: which pass of the expert labels, what is kept of a row, what a view's labels belong to."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from toys import blob_features, blob_images
from unread import closed

import decoct
from decoct.data.dataset import Dataset
from decoct.distillation.labels.teacher import Teacher, TeacherState, expert_of, spread
from decoct.distillation.objective.nothing import Nothing
from decoct.distillation.objective.statistics import Statistics
from decoct.distillation.problem import Problem
from decoct.distillation.recipe import Recipe
from decoct.distillation.run import Distillation
from decoct.distillation.storage.pixels import Pixels
from decoct.errors import ConfigError
from decoct.streams import Streams, derive_seed
from decoct.training.expert import Expert, train_expert

NETWORK = "convnet2-w4"
SCORE = "decoct.distillation.labels.teacher.student_accuracy"


@pytest.fixture(autouse=True)
def short_students(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decoct.distillation.validate.STEPS", 2)


def problem_of(data: Dataset | None = None, **changes) -> Problem:
    return replace(Problem(data or blob_images(), 2, NETWORK, "cpu", "crop_scale", 0.0), **changes)


def run_of(labels: Teacher, problem: Problem | None = None) -> Distillation:
    run = Distillation(problem or problem_of(), Recipe(Pixels(bits=32), Nothing(), labels), seed=3)
    run.prepare()
    return run


def said(module: torch.nn.Module, images: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    with torch.no_grad():
        return (module(images) / temperature).softmax(1)


def expert_in(run: Distillation, epochs: int) -> Expert:
    return expert_of(run.problem, NETWORK, epochs, run.streams)


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_pass_e_is_the_weights_after_pass_e(epoch):
    """The official buffers are numbered from 0 by their writer and from 1 by their reader."""
    run = run_of(Teacher(epochs=3, epoch=epoch, temperature=2.0))
    expert, images = expert_in(run, 3), run.tensors["pixels"].detach()
    assert torch.allclose(run.labels.final(images), said(expert.module_at(epoch), images, 2.0), atol=1e-6)
    teacher = run.packed(run.tensors, {}).learned["teacher"]
    assert teacher == {"network": NETWORK, "epoch": epoch, "of": 3, "temperature": 2.0}


def test_accuracy_is_the_pass_that_was_best_on_validation():
    run = run_of(Teacher(epochs=3))
    expert = expert_in(run, 3)
    assert run.packed(run.tensors, {}).learned["teacher"]["epoch"] == expert.epoch
    assert expert.val_accuracy[expert.epoch - 1] == max(expert.val_accuracy)


def test_student_is_the_pass_whose_labels_taught_best(monkeypatch):
    """Scores are handed out by candidate; every candidate is shown its own labels of the same images."""
    shown: list[torch.Tensor] = []
    scores = iter([0.2, 0.6, 0.6, 0.1])

    def student(inputs, targets, label_kind, problem, seed, *, temperature, classes, class_weight):
        assert (label_kind, temperature, class_weight) == ("probabilities", 3.0, 0)
        shown.append(targets)
        return next(scores)

    monkeypatch.setattr(SCORE, student)
    run = run_of(Teacher(epochs=8, epoch="student", candidates=4, temperature=3.0))
    expert, images = expert_in(run, 8), run.tensors["pixels"].detach()
    assert run.packed(run.tensors, {}).learned["teacher"]["epoch"] == 2, "the first of equals out of 1, 2, 4, 8"
    for epoch, targets in zip((1, 2, 4, 8), shown, strict=True):
        assert torch.allclose(targets, said(expert.module_at(epoch), images, 3.0), atol=1e-6)


def test_several_teachers_say_the_mean_of_their_probabilities():
    others = ("convnet2-w3", "convnet2-w4-bn")
    run = run_of(Teacher(epochs=2, temperature=2.0, others=others))
    images = run.tensors["pixels"].detach()
    experts = [expert_of(run.problem, name, 2, run.streams) for name in (NETWORK, *others)]
    mean = torch.stack([said(expert.module, images, 2.0) for expert in experts]).mean(0)
    assert torch.allclose(run.labels.final(images), mean, atol=1e-6)
    teacher = run.packed(run.tensors, {}).learned["teacher"]
    assert (teacher["network"], teacher["epoch"]) == (NETWORK, experts[0].epoch)
    found = [(one["network"], one["epoch"]) for one in teacher["others"]]
    assert found == [(name, expert.epoch) for name, expert in zip(others, experts[1:], strict=True)]


@pytest.mark.parametrize(("top_k", "others"), [(None, ()), (2, ()), (None, ("convnet2-w3",))])
def test_the_objective_sees_temperature_one_whatever_is_stored(top_k, others):
    """Its cross-entropy is that of plain logits; students of the stored labels divide theirs by the temperature."""
    one, soft = (run_of(Teacher(epochs=2, temperature=t, top_k=top_k, others=others)) for t in (1.0, 20.0))
    rows = torch.arange(6)
    for run in (one, soft):
        before = run.labels.targets(rows)
        run.look(1)
        assert torch.equal(run.labels.targets(rows), before), "a look stores labels and changes no targets"
    assert torch.equal(soft.labels.targets(rows), one.labels.targets(rows))
    kept = [run.packed(run.tensors, {}).materialize()[1] for run in (one, soft)]
    assert torch.allclose(kept[0], one.labels.targets(rows), atol=1e-3), "stored as half floats"
    assert (kept[0] - kept[1]).abs().max() > 0.01


def test_further_experts_begin_apart_and_axes_share_them(monkeypatch):
    seeds: dict[str, int] = {}

    def train(data, name, epochs, seed, *rest, **more):
        seeds[name] = seed
        return train_expert(data, name, epochs, seed, *rest, **more)

    monkeypatch.setattr("decoct.distillation.labels.teacher.train_expert", train)
    names = ("convnet2-w4-bn", "convnet2-w4-bn-leaky", "convnet2-w4-bn-max")
    objective, labels = Statistics(epochs=2, backbones=names), Teacher(epochs=2, network=names[1], others=names[2:])
    run = Distillation(problem_of(), Recipe(Pixels(bits=32), objective, labels), seed=3)
    run.prepare()
    assert seeds[names[0]] == derive_seed(run.streams.seed, "teacher"), "what is kept of earlier runs is found"
    assert list(seeds) == list(names), "each was trained once"
    assert len(set(seeds.values())) == 3
    for backbone, module in zip(run.objective.backbones[1:], run.labels._modules, strict=True):  # type: ignore[attr-defined]
        assert torch.equal(backbone.module.blocks[0].weight, module.blocks[0].weight)


@pytest.mark.parametrize("views", [0, 2])
def test_several_teachers_say_the_mean_of_their_logits(views):
    """Scores as stored, `softmax` of them as the objective sees them."""
    labels = Teacher(epochs=2, others=("convnet2-w3",), mean="logits", class_weight=0.1, views=views, mix="mixup")
    run = run_of(labels)
    experts = [expert_of(run.problem, name, 2, run.streams).module for name in (NETWORK, "convnet2-w3")]

    def mean(images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return torch.stack([expert(images) for expert in experts]).mean(0)

    images = run.tensors["pixels"].detach()
    assert torch.allclose(run.labels.targets(torch.arange(6)), mean(images).softmax(1), atol=1e-6)
    small = run.packed(run.tensors, {})
    assert (small.label_kind, small.class_weight, small.temperature) == ("scores", 0.1, 1.0)
    shown = [small.view(number) for number in range(views)] or [small.materialize()[:2]]
    for inputs, scores in shown:
        assert torch.allclose(scores, mean(inputs), atol=2e-3)
    assert small.labels.min() < 0, "else they might be probabilities"


def test_the_student_that_chooses_a_pass_is_taught_logits_beside_the_class(monkeypatch):
    asked = []

    def student(inputs, targets, label_kind, problem, seed, *, temperature, classes, class_weight):
        asked.append((label_kind, temperature, classes.tolist(), class_weight))
        return 0.5

    monkeypatch.setattr(SCORE, student)
    run_of(Teacher(epochs=2, epoch="student", candidates=1, mean="logits", class_weight=0.25))
    assert asked == [("scores", 1.0, [0, 0, 1, 1, 2, 2], 0.25)]


def test_candidates_are_spread_in_ratio_with_both_ends():
    assert spread(200, 8) == [1, 2, 5, 10, 21, 44, 94, 200]
    assert spread(8, 4) == [1, 2, 4, 8]
    assert spread(3, 5) == [1, 2, 3]
    assert spread(1, 5) == [1]
    assert spread(9, 1) == [9]


def test_no_choice_reads_test_data():
    """The official epochs are tuned on test data."""
    small = decoct.distill(closed(blob_images()), "soft-random", ipc=2, network=NETWORK)
    assert small.learned["teacher"]["epoch"] in spread(8, 5)


def test_labels_cut_to_the_largest_entries_sum_to_one_and_say_their_bytes():
    data = blob_images(classes=5)
    run = run_of(Teacher(epochs=1, top_k=2), problem_of(data))
    targets = run.labels.targets(torch.arange(10))
    assert torch.allclose(targets.sum(1), torch.ones(10))
    assert ((targets > 0).sum(1) == 2).all()
    full = said(expert_in(run, 1).module_at(1), run.tensors["pixels"].detach())
    assert torch.equal(targets.topk(2).indices, full.topk(2).indices)
    assert run.packed(run.tensors, {}).nbytes.labels == 10 * 2 * 3


@pytest.mark.parametrize("mix", ["", "mixup", "cutmix"])
def test_a_view_is_labelled_by_what_the_expert_says_of_its_pixels(mix):
    run = run_of(Teacher(epochs=1, views=3, mix=mix))
    small = run.packed(run.tensors, {})
    module = expert_in(run, 1).module_at(1)
    assert small.labels.shape == (3, 6, 3)
    for number in range(3):
        inputs, targets = small.view(number)
        assert torch.allclose(targets, said(module, inputs), atol=2e-3)
    assert small.nbytes.labels == 2 * 3 * 6 * 3
    assert small.views is not None
    assert small.views.strategy == "crop_scale", "that of the distillation"


def test_views_of_features_are_mixed_but_not_augmented():
    small = decoct.distill(
        blob_features(), Recipe(Pixels(), Nothing(), Teacher(epochs=1, views=2, mix="mixup")), ipc=1, network="mlp-w8"
    )
    assert small.view(1)[0].shape == (3, 12)


def test_a_set_with_views_is_looked_at_through_its_views(monkeypatch):
    asked: list[int] = []
    view = decoct.DistilledSet.view
    monkeypatch.setattr(decoct.DistilledSet, "view", lambda self, number: asked.append(number) or view(self, number))
    monkeypatch.setattr("decoct.distillation.validate.STEPS", 5)
    run = run_of(Teacher(epochs=1, views=3))
    run.look(1)
    assert asked == [0, 1, 2, 0, 1]


@pytest.mark.parametrize(
    "labels",
    [
        Teacher(epochs=3, epoch="student", candidates=3, top_k=2),
        Teacher(epochs=2, epoch=1, views=2, mix="cutmix"),
        Teacher(epochs=2, others=("convnet2-w3",), views=2, crop=0.5),
        Teacher(epochs=2, others=("convnet2-w3",), views=2, mean="logits", class_weight=0.1),
    ],
)
def test_a_resume_gives_the_same_labels_without_training_again(labels, monkeypatch):
    first = run_of(labels)
    second = Distillation(problem_of(), first.recipe, seed=3)
    tensors, facts = first.state()
    second.load_state({name: value.clone() for name, value in tensors.items()}, {**facts, "step": 1})
    monkeypatch.setattr("decoct.distillation.labels.teacher.train_expert", lambda *_, **__: pytest.fail("trained"))
    second.prepare()
    again = second.state()[0]
    assert tensors.keys() == again.keys()
    assert all(torch.equal(tensors[name], again[name]) for name in tensors)
    assert first.packed(first.tensors, {}).content_hash == second.packed(second.tensors, {}).content_hash


def test_an_expert_is_read_from_the_cache_and_shared_in_memory(tmp_path, monkeypatch):
    problem = problem_of(cache=tmp_path)
    first = expert_of(problem, NETWORK, 2, Streams(0))
    assert expert_of(problem, NETWORK, 2, Streams(0)) is first
    monkeypatch.setattr("decoct.training.expert._trained", lambda *_, **__: pytest.fail("trained"))
    again = expert_of(problem_of(cache=tmp_path), NETWORK, 2, Streams(0))
    assert all(torch.equal(first.snapshots[1][name], part) for name, part in again.snapshots[1].items())


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"epoch": 6}, "a number from 1 to 5"),
        ({"epoch": 0}, "a number from 1 to 5"),
        ({"epoch": "best"}, "'accuracy', 'student'"),
        ({"epochs": 0}, "at least 1|1 or more"),
        ({"temperature": 0}, "a positive number|a number above 0"),
        ({"top_k": 4}, "from 1 to 3"),
        ({"top_k": 0}, "from 1 to 3"),
        ({"views": -1}, "at least 0"),
        ({"candidates": 0}, "at least 1"),
        ({"crop": 0.0}, "above 0 and at most 1"),
        ({"others": (NETWORK,)}, "each network once"),
        ({"mean": "logits", "temperature": 2.0}, "'probabilities' where there is a temperature or a top_k"),
        ({"mean": "logits", "top_k": 2}, "'probabilities' where there is a temperature or a top_k"),
        ({"class_weight": 0.1}, "with mean='logits' a positive number"),
        ({"mean": "logits", "class_weight": -0.1}, "with mean='logits' a positive number"),
    ],
)
def test_settings_out_of_range(settings, text):
    labels = object.__new__(Teacher)
    for name, value in {**vars(Teacher()), **settings}.items():
        object.__setattr__(labels, name, value)
    with pytest.raises(ConfigError, match=text):
        labels.init(problem_of(), Pixels(), Nothing(), Streams(0))


def test_the_state_is_that_of_the_axis():
    state = Teacher().init(problem_of(), Pixels(), Nothing(), Streams(0))
    assert isinstance(state, TeacherState)
    assert (state.kind, state.tensors, state.top_k) == ("probabilities", {}, None)
