"""Frozen weights of a user's network stay where they are, whatever the objective trains its networks for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from axis_members import OBJECTIVES
from torch import nn
from toys import blob_images

from decoct.distillation.apprentice import Apprentice
from decoct.distillation.labels.hard import Hard
from decoct.distillation.objective.gradient import Gradient
from decoct.distillation.objective.implicit import Linearised
from decoct.distillation.objective.trajectory import Trajectory
from decoct.distillation.pool import Pool
from decoct.distillation.problem import Problem
from decoct.distillation.queue import Queue
from decoct.distillation.recipe import Recipe
from decoct.distillation.run import Distillation
from decoct.distillation.storage.pixels import Pixels
from decoct.errors import ConfigError
from decoct.training.trajectories import Trajectories

DATA = blob_images()


def drawn(shape: tuple[int, ...], classes: int) -> nn.Module:
    """A convolution that is frozen as it was drawn, and what is trained on top of it."""
    net = nn.Sequential(
        nn.Conv2d(shape[0], 4, 3, padding=1), nn.GroupNorm(4, 4), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1),
        nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(16, classes),
    )  # fmt: skip
    net[0].requires_grad_(False)
    return net


def loaded(shape: tuple[int, ...], classes: int) -> nn.Module:
    """The same with a convolution that no seed changes, as a pretrained one."""
    net = drawn(shape, classes)
    with torch.no_grad():
        for weight in net[0].parameters():
            weight.copy_(torch.linspace(-1, 1, weight.numel()).reshape(weight.shape))
    return net


def all_frozen(shape: tuple[int, ...], classes: int) -> nn.Module:
    return drawn(shape, classes).requires_grad_(False)


def run_of(objective: Any, factory: str = "loaded", ipc: int = 5) -> Distillation:
    problem = Problem(DATA, ipc, f"{__name__}:{factory}", "cpu", "", 0.0)
    return Distillation(problem, Recipe(Pixels(), objective, Hard()), 0)


def networks(state: Any) -> list[nn.Module]:
    """Those that an objective has trained by now."""
    parts = [getattr(state, name, None) for name in ("_pool", "_apprentice", "queue")]
    found = []
    for part in parts:
        found += part.modules if isinstance(part, Pool) else [part.module] if isinstance(part, Apprentice) else []
        found += [member.module for member in part.members] if isinstance(part, Queue) else []
    return found + [module for group in getattr(state, "_groups", ()) for module in group.modules]


@pytest.mark.parametrize("name", ["gradient", "idc-gradient", "ridge", "queued-distribution", "kept-random-features"])
def test_networks_are_trained_around_their_frozen_weights(name):
    run = run_of(OBJECTIVES[name])
    run.prepare()
    for _ in range(3):
        run.advance(0.0)
    found, frozen = networks(run.objective), loaded((1, 8, 8), 3)[0].weight
    assert found
    assert all(torch.equal(module[0].weight, frozen) for module in found)  # type: ignore[index]
    assert not any(module[0].weight.requires_grad for module in found)  # type: ignore[index]


@pytest.mark.parametrize("ipc", [1, 5])
def test_gradients_are_matched_for_what_is_trained_one_class_at_a_time_and_together(ipc):
    run = run_of(Gradient(real_per_class=8, outer_loops=2, inner_epochs=1), ipc=ipc)
    before = run.tensors["pixels"].detach().clone()
    run.advance(0.0)
    assert run.objective._matcher._names == ["3.weight", "7.weight"]  # type: ignore[attr-defined]
    assert not torch.equal(run.tensors["pixels"].detach(), before)


def test_the_linearised_network_has_no_direction_along_frozen_weights():
    module = loaded((1, 8, 8), 3)
    frozen = Linearised(module, torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)), 1e-3)
    assert not any(name.startswith("inner.0.") for name in frozen.weights)
    change = frozen.fit(torch.eye(3)[torch.tensor([0, 1, 2, 0])], 2)
    assert set(change) == set(frozen.weights)
    run = run_of(OBJECTIVES["implicit"], "drawn")
    assert torch.isfinite(torch.tensor(run.advance(0.0)))


def test_experts_whose_frozen_weights_differ_cannot_be_read_as_one_network():
    objective = OBJECTIVES["trajectory"]
    assert isinstance(objective, Trajectory)
    with pytest.raises(ConfigError, match=r"differ between two seeds: 0.weight(.|\n)*under every seed"):
        run_of(objective, "drawn").prepare()
    run = run_of(objective)
    run.prepare()
    experts = run.objective.experts  # type: ignore[attr-defined]
    assert isinstance(experts, Trajectories)
    assert experts.at(0, 1).shape == (sum(p.numel() for p in loaded((1, 8, 8), 3).parameters() if p.requires_grad),)


def test_a_network_without_anything_to_train_says_so():
    with pytest.raises(ConfigError, match="at least one trainable weight"):
        run_of(OBJECTIVES["ridge"], "all_frozen")
