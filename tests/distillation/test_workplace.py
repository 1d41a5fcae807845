"""The folder of a run: whose it is and from when, what a failing start leaves, which checkpoints are taken."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from toys import blob_images

import decoct
from decoct.compact.distilled import DistilledSet
from decoct.distillation.checkpoint import load_checkpoint, save_checkpoint
from decoct.distillation.labels.learned import Learned
from decoct.distillation.objective.distribution import Distribution
from decoct.distillation.probe import kept_rate
from decoct.distillation.recipe import Recipe
from decoct.distillation.run import Distillation
from decoct.distillation.storage.pixels import Pixels
from decoct.distillation.workplace import Workplace
from decoct.errors import ConfigError, IntegrityError, MismatchError, OutputError, UnknownNameError

POINT = Recipe(Pixels(), Distribution(real_per_class=6, pool=2), Learned(), steps=4)


@pytest.fixture(autouse=True)
def short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decoct.distillation.validate.STEPS", 2)
    monkeypatch.setattr(Workplace, "checkpoint_seconds", 0.0)


def distill(out: Path | None = None, **changes: object) -> DistilledSet:
    options = {"ipc": 1, "network": "convnet2-w4", "out": out, "device": "cpu", "looks": 1, **changes}
    return decoct.distill(blob_images(), POINT, **options)  # type: ignore[arg-type]


def stopped(out: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that was killed before its end; returns its checkpoint."""
    with monkeypatch.context() as patch:
        patch.setattr(Distillation, "result", lambda *_: (_ for _ in ()).throw(KeyError("stop before the end")))
        with pytest.raises(KeyError):
            distill(out)
    return out / "checkpoint" / "state.safetensors"


def test_a_second_process_is_refused_before_it_trains_anything(tmp_path, monkeypatch):
    """The start of a storage may take experts or an autoencoder, minutes of them."""
    init, begun = Pixels.init, []

    def second(self, problem, streams):
        begun.append(True)
        if len(begun) == 1:
            with pytest.raises(OutputError, match="another process works on the same result"):
                distill(tmp_path / "run")
        return init(self, problem, streams)

    monkeypatch.setattr(Pixels, "init", second)
    small = distill(tmp_path / "run")
    assert len(begun) == 1
    assert np.array_equal(small.decode(), distill().decode())


def test_a_tracker_that_is_not_there_is_told_before_anything_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(Pixels, "init", lambda *_: pytest.fail("trained"))
    with pytest.raises(UnknownNameError, match="tensorboard"):
        distill(tmp_path / "run", track="wandb")
    assert not (tmp_path / "run").exists()


def test_a_start_that_fails_leaves_no_litter(tmp_path, monkeypatch):
    def failing(*_: object) -> None:
        raise ConfigError("starting", received="a", expected="b", remedy="c")

    (tmp_path / "there").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(Pixels, "init", failing)
        for out in (tmp_path / "new" / "run", tmp_path / "there"):
            with pytest.raises(ConfigError):
                distill(out)
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]
    distill(tmp_path / "there")


def test_a_checkpoint_that_a_kill_left_beside_a_finished_set_is_dropped(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("decoct.distillation.workplace.shutil.rmtree", lambda *_, **__: None)
        first = distill(tmp_path / "run")
        assert (tmp_path / "run" / "checkpoint" / "state.safetensors").exists()
    assert np.array_equal(distill(tmp_path / "run").decode(), first.decode())
    assert not (tmp_path / "run" / "checkpoint").exists()


def test_a_checkpoint_stays_where_the_set_beside_it_is_damaged(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("decoct.distillation.workplace.shutil.rmtree", lambda *_, **__: None)
        distill(tmp_path / "run")
    (tmp_path / "run" / "set.safetensors").write_bytes(b"")
    with pytest.raises(IntegrityError):
        distill(tmp_path / "run")
    assert (tmp_path / "run" / "checkpoint" / "state.safetensors").exists()


def test_a_state_that_names_no_version_is_of_the_first(tmp_path, monkeypatch):
    path = stopped(tmp_path / "run", monkeypatch)
    tensors, facts = load_checkpoint(path)
    assert facts.pop("version") == 1
    save_checkpoint(path, tensors, facts)
    assert np.array_equal(distill(tmp_path / "run").decode(), distill().decode())


@pytest.mark.parametrize(
    ("alter", "received"),
    [
        (lambda tensors, facts: facts.update(version=2), "a state of version 2"),
        (lambda tensors, facts: tensors.pop("now.storage.pixels"), r"not fit \(KeyError: 'now.storage.pixels'\)"),
        (lambda tensors, facts: tensors.pop("label_state.started"), r"not fit \(KeyError: 'started'\)"),
        (lambda tensors, facts: facts.pop("looks"), r"not fit \(KeyError: 'looks'\)"),
        (
            lambda tensors, facts: tensors.update({"now.labels.labels": torch.zeros(1, 3)}),
            r"not fit \(ValueError: labels.labels of shape \[1, 3\] in place of \[3, 3\]\)",
        ),
        (
            lambda tensors, facts: tensors.update({"streams.real": torch.zeros(3, dtype=torch.uint8)}),
            r"not fit \(RuntimeError: ",
        ),
    ],
)
def test_a_state_of_another_version_says_what_to_do(tmp_path, monkeypatch, alter, received):
    path = stopped(tmp_path / "run", monkeypatch)
    tensors, facts = load_checkpoint(path)
    alter(tensors, facts)
    save_checkpoint(path, tensors, facts)
    with pytest.raises(MismatchError, match=f"resuming from .*state.safetensors\n(.|\n)*{received}") as told:
        distill(tmp_path / "run")
    assert f"delete {path.parent} to start it anew" in told.value.remedy
    for file in path.parent.iterdir():
        file.unlink()
    path.parent.rmdir()
    assert np.array_equal(distill(tmp_path / "run").decode(), distill().decode()), "what is told helps"


def test_memory_that_is_short_is_not_told_as_another_version(tmp_path, monkeypatch):
    stopped(tmp_path / "run", monkeypatch)

    def short(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Distillation, "load_state", short)
    with pytest.raises(torch.OutOfMemoryError):
        distill(tmp_path / "run")


@pytest.mark.parametrize("text", ["[1, 2]", "3", "null", '"rate"', "[" * 100_000])
def test_a_damaged_identity_says_what_to_do(tmp_path, monkeypatch, text):
    """`sre2l` asks the folder for the speed that its run began with, before anyone else reads the file."""
    monkeypatch.setattr("decoct.distillation.driver.machine_rate", lambda *_: 2.0**20)
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(IntegrityError, match=r"resuming from .*run\.json\n(.|\n)*remove .* to start anew"):
        decoct.distill(
            blob_images(), "sre2l", ipc=1, budget="1s", network="convnet2-w4", device="cpu", out=tmp_path
        )  # fmt: skip


def test_numbers_of_the_speed_are_read_and_nothing_else(tmp_path):
    for rate, found in ((2**20, 2.0**20), ("fast", None), (None, None)):
        (tmp_path / "run.json").write_text(json.dumps({"rate": rate}))
        assert kept_rate(tmp_path) == found
    assert kept_rate(None) is None
    assert kept_rate(tmp_path / "nowhere") is None
