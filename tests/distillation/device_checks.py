"""Run by `test_device.py`: every objective takes the processor's steps on another device; runs end in sets."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest
import stand_in
import torch
from axis_members import LABELS, OBJECTIVES, STORAGES
from bfloat16_losses import HALVED, loss_and_gradient
from safetensors.torch import load_file, save_file
from toys import blob_images

import decoct
from decoct.distillation.labels.learned import Learned
from decoct.distillation.objective.characteristic import normals
from decoct.distillation.problem import Problem
from decoct.distillation.recipe import Recipe
from decoct.distillation.run import Distillation
from decoct.distillation.storage.multiformation import Multiformation
from decoct.distillation.storage.pixels import Pixels
from decoct.evaluation.bench import Bench
from decoct.evaluation.protocol import Protocol
from decoct.networks.build import network
from decoct.streams import Streams
from decoct.training.accuracy import predict
from decoct.training.config import FitConfig


@pytest.fixture(scope="session")
def accelerator() -> str:
    """CUDA where there is one, else a stand-in that refuses what CUDA refuses."""
    return "cuda" if torch.cuda.is_available() else stand_in.device()


BRIEF = Protocol("brief", FitConfig(epochs=4, batch_size=16), full_epochs=1, full_samples=64, full_batch=16)
# What the stand-in falls back on resizes the result it was given, which a device of its own never has to.
pytestmark = pytest.mark.filterwarnings("ignore:An output with one or more elements was resized")


def drawn_here(count: int, width: int, generator: torch.Generator, device: torch.device) -> torch.Tensor:
    return torch.randn(count, width, generator=generator).to(device)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_another_device_takes_the_same_steps_as_the_processor(name, accelerator, monkeypatch):
    """Same seed, same draws: images after three steps agree to float tolerance."""
    # A GPU draws frequencies by itself, which is all that may differ there.
    monkeypatch.setattr("decoct.distillation.objective.characteristic.normals", drawn_here)
    objective = OBJECTIVES[name]
    if "bfloat16" in {field.name for field in fields(objective)}:
        objective = replace(objective, bfloat16=False)
    data, point = blob_images(classes=3), Recipe(Multiformation(), objective, Learned(), lr=0.01, steps=3)
    problems = [Problem(data, 2, "convnet2-w4", device, "crop_scale", 0.0) for device in ("cpu", accelerator)]
    runs = [Distillation(problem, point, 7) for problem in problems]
    for run in runs:
        run.prepare()
        for step in range(3):
            run.advance(step / 3)
    one, other = (run.tensors["pixels"].detach().cpu() for run in runs)
    assert torch.allclose(one, other, atol=1e-3)
    assert math.isfinite(runs[1].look(1))


@pytest.mark.parametrize("name", HALVED)
def test_bfloat16_there_is_nearly_float32(name, accelerator, monkeypatch):
    monkeypatch.setattr("decoct.training.pieces.native_bfloat16", lambda _: True)
    monkeypatch.setattr("decoct.distillation.objective.characteristic.normals", drawn_here)
    (loss, gradient), (exact, slope) = (loss_and_gradient(name, accelerator, halved) for halved in (True, False))
    assert 0 < abs(loss - exact) < 0.01 * exact
    assert 0 < (gradient - slope).norm() < 0.03 * slope.norm()
    plain, wanted = loss_and_gradient(name, "cpu", False)
    assert loss == pytest.approx(plain.item(), rel=0.01)
    assert (gradient - wanted).norm() < 0.03 * wanted.norm()


def test_another_device_starts_from_its_experts_where_the_processor_does(accelerator):
    """They are trained together there and in turn here: the same rows, and labels that agree to float tolerance."""
    point = Recipe(Pixels(init_from="correct"), OBJECTIVES["trajectory"], Learned(teacher="experts"), steps=1)
    problems = [Problem(blob_images(), 2, "convnet2-w4", device, "crop", 0.0) for device in ("cpu", accelerator)]
    runs = [Distillation(problem, point, 7) for problem in problems]
    for run in runs:
        run.prepare()
    one, other = (run.tensors["pixels"].detach().cpu() for run in runs)
    assert torch.allclose(one, other, atol=1e-5)
    said, told = (run.labels.tensors["labels"].detach().cpu() for run in runs)
    assert torch.allclose(said, told, atol=1e-2)


@pytest.mark.parametrize(("storage", "labels"), [
    *((name, "hard") for name in STORAGES), *(("pixels", name) for name in LABELS if name != "hard"),
])  # fmt: skip
def test_a_run_there_is_resumed_and_ends_in_a_set_of_the_processor(storage, labels, accelerator, tmp_path):
    """Steps, a state on disk, more steps from it, the look at the validation split."""
    data, point = blob_images(classes=3), Recipe(STORAGES[storage], OBJECTIVES["distribution"], LABELS[labels], steps=2)
    problem = Problem(data, 4, "convnet2-w4", accelerator, "crop_scale", 0.0)
    first = Distillation(problem, point, 7)
    first.prepare()
    first.advance(0.0)
    first.look(1)
    save_file(first.state()[0], tmp_path / "state.safetensors")
    later = Distillation(problem, point, 7)
    later.load_state(load_file(tmp_path / "state.safetensors"), first.state()[1])
    for run in (first, later):
        run.advance(0.5)
    assert all(torch.equal(value, later.tensors[name]) for name, value in first.tensors.items())
    assert all(tensor.device.type == "cpu" for tensor in first.result({}).materialize() if tensor is not None)


@pytest.mark.parametrize("labels", ["hard", "teacher"])
def test_students_are_judged_there(labels, accelerator):
    data = blob_images(classes=3)
    small = decoct.distill(data, "dm", ipc=2, network="convnet2-w4", labels=labels, steps=2, looks=1)
    bench = Bench.of(
        data, BRIEF, ["convnet2-w4"], 1, baselines=("random", "random+teacher"), out=None, device=accelerator
    )
    card = bench.judge(small, labels)
    assert all(0 <= value <= 1 for entry in (*card.judged, *card.baselines) for value in entry.last)


@pytest.mark.parametrize("method", ["herding", "craig", "dyn-unc", "active"])
def test_rows_are_chosen_there(method, accelerator):
    chosen = decoct.select(blob_images(classes=3), method, ipc=2, features="network", device=accelerator)
    assert len(chosen.ids) == 6


def test_predictions_are_made_where_the_weights_are(accelerator):
    """A network that was moved there takes inputs and splits of the processor, and answers on it."""
    data, module = blob_images(classes=3), network("convnet2-w4", (1, 8, 8), 3, 0)
    expected = predict(module, data)
    module.to(accelerator)
    for said in (predict(module, data), predict(module, data.inputs(data.test))):
        assert said.device.type == "cpu"
        assert torch.allclose(said, expected, atol=1e-4)


def test_frequencies_are_drawn_there(accelerator):
    streams = [Streams(seed)("frequencies") for seed in (1, 1, 2)]
    one, same, other = (normals(64, 32, stream, torch.device(accelerator)) for stream in streams)
    assert one.device.type == torch.device(accelerator).type
    assert torch.equal(one.cpu(), same.cpu())
    assert not torch.equal(one.cpu(), other.cpu())
    assert abs(float(one.std()) - 1) < 0.1


def test_the_stand_in_refuses_what_a_gpu_refuses(accelerator):
    there, here = torch.ones(2, 2, device=accelerator), torch.ones(2, 2)
    with pytest.raises(RuntimeError, match="same device"):
        torch.mm(there, here)
    with pytest.raises(RuntimeError, match="generator"):
        torch.rand(2, device=accelerator, generator=torch.Generator())
