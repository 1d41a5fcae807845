"""Experts trained as one stacked model: those of a training in turn, kept and found again alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from toys import blob_features, blob_images

from decoct.data.dataset import Dataset
from decoct.errors import DivergenceError
from decoct.networks.build import network
from decoct.training import together
from decoct.training.batches import Batches
from decoct.training.config import FitConfig
from decoct.training.halfway import Halfway
from decoct.training.together import Together, at_once, stackable
from decoct.training.trajectories import Course, Trajectories

DATA = blob_images(per_class=10)
PLAIN = FitConfig(lr=0.05, epochs=3, batch_size=8, schedule="constant")
COURSE = Course("convnet2-w4", PLAIN, stored="float32")
MLP = replace(COURSE, network="mlp-w8")
"""For Adam, which makes whole steps of the rounding in gradients that are 0, as those of biases before a norm are."""
SEEDS = (1, 2, 3)


class KilledError(BaseException):
    """The end of the process."""


def trained(course: Course = COURSE, size: int = 3, data: Dataset = DATA, cache: Path | None = None, seeds=SEEDS):
    found = Trajectories(data, course, seeds, cache=cache, together=size)
    found.train()
    return found


def states(found: Trajectories) -> torch.Tensor:
    """`[K, E + 1, P]`."""
    return torch.stack([
        torch.stack([found.at(expert, epoch) for epoch in range(found.epochs + 1)]) for expert in range(len(found))
    ])  # fmt: skip


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the stacks that were trained."""
    sizes: list[int] = []
    run = Together.run

    def counted(stack: Together, *given) -> None:
        sizes.append(len(stack._seeds))
        run(stack, *given)

    monkeypatch.setattr(Together, "run", counted)
    return sizes


@pytest.mark.parametrize(
    ("course", "data"),
    [
        (COURSE, DATA),
        (replace(COURSE, config=replace(PLAIN, augment="crop_scale_rotate", lr=0.02), rows=20), DATA),
        (replace(MLP, config=replace(PLAIN, optimizer="adam", lr=0.01, schedule="cosine", ema=0.9)), DATA),
        (replace(MLP, config=replace(PLAIN, optimizer="adamw", lr=0.01, mix="cutmix", warmup_steps=3)), DATA),
        (replace(COURSE, sam_radius=0.05), DATA),
        (replace(COURSE, sam_radius=0.05, sam_adaptive=True), DATA),
        (replace(COURSE, config=replace(PLAIN, batch_size=None)), DATA),
        (COURSE, DATA.with_weights(torch.linspace(0.1, 3, 30).numpy())),
        (MLP, blob_features(per_class=10)),
    ],
    ids=["plain", "augmented rows", "adam ema", "adamw mixed", "flat", "adaptive", "whole set", "weighted", "features"],
)
def test_they_are_those_of_a_training_in_turn(course: Course, data: Dataset, groups: list[int]):
    """Another seed or another batch would move weights by far more than rounding: by as much as training does."""
    expected, found = states(trained(course, 1, data)), states(trained(course, 3, data))
    assert groups == [3]
    moved = (expected[:, 1:] - expected[:, :1]).norm(dim=-1)
    assert bool(((found - expected)[:, 1:].norm(dim=-1) < 1e-3 * moved).all())
    assert bool(((expected[0] - expected[1])[1:].norm(dim=-1) > 0.1 * moved[0]).all())


def test_groups_are_cut_from_the_seeds_and_each_expert_is_found_again(tmp_path: Path, groups: list[int]):
    first = states(trained(size=2, cache=tmp_path))
    assert groups == [2], "the third is alone"
    assert len(list(tmp_path.iterdir())) == 3, "one file each, and nothing of the way"
    assert Trajectories(DATA, COURSE, (2,), cache=tmp_path).train() == 0
    again = Trajectories(DATA, COURSE, SEEDS, cache=tmp_path, together=2)
    assert again.train() == 0
    assert torch.equal(states(again), first)


def test_where_one_is_missing_its_group_gives_it_the_same_bits_again(tmp_path: Path, groups: list[int]):
    """As after a kill between two files of a group."""
    first = states(trained(cache=tmp_path))
    one = Trajectories(DATA, COURSE, SEEDS, cache=tmp_path)
    path = one._path(2)
    assert path is not None
    path.unlink()
    again = Trajectories(DATA, COURSE, SEEDS, cache=tmp_path, together=3)
    assert again.train() == 1
    assert groups == [3, 3]
    assert torch.equal(states(again), first)


@pytest.mark.parametrize("config", [PLAIN, replace(PLAIN, optimizer="adam", ema=0.9, augment="crop", mix="mixup")])
def test_a_stack_that_was_killed_goes_on_to_the_same_bits(tmp_path: Path, config: FitConfig, monkeypatch):
    course = replace(COURSE, config=replace(config, epochs=4), rows=20)
    whole = states(trained(course))
    monkeypatch.setattr(Halfway, "due", True)
    of_pass, begun = Batches.of_pass, []

    def killed(batches: Batches, epoch: int):
        begun.append(epoch)
        if epoch == 3 and len(begun) < 10:
            raise KilledError
        yield from of_pass(batches, epoch)

    monkeypatch.setattr(Batches, "of_pass", killed)
    with pytest.raises(KilledError):
        trained(course, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    del begun[:]
    monkeypatch.setattr(Batches, "of_pass", lambda batches, epoch: begun.append(epoch) or of_pass(batches, epoch))
    resumed = states(trained(course, cache=tmp_path))
    assert begun == [3, 3, 3, 4, 4, 4]
    assert torch.equal(resumed, whole)
    assert len(list(tmp_path.iterdir())) == 3


class Deciding(nn.Module):
    """Looks at a value, which a stack has several of."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        said = self.layer(rows)
        return said if float(said.sum()) > 0 else -said


def test_what_cannot_be_stacked_is_trained_in_turn(groups: list[int]):
    shape = (1, 8, 8)
    assert stackable(network("convnet2-w4", shape, 3, 0), shape, PLAIN)
    assert not stackable(network("convnet2-w4-bn", shape, 3, 0), shape, PLAIN)
    assert not stackable(nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.5)), (4,), PLAIN)
    assert stackable(nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.0)), (4,), PLAIN)
    assert not stackable(nn.Sequential(nn.Linear(4, 2), nn.RReLU()), (4,), PLAIN)
    assert not stackable(nn.Linear(4, 2), (4,), replace(PLAIN, precision="bfloat16"))
    assert not stackable(Deciding(), (4,), PLAIN)
    course = replace(COURSE, network="convnet2-w4-bn")
    assert torch.equal(states(trained(course, 3)), states(trained(course, 1)))
    assert groups == []


def test_the_device_decides_where_nothing_is_asked_for(groups: list[int]):
    assert (at_once(None, "cpu"), at_once(None, "cuda")) == (1, together.ON_ACCELERATOR)
    assert (at_once(3, "cpu"), at_once(1, "cuda")) == (3, 1)
    Trajectories(DATA, COURSE, SEEDS).train()
    assert groups == []


def test_the_expert_whose_loss_is_not_finite_is_named(monkeypatch: pytest.MonkeyPatch):
    run = Together.run

    def spoiled(stack: Together, *given) -> None:
        stack._weights[0].data[1] = float("inf")
        run(stack, *given)

    monkeypatch.setattr(Together, "run", spoiled)
    with pytest.raises(DivergenceError, match="seed 2, pass 1 of 3"):
        trained()
