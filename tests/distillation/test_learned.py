"""Learned labels: where they start, with and without a teacher, and that a resume does not start them again."""

from __future__ import annotations

import math

import pytest
import torch
from toys import blob_images

import decoct
from decoct.data.dataset import Dataset
from decoct.distillation.axes import Objective
from decoct.distillation.labels.learned import LEAST, Learned
from decoct.distillation.labels.teacher import Teacher, expert_of
from decoct.distillation.objective.distribution import Distribution
from decoct.distillation.objective.ridge import Ridge
from decoct.distillation.problem import Problem
from decoct.distillation.recipe import Recipe
from decoct.distillation.storage.pixels import Pixels
from decoct.errors import ConfigError
from decoct.streams import Streams

NETWORK = "convnet2-w4"
TAUGHT = Learned(teacher=Teacher(epochs=2, epoch=2))


def started(labels: Learned, objective: Objective, data: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels after they have seen the images once, and what a teacher of the same streams says of these."""
    problem, images = Problem(data, 1, NETWORK, "cpu", "", 0.0), data.inputs(data.train, torch.arange(3))
    state = labels.init(problem, Pixels(), objective, Streams(3))
    state.refresh(images)
    taught = Teacher(epochs=2, epoch=2).init(problem, Pixels(), objective, Streams(3))
    taught.refresh(images)
    return state.tensors["labels"], taught.targets(torch.arange(3))


def test_without_a_teacher_they_start_at_the_nominal_classes() -> None:
    data = blob_images(classes=3)
    scores, _ = started(Learned(), Ridge(), data)
    assert torch.allclose(scores, (torch.eye(3) - 1 / 3) / math.sqrt(3 / 10))
    logits, _ = started(Learned(confidence=0.7), Distribution(), data)
    assert torch.allclose(logits.softmax(1).diagonal(), torch.full((3,), 0.7))


def test_with_a_teacher_they_start_from_its_word() -> None:
    data = blob_images(classes=3)
    logits, said = started(TAUGHT, Distribution(), data)
    assert torch.allclose(logits.softmax(1), said.clamp_min(LEAST), atol=1e-5)
    scores, said = started(TAUGHT, Ridge(), data)
    assert torch.allclose(scores, (said - 1 / 3) / math.sqrt(3 / 10), atol=1e-6)
    assert not torch.allclose(said, torch.eye(3), atol=1e-3), "else it would not be told from the nominal classes"


def test_a_teacher_softens_where_they_start() -> None:
    """The objective beside teacher labels sees temperature 1; labels that are learned may start from softer ones."""
    data, problem = blob_images(classes=3), Problem(blob_images(classes=3), 1, NETWORK, "cpu", "", 0.0)
    images, taught = data.inputs(data.train, torch.arange(3)), Teacher(epochs=2, epoch=2, temperature=5.0, views=2)
    state = Learned(teacher=taught).init(problem, Pixels(), Distribution(), Streams(3))
    state.refresh(images)
    module = expert_of(problem, NETWORK, 2, Streams(3)).module_at(2)
    with torch.no_grad():
        said = (module(images) / 5).softmax(1)
    assert torch.allclose(state.targets(torch.arange(3)), said, atol=1e-5)


def test_they_are_started_once() -> None:
    data = blob_images(classes=3)
    problem, images = Problem(data, 1, NETWORK, "cpu", "", 0.0), data.inputs(data.train, torch.arange(3))
    state = TAUGHT.init(problem, Pixels(), Distribution(), Streams(3))
    assert not state.state_dict()["started"]
    state.refresh(images)
    assert state.state_dict()["started"]
    state.tensors["labels"] += 1.5
    moved = state.tensors["labels"].clone()
    state.refresh(images + 1)
    assert torch.equal(state.tensors["labels"], moved)
    other = TAUGHT.init(problem, Pixels(), Distribution(), Streams(3))
    other.load_state_dict(state.state_dict())
    before = other.tensors["labels"].clone()
    other.refresh(images)
    assert torch.equal(other.tensors["labels"], before)


def test_a_run_that_is_stopped_goes_on_to_the_same_bits(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("decoct.distillation.validate.STEPS", 2)
    monkeypatch.setattr("decoct.distillation.workplace.Workplace.checkpoint_seconds", 0.0)
    recipe = Recipe(Pixels(), Distribution(real_per_class=8), TAUGHT, steps=4)
    chosen = {"ipc": 1, "network": NETWORK, "device": "cpu", "steps": 4}
    whole = decoct.distill(blob_images(classes=3), recipe, **chosen)
    advance, calls = decoct.distillation.run.Distillation.advance, []

    def stopped(run, share):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("stopped")
        return advance(run, share)

    monkeypatch.setattr("decoct.distillation.run.Distillation.advance", stopped)
    with pytest.raises(RuntimeError, match="stopped"):
        decoct.distill(blob_images(classes=3), recipe, **chosen, out=tmp_path / "run")
    monkeypatch.setattr("decoct.distillation.run.Distillation.advance", advance)
    assert decoct.distill(blob_images(classes=3), recipe, **chosen, out=tmp_path / "run").content_hash == (
        whole.content_hash
    )


def test_what_a_teacher_cannot_be_is_told() -> None:
    problem = Problem(blob_images(), 1, NETWORK, "cpu", "", 0.0)
    with pytest.raises(ConfigError, match="epoch"):
        Learned(teacher=Teacher(epochs=2, epoch=3)).init(problem, Pixels(), Distribution(), Streams(0))
