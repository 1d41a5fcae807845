"""The protocol "own" of a set with ordered steps: what is judged is the training that the set was made for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from toys import blob_images

import decoct
from decoct.compact.distilled import DistilledSet
from decoct.data.dataset import Dataset
from decoct.distillation.labels.hard import Hard
from decoct.distillation.objective.unroll import Unroll, ordered_rows
from decoct.distillation.recipe import Recipe
from decoct.distillation.storage.pixels import Pixels
from decoct.errors import DivergenceError
from decoct.evaluation.contender import Judged, Material, Training
from decoct.evaluation.judge import evaluate, set_protocol
from decoct.evaluation.protocol import Course
from decoct.evaluation.scorecard import Scorecard
from decoct.networks.build import network
from decoct.training.config import FitConfig
from decoct.training.flat import SGD, FlatNetwork
from decoct.training.unroll import unroll

DATA = blob_images(classes=3, per_class=20)
NETWORK = "convnet2-w4"
COMMON = decoct.evaluation.protocol.Protocol(
    "common", FitConfig(lr=0.01, epochs=6, schedule="constant"), full_epochs=2, full_samples=1000
)


def made(data: Dataset = DATA, steps: int = 60, **settings: Any) -> DistilledSet:
    objective = Unroll(
        **{"inner_steps": 6, "momentum": 0.0, "inner_lr": 0.05, "learn_lr": "each", "ordered": True,
           "real_batch": 60, "augment": "no", **settings}
    )  # fmt: skip
    point = Recipe(Pixels(), objective, Hard(), lr=0.05, lr_objective=0.05, steps=steps, augment="")
    return decoct.distill(data, point, ipc=2, network=NETWORK, seed=1, looks=1)


@pytest.fixture(scope="module")
def small() -> DistilledSet:
    return made()


def build(seed: int) -> torch.nn.Module:
    return network(NETWORK, DATA.spec.shape, 3, seed)


def walked(small: DistilledSet, seed: int = 5) -> torch.nn.Module:
    protocol = set_protocol("own", small)
    training = Training(build, DATA, protocol, "cpu", lambda module, step: 0.0)
    return Judged.of(small).train(seed, training, lambda done, note="": None).module


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_it_is_the_unrolled_training_to_rounding(momentum: float):
    small = made(steps=2, momentum=momentum)
    inputs, targets, _ = small.materialize()
    net = FlatNetwork(build(5))
    expected = unroll(
        net, net.flatten(build(5)), inputs, F.one_hot(targets, 3).float(),
        batches=ordered_rows(small.classes, 1, 6), lr=torch.tensor(small.learned["lrs"]), optimizer=SGD(momentum),
    )  # fmt: skip
    assert torch.allclose(net.flatten(walked(small)), expected, atol=1e-6)
    assert not torch.allclose(net.flatten(build(5)), expected, atol=1e-3)


def test_it_is_the_training_of_the_textbook(small: DistilledSet):
    """Step t takes the image number t mod 2 of each class, and goes down its gradient by the t-th step size."""
    inputs, targets, _ = small.materialize()
    module = build(5).train()
    for number, rate in enumerate(small.learned["lrs"]):
        rows = [int(torch.nonzero(targets == label)[number % 2]) for label in range(3)]
        loss = F.cross_entropy(module(inputs[rows]), targets[rows])
        for weight, slope in zip(
            module.parameters(), torch.autograd.grad(loss, list(module.parameters())), strict=True
        ):
            weight.data -= rate * slope
    for mine, its in zip(module.parameters(), walked(small).parameters(), strict=True):
        assert torch.allclose(mine, its, atol=1e-5)


def test_a_set_of_few_learned_steps_is_worth_more_along_them_than_under_a_common_protocol(small: DistilledSet):
    """As many steps each: the order and the learned step sizes make the difference."""
    options: dict[str, Any] = {"networks": [NETWORK], "seeds": 5, "device": "cpu"}
    own = evaluate(small, DATA, "own", baselines=("random", "herding"), **options)
    common = evaluate(small, DATA, COMMON, baselines=(), **options)
    judged, plain = own.judged[0], common.judged[0]
    assert judged.mean > plain.mean + 0.1
    assert (judged.samples_seen, judged.distinct) == (6 * 3, 2 * 3)
    assert [(entry.name, entry.samples_seen) for entry in own.baselines] == [("random", 18), ("herding", 18)]
    assert own.protocol["name"] == "own"
    assert own.protocol["lrs"] == small.learned["lrs"]
    assert Scorecard.from_json(own.to_json()) == own


def test_rows_with_soft_labels_take_their_turn_by_the_class_they_stand_for():
    soft = torch.tensor([[0.1, 0.9], [0.6, 0.4]])
    rows, classes = torch.zeros(2, 1, 8, 8), torch.tensor([0, 1])
    assert torch.equal(Material(rows, soft, None, "probabilities", classes=classes).walked().classes, classes)
    assert Material(rows, soft, None, "probabilities").walked().classes.tolist() == [1, 0]
    assert torch.equal(Material(rows, classes, None, "hard").walked().classes, classes)


def test_a_finished_run_is_found_and_one_of_other_steps_is_not(small: DistilledSet, tmp_path):
    options: dict[str, Any] = {"networks": [NETWORK], "seeds": 1, "baselines": (), "out": tmp_path, "device": "cpu"}
    first = evaluate(small, DATA, "own", **options)
    assert evaluate(small, DATA, "own", **options).entries == first.entries
    protocol = set_protocol("own", small)
    assert isinstance(protocol, Course)
    evaluate(small, DATA, replace(protocol, lrs=protocol.lrs[:3]), **options)
    assert len(list((tmp_path / "cells").glob("*.json"))) == 2


def test_what_is_learned_for_steps_that_cannot_be_repeated_says_no_order():
    assert made(steps=1).learned["ordered"] == 1
    assert "ordered" not in made(steps=1, ordered=False).learned
    assert "ordered" not in made(steps=1, optimizer="adam").learned


def test_steps_that_explode_are_told_with_a_remedy(small: DistilledSet):
    protocol = set_protocol("own", small)
    assert isinstance(protocol, Course)
    training = Training(build, DATA, replace(protocol, lrs=(1e30,) * 6), "cpu", lambda module, step: 0.0)
    with pytest.raises(DivergenceError, match="(?s)step . of 6.*the network that the set was made with"):
        Judged.of(small).train(0, training, lambda done, note="": None)
