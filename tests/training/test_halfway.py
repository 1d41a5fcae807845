"""Trainings that were killed in the middle of a pass go on after an earlier one, and end with the same bits."""

from __future__ import annotations

from dataclasses import fields, replace
from math import prod

import pytest
import torch
from torch import nn
from toys import blob_images

from decoct.training.batches import Batches
from decoct.training.checkpoint import load_optimizer, optimizer_tensors
from decoct.training.config import FitConfig
from decoct.training.dynamics import Dynamics, record_dynamics
from decoct.training.expert import Expert, expert_config, train_expert
from decoct.training.halfway import Halfway
from decoct.training.optimise import optimizer_for
from decoct.training.trajectories import Course, Trajectories

EPOCHS = 5
DATA = blob_images(per_class=20)


class Killed(BaseException):
    """The end of the process."""


@pytest.fixture(autouse=True)
def saved_after_every_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Halfway, "seconds", 0.0)
    monkeypatch.setattr(Halfway, "due", True)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Passes:
    return Passes(monkeypatch)


class Passes:
    """The passes that were begun, of which one ends the process after its first batch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun: list[int] = []
        self.killed: int | None = None
        whole = Batches.of_pass

        def of_pass(batches: Batches, epoch: int):
            self.begun.append(epoch)
            for number, batch in enumerate(whole(batches, epoch)):
                if epoch == self.killed and number == 1:
                    raise Killed
                yield batch

        monkeypatch.setattr(Batches, "of_pass", of_pass)

    def kill(self, epoch: int, work) -> None:
        self.killed = epoch
        with pytest.raises(Killed):
            work()
        self.killed, self.begun = None, []


def noisy(shape: tuple[int, ...], classes: int) -> nn.Module:
    """A network that draws from the global generator at every step."""
    return nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, classes))


CONFIGS = {
    "as it is": (expert_config(60, EPOCHS), "convnet2-w4"),
    "all that moves": (
        FitConfig(optimizer="adamw", lr=1e-2, batch_size=16, schedule="cosine", augment="crop_cutout", mix="cutmix",
                  ema=0.9),
        "convnet2-w4-bn",
    ),
    "noise": (expert_config(60, EPOCHS), "test_halfway:noisy"),
}  # fmt: skip


def same(one: Expert, other: Expert) -> bool:
    pairs = zip(one.snapshots, other.snapshots, strict=True)
    equal = all(a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a) for a, b in pairs)
    return equal and one.val_accuracy == other.val_accuracy and one.epoch == other.epoch


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("at", [2, EPOCHS])
def test_an_expert_goes_on_to_the_same_bits(tmp_path, passes, kind, at):
    config, network = CONFIGS[kind]
    config = replace(config, batch_size=16)

    def train(cache):
        return train_expert(DATA, network, EPOCHS, 3, config=config, cache=cache)

    whole = train(None)
    passes.kill(at, lambda: train(tmp_path))
    resumed = train(tmp_path)
    assert passes.begun == list(range(at, EPOCHS + 1)), "what was done is not done again"
    assert same(resumed, whole)
    [path] = tmp_path.iterdir()
    assert "halfway" not in path.name
    assert same(train(tmp_path), whole)


def test_a_damaged_or_foreign_file_is_not_used(tmp_path, passes):
    config = replace(expert_config(60, EPOCHS), batch_size=16)
    whole = train_expert(DATA, "convnet2-w4", EPOCHS, 3, config=config)
    passes.kill(3, lambda: train_expert(DATA, "convnet2-w4", EPOCHS, 3, config=config, cache=tmp_path))
    passes.kill(3, lambda: train_expert(DATA, "convnet2-w4", EPOCHS, 4, config=config, cache=tmp_path))
    first, second = sorted(tmp_path.iterdir())
    kept = first.read_bytes()
    for other in (second.read_bytes(), kept[:-1] + bytes([kept[-1] ^ 1]), kept[:500]):
        for path in (first, second):
            path.write_bytes(other if path == first else b"")
        passes.begun = []
        found = train_expert(DATA, "convnet2-w4", EPOCHS, 3, config=config, cache=tmp_path)
        assert same(found, whole)
        for path in tmp_path.iterdir():
            if "halfway" not in path.name:
                path.unlink()


def told_the_same(one: Dynamics, other: Dynamics) -> bool:
    pairs = [(getattr(one, field.name), getattr(other, field.name)) for field in fields(Dynamics)]
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("at", [2, EPOCHS])
def test_a_recording_goes_on_to_the_same_bits(tmp_path, passes, kind, at):
    config, network = CONFIGS[kind]
    config = replace(config, batch_size=16)

    def record(cache):
        return record_dynamics(DATA, network, EPOCHS, 3, config=config, cache=cache)

    whole = record(None)
    passes.kill(at, lambda: record(tmp_path))
    resumed = record(tmp_path)
    assert passes.begun == list(range(at, EPOCHS + 1)), "what was done is not done again"
    assert told_the_same(resumed, whole)
    [path] = tmp_path.iterdir()
    assert "halfway" not in path.name
    assert told_the_same(record(tmp_path), whole)


def test_a_recording_does_not_go_on_with_a_damaged_or_foreign_file(tmp_path, passes):
    def record(seed, cache=tmp_path):
        return record_dynamics(DATA, "convnet2-w4", EPOCHS, seed, cache=cache)

    whole = record(3, None)
    passes.kill(3, lambda: record(3))
    [place] = tmp_path.iterdir()
    passes.kill(3, lambda: record(4))
    [other_place] = [path for path in tmp_path.iterdir() if path != place]
    mine, foreign = place.read_bytes(), other_place.read_bytes()
    assert told_the_same(record(3), whole)
    assert passes.begun == [3, 4, 5], "its own file is used"
    for other in (foreign, mine[:-1] + bytes([mine[-1] ^ 1]), mine[:500], b""):
        for path in tmp_path.iterdir():
            path.unlink()
        place.write_bytes(other)
        passes.begun = []
        assert told_the_same(record(3), whole)
        assert passes.begun == [1, 2, 3, 4, 5]
        assert [path.name for path in tmp_path.iterdir()] == [place.name.replace("-halfway", "")]


def test_what_is_left_of_the_way_of_a_finished_recording_is_removed(tmp_path, passes):
    """The process may end between the two files."""
    passes.kill(3, lambda: record_dynamics(DATA, "convnet2-w4", EPOCHS, 3, cache=tmp_path))
    [path] = tmp_path.iterdir()
    kept = path.read_bytes()
    whole = record_dynamics(DATA, "convnet2-w4", EPOCHS, 3, cache=tmp_path)
    path.write_bytes(kept)
    assert told_the_same(record_dynamics(DATA, "convnet2-w4", EPOCHS, 3, cache=tmp_path), whole)
    assert not path.exists()


COURSE = Course(
    "convnet2-w4",
    FitConfig(lr=0.05, momentum=0.9, weight_decay=1e-4, epochs=EPOCHS, batch_size=8, augment="crop_scale"),
    rows=24,
    sam_radius=0.05,
)


def test_a_trajectory_goes_on_to_the_same_bits(tmp_path, passes):
    def experts(cache) -> Trajectories:
        found = Trajectories(DATA, COURSE, (1, 2), cache=cache)
        found.train()
        return found

    whole = experts(None)
    passes.kill(4, lambda: experts(tmp_path))
    resumed = experts(tmp_path)
    assert passes.begun == [4, 5, 1, 2, 3, 4, 5], "the first expert goes on, the second starts"
    for expert in range(2):
        for epoch in range(EPOCHS + 1):
            assert torch.equal(resumed.at(expert, epoch), whole.at(expert, epoch))
    assert len(list(tmp_path.iterdir())) == 2, "nothing of the way is left"


def test_savings_take_a_small_share_of_the_time(tmp_path, monkeypatch):
    monkeypatch.undo()
    clock = [0.0]
    monkeypatch.setattr("decoct.training.halfway.time.monotonic", lambda: clock[0])
    kept = Halfway(tmp_path / "a.safetensors", {}, dict, lambda _: None)
    monkeypatch.setattr("decoct.training.halfway.save_checkpoint", lambda *_: clock.append(clock.pop() + 10))
    clock[0] = 59.0
    assert not kept.due
    clock[0] = 61.0
    assert kept.due
    kept.save({}, {})
    clock[0] += 199.0
    assert not kept.due, "twenty times as long as the saving took"
    clock[0] += 2.0
    assert kept.due


def test_moments_come_back_laid_out_as_their_parameters_are():
    """Fused steps walk through memory: moments in another order would be those of other weights."""
    module = torch.nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)
    config = FitConfig(optimizer="sgd", lr=0.1, momentum=0.9)

    def stepped(parameters, optimizer):
        for parameter in parameters:
            generator = torch.Generator().manual_seed(len(parameter.shape))
            parameter.grad = torch.empty_like(parameter).copy_(torch.randn(parameter.shape, generator=generator))
        optimizer.step()

    optimizer = optimizer_for(config, module.parameters())
    stepped(list(module.parameters()), optimizer)
    again = torch.nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)
    again.load_state_dict(module.state_dict())
    other = optimizer_for(config, again.parameters())
    load_optimizer(other, {name: part.clone().contiguous() for name, part in optimizer_tensors(optimizer).items()})
    for network, own in ((module, optimizer), (again, other)):
        stepped(list(network.parameters()), own)
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), again.parameters(), strict=True))
