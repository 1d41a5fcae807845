"""A run is known by what the names of a user's own networks stand for, not by the names alone."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from toys import blob_images

import decoct
from decoct.distillation.labels.hard import Hard
from decoct.distillation.labels.learned import Learned
from decoct.distillation.labels.teacher import Teacher
from decoct.distillation.limit import Limit
from decoct.distillation.objective.distribution import Distribution
from decoct.distillation.objective.statistics import Statistics
from decoct.distillation.problem import Problem
from decoct.distillation.recipe import Recipe
from decoct.distillation.run import Distillation
from decoct.distillation.run_identity import run_identity
from decoct.distillation.storage.generator import Generator
from decoct.distillation.storage.patches import Patches
from decoct.distillation.storage.pixels import Pixels
from decoct.errors import MismatchError

OWN = "own_nets:make"
DECODER = "own_nets:Drawing"
SMALL = """
import torch
from torch import nn

def make(shape, classes):
    values = torch.Size(shape).numel()
    return nn.Sequential(nn.Flatten(), nn.Linear(values, 8), nn.ReLU(), nn.Linear(8, classes))

class Drawing(nn.Module):
    latent_size = 3

    def __init__(self, shape, classes):
        super().__init__()
        self.shape, self.layer = shape, nn.Linear(3, torch.Size(shape).numel())

    def forward(self, latents):
        return self.layer(latents).reshape(-1, *self.shape)
"""
LARGE = SMALL.replace("8", "32").replace("ReLU", "Tanh").replace("self.layer(latents)", "self.layer(latents).tanh()")
POINT = Recipe(Pixels(), Distribution(real_per_class=6, pool=2), Hard(), steps=2)
EXPERTS = Teacher(epochs=1)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Write the module `own_nets`, as the next process would find it."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr("decoct.distillation.validate.STEPS", 2)

    def written(text: str) -> None:
        (tmp_path / "own_nets.py").write_text(text)
        monkeypatch.delitem(sys.modules, "own_nets", raising=False)
        importlib.invalidate_caches()

    return written


def distill(out: Path) -> decoct.DistilledSet:
    return decoct.distill(blob_images(), POINT, ipc=1, network=OWN, out=out, device="cpu")


def identity(network: str = "convnet2-w4", **axes: object) -> dict:
    point = Recipe(**{"storage": Pixels(), "objective": Distribution(), "labels": Hard(), **axes})  # type: ignore[arg-type]
    return run_identity(Problem(blob_images(), 1, network, "cpu", "", 0.0), point, Limit(2, None), 0)


@pytest.mark.parametrize("finished", [True, False])
def test_an_edited_network_is_another_run(tmp_path, write, monkeypatch, finished):
    write(SMALL)
    whole, result = distill(tmp_path / "whole"), Distillation.result
    if finished:
        distill(tmp_path / "run")
    else:
        monkeypatch.setattr("decoct.distillation.workplace.Workplace.checkpoint_seconds", 0.0)
        monkeypatch.setattr(Distillation, "result", lambda *_: (_ for _ in ()).throw(KeyError("stop before the end")))
        with pytest.raises(KeyError):
            distill(tmp_path / "run")
        monkeypatch.setattr(Distillation, "result", result)
    write(LARGE)
    with pytest.raises(MismatchError, match=r"differs in networks \(what a name of your own stands for(.|\n)*another"):
        distill(tmp_path / "run")
    write(SMALL)
    assert np.array_equal(distill(tmp_path / "run").decode(), whole.decode()), "with the old file it goes on"
    assert whole.provenance["network"] == OWN
    assert list(whole.provenance["networks"]) == [OWN]


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        (OWN, {"network": OWN}),
        (OWN, {"labels": Teacher(network=OWN)}),
        (OWN, {"labels": Teacher(others=("mlp-w8", OWN))}),
        (OWN, {"labels": Learned(teacher=Teacher(network=OWN))}),
        (OWN, {"storage": Patches(network=OWN)}),
        (OWN, {"objective": Statistics(backbones=(OWN, "convnet2-bn-w4"))}),
        (DECODER, {"storage": Generator(DECODER)}),
    ],
)
def test_every_name_stands_for_what_it_is_made_of(write, name, axes):
    write(SMALL)
    before = identity(**axes)
    assert before == identity(**axes)
    assert [*before["networks"]] == [name]
    write(LARGE)
    after = identity(**axes)
    assert {key for key in after if after[key] != before[key]} == {"networks"}
    assert after["networks"][name].startswith(f"{name}@")


def test_networks_of_decoct_leave_the_identity_as_it_was():
    plain = {"settings", "ipc", "steps", "budget_seconds", "seed", "network", "fingerprint", "transform", "rows"}
    for axes in (
        {},
        {"labels": Teacher(network="mlp-w8", others=("convnet3-w4",))},
        {"labels": Learned(teacher=EXPERTS), "storage": Patches(network="resnet10")},
        {"storage": Generator("small-decoder-z4-w2")},
        {"storage": Generator("decoct.networks.small_decoder:SmallDecoder")},
    ):
        assert set(identity(**axes)) == plain
    assert identity()["network"] == "convnet2-w4"
