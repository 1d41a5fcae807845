"""The loop: budgets, folders, interrupts, NaN, metrics, kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toys import blob_images

import decoct
from decoct.data.dataset import Dataset
from decoct.distillation.labels.hard import Hard
from decoct.distillation.objective.distribution import Distribution, DistributionState
from decoct.distillation.recipe import Recipe
from decoct.distillation.run import Distillation
from decoct.distillation.storage.pixels import Pixels
from decoct.distillation.workplace import Workplace
from decoct.errors import (
    BudgetError,
    ConfigError,
    DivergenceError,
    IntegrityError,
    InterruptedRunError,
    MemoryEstimateError,
    MismatchError,
    OutputError,
    UnknownNameError,
)

POINT = Recipe(Pixels(), Distribution(real_per_class=6, pool=2), Hard(), optimizer="sgd", lr=0.5, steps=12)
NETWORK = "convnet2-w4"


@pytest.fixture(autouse=True)
def short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decoct.distillation.validate.STEPS", 4)


def distill(out: Path | None = None, **changes: object) -> decoct.DistilledSet:
    options = {"ipc": 1, "network": NETWORK, "out": out, **changes}
    return decoct.distill(blob_images(), POINT, **options)  # type: ignore[arg-type]


def test_a_finished_folder_is_loaded_and_holds_no_checkpoint(tmp_path, monkeypatch):
    first = distill(tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoint").exists()
    monkeypatch.setattr(Distillation, "advance", lambda *_: pytest.fail("the run was done again"))
    assert np.array_equal(distill(tmp_path / "run").decode(), first.decode())


def test_a_second_process_is_kept_out_of_a_run_that_goes_on(tmp_path, monkeypatch):
    """Locks are of an open file, so that the second call in this process is refused as another process would be."""
    log, refused = Workplace.log, []

    def second(self, entry, every=1):
        if not refused:
            refused.append(True)
            with pytest.raises(OutputError, match="another process works on the same result"):
                distill(tmp_path / "run")
        log(self, entry, every)

    monkeypatch.setattr(Workplace, "log", second)
    first = distill(tmp_path / "run")
    assert refused
    assert np.array_equal(distill(tmp_path / "run").decode(), first.decode())


def test_metrics_are_one_json_a_line(tmp_path):
    distill(tmp_path / "run", steps=20)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [10, 20]
    looks = [line["step"] for line in lines if "val_accuracy" in line]
    assert len(looks) == 8
    assert looks[-1] == 20


def test_the_best_set_on_validation_is_returned(monkeypatch):
    scores = iter([0.1, 0.2, 0.9, 0.3, 0.3, 0.3, 0.3, 0.3])
    monkeypatch.setattr("decoct.distillation.run.validate", lambda *_: next(scores))
    small = distill(steps=16)
    assert small.provenance["best_step"] == 6
    assert small.provenance["best_val_accuracy"] == 0.9
    monkeypatch.undo()
    monkeypatch.setattr("decoct.distillation.run.validate", lambda *_: 0.5)
    shorter = distill(steps=16)
    assert shorter.provenance["best_step"] == 2, "the first of equals"
    assert not np.array_equal(small.decode(), shorter.decode())


def test_one_look_is_at_the_end_and_keeps_the_last_step(monkeypatch):
    monkeypatch.setattr("decoct.distillation.run.validate", lambda *_: 0.5)
    small = distill(steps=16, looks=1)
    assert small.provenance["validation"] == [[16.0, 0.5]]
    assert small.provenance["best_step"] == 16


@pytest.mark.parametrize("stop_at", [1, 5, 11])
def test_an_interrupt_saves_and_the_same_call_resumes_to_the_same_bits(tmp_path, monkeypatch, stop_at):
    whole = distill()
    advance = Distillation.advance

    def interrupted(run: Distillation, share: float) -> float:
        if run.step == stop_at:
            raise KeyboardInterrupt
        return advance(run, share)

    monkeypatch.setattr(Distillation, "advance", interrupted)
    with pytest.raises(InterruptedRunError, match="same command again"):
        distill(tmp_path / "run")
    monkeypatch.setattr(Distillation, "advance", advance)
    assert np.array_equal(distill(tmp_path / "run").decode(), whole.decode())
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line].count(10) == 1


@pytest.mark.parametrize("stop_at", [None, 3])
def test_the_objective_hears_the_share_of_the_run_before_every_step(tmp_path, monkeypatch, stop_at):
    told: list[float] = []
    loss, done = DistributionState.loss, []

    def counted(state: DistributionState, synthetic: object, real: object) -> object:
        if len(done) == stop_at and len(told) == stop_at + 1:
            told.pop()
            raise KeyboardInterrupt
        done.append(len(told))
        return loss(state, synthetic, real)  # type: ignore[arg-type]

    monkeypatch.setattr(DistributionState, "schedule", lambda _, share: told.append(share))
    monkeypatch.setattr(DistributionState, "loss", counted)
    monkeypatch.setattr(Workplace, "checkpoint_seconds", 0.0)
    if stop_at:
        with pytest.raises(InterruptedRunError):
            distill(tmp_path / "run", steps=4)
        monkeypatch.setattr(DistributionState, "loss", lambda *given: done.append(len(told)) or loss(*given))
    distill(tmp_path / "run", steps=4)
    assert told == [0.0, 0.25, 0.5, 0.75], "a resumed run goes on where it was"
    assert done == [1, 2, 3, 4], "each before its step"


def test_an_interrupt_without_a_folder_says_that_nothing_was_kept(monkeypatch):
    monkeypatch.setattr(Distillation, "advance", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(InterruptedRunError, match="nothing was kept"):
        distill()


def test_a_loss_that_is_not_finite_stops_the_run(monkeypatch):
    monkeypatch.setattr(Distillation, "advance", lambda *_: float("nan"))
    with pytest.raises(DivergenceError, match="a loss of nan(.|\n)*lower the step size"):
        distill()


def test_a_folder_of_another_run_is_refused_and_left_alone(tmp_path):
    distill(tmp_path / "run")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    with pytest.raises(MismatchError, match="differs in seed(.|\n)*another folder"):
        distill(tmp_path / "run", seed=1)
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}


def _fewer_train_rows(data: Dataset) -> Dataset:
    return data.with_train(slice(3, 48))


def _fewer_validation_rows(data: Dataset) -> Dataset:
    return replace(data, val=data.val.take(slice(0, 9)))


@pytest.mark.parametrize("other", [_fewer_train_rows, _fewer_validation_rows])
@pytest.mark.parametrize("finished", [True, False])
def test_a_run_on_other_rows_of_the_same_source_is_another_run(tmp_path, monkeypatch, other, finished):
    data, options = blob_images(), {"ipc": 1, "network": NETWORK, "out": tmp_path / "run"}
    monkeypatch.setattr(Workplace, "checkpoint_seconds", 0.0)
    whole = distill()
    if not finished:
        monkeypatch.setattr(Distillation, "result", lambda *_: (_ for _ in ()).throw(KeyError("stop before the end")))
        with pytest.raises(KeyError):
            decoct.distill(data, POINT, **options)
        monkeypatch.undo()
        monkeypatch.setattr("decoct.distillation.validate.STEPS", 4)
        assert (tmp_path / "run" / "checkpoint" / "state.safetensors").exists()
    else:
        decoct.distill(data, POINT, **options)
    with pytest.raises(MismatchError, match="a run that differs in rows\n"):
        decoct.distill(other(data), POINT, **options)
    again = decoct.distill(blob_images(), POINT, **options)
    assert np.array_equal(again.decode(), whole.decode()), "the same rows, opened anew, go on"


def test_a_damaged_checkpoint_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Workplace, "checkpoint_seconds", 0.0)
    monkeypatch.setattr(Distillation, "result", lambda *_: (_ for _ in ()).throw(KeyError("stop before the end")))
    with pytest.raises(KeyError):
        distill(tmp_path / "run")
    checkpoint = tmp_path / "run" / "checkpoint" / "state.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:200])
    monkeypatch.undo()
    with pytest.raises(IntegrityError, match=r"cannot be read(.|\n)*delete"):
        distill(tmp_path / "run")


def test_looks_leave_a_short_time_budget_to_the_steps(monkeypatch):
    monkeypatch.setattr("decoct.distillation.run.validate", lambda *_: time.sleep(0.2) or 0.5)
    small = decoct.distill(blob_images(), POINT, ipc=1, budget="1s", network=NETWORK, device="cpu")
    looks = small.provenance["validation"]
    assert 2 <= len(looks) <= 5, "eight of them would take longer than the run"
    assert looks[-1][0] == small.provenance["steps_done"], "the end is always looked at"


@pytest.mark.parametrize(
    ("recipe", "axes", "name"),
    [
        ("ridge", {}, "ridge"),
        ("dm", {"labels": "teacher"}, "dm + teacher"),
        ("dm", {"labels": "hard", "storage": "multiformation"}, "dm + multiformation"),
        (POINT, {"labels": "teacher"}, "custom + teacher"),
    ],
)
def test_a_set_is_named_after_its_point(recipe, axes, name):
    small = decoct.distill(blob_images(), recipe, ipc=1, steps=1, network=NETWORK, device="cpu", **axes)
    assert small.provenance["name"] == name


def test_time_budget_ends_the_run():
    start = time.monotonic()
    small = distill(budget="2s")
    assert time.monotonic() - start < 30
    assert small.provenance["steps_done"] >= 1
    assert small.provenance["budget_seconds"] == 2.0


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"budget": "1min", "steps": 3}, ConfigError, "one of the two"),
        ({"steps": 0}, ConfigError, "1 or more"),
        ({"looks": 0}, ConfigError, "looks=1"),
        ({"budget": "soon"}, ConfigError, "such as '90s', '20min'"),
        ({"ipc": 21}, BudgetError, "21"),
        ({"ipc": 0}, BudgetError, "(?i)image"),
        ({"storage": "pixel"}, UnknownNameError, "did you mean 'pixels'"),
        ({"labels": "taught"}, UnknownNameError, "hard, learned, teacher"),
        ({"network": "convnet3x"}, UnknownNameError, "convnet3"),
        ({"track": "wandb"}, UnknownNameError, "tensorboard"),
    ],
)
def test_bad_requests(options, error, text, tmp_path):
    with pytest.raises(error, match=text):
        distill(**options)


def test_unknown_recipes_come_with_the_nearest_names():
    with pytest.raises(UnknownNameError, match="did you mean 'ridge'"):
        decoct.distill(blob_images(), "rigde", ipc=1)


def test_a_run_that_cannot_fit_is_refused_before_it_starts(monkeypatch):
    monkeypatch.setattr("decoct.machine.available_memory", lambda: 1000)
    with pytest.raises(MemoryEstimateError, match=r"estimate of(.|\n)*fewer images per class"):
        distill()


def test_tensorboard_gets_the_metrics(tmp_path):
    pytest.importorskip("tensorboard")
    distill(tmp_path / "run", steps=10, track="tensorboard")
    assert list((tmp_path / "run" / "tensorboard").iterdir())


KILLED = """
import os, random, signal, sys, time
import torch
from toys import blob_images
import decoct
import decoct.distillation.validate
from decoct.distillation.workplace import Workplace
from test_driver import NETWORK, POINT

Workplace.checkpoint_seconds = 0.0
decoct.distillation.validate.STEPS = 4
torch.set_num_threads(1)
data = blob_images()

def start(folder):
    child = os.fork()
    if child == 0:
        decoct.distill(data, POINT, ipc=1, network=NETWORK, out=folder, steps=24)
        os._exit(0)
    return child

# What a run imports late is imported here: kills shall hit the work, not the imports of each child.
decoct.distill(data, POINT, ipc=1, network=NETWORK, out=f"{sys.argv[1]}/here", steps=1)
seconds = []
for name in ("first", "second", "whole"):
    began = time.monotonic()
    assert os.waitpid(start(f"{sys.argv[1]}/{name}"), 0)[1] == 0
    seconds.append(time.monotonic() - began)
dice = random.Random(0)
for number in range(20):
    folder = f"{sys.argv[1]}/killed-{number}"
    child = start(folder)
    time.sleep(dice.uniform(0, 0.8 * min(seconds)))
    os.kill(child, signal.SIGKILL)
    print(os.waitpid(child, 0)[1], flush=True)
    assert os.waitpid(start(folder), 0)[1] == 0
"""


@pytest.mark.slow
def test_kills_at_20_random_moments_change_nothing(tmp_path):
    """SIGKILL anywhere in a run, then the same command: the stored bits are those of a run left alone."""
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": f"{here}:{here.parent}", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    killed = [int(line) for line in done.stdout.split()]
    assert killed.count(signal.SIGKILL) >= 10, "most runs must really have been killed on the way"
    whole = (tmp_path / "whole" / "set.safetensors").read_bytes()
    for number in range(20):
        assert (tmp_path / f"killed-{number}" / "set.safetensors").read_bytes() == whole
    assert decoct.load(tmp_path / "killed-0").content_hash == decoct.load(tmp_path / "whole").content_hash


def test_an_interrupt_while_experts_train_is_told_and_the_same_call_goes_on(tmp_path, monkeypatch):
    prepare = Distillation.prepare

    def interrupted(run: Distillation) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Distillation, "prepare", interrupted)
    with pytest.raises(InterruptedRunError, match="same command again"):
        distill(tmp_path / "run")
    monkeypatch.setattr(Distillation, "prepare", prepare)
    assert np.array_equal(distill(tmp_path / "run").decode(), distill().decode())


@pytest.mark.parametrize("begun", [True, False])
def test_an_interrupt_while_a_storage_is_set_up_is_told_and_the_same_call_goes_on(tmp_path, monkeypatch, begun):
    """Where experts are trained for it, that takes minutes."""
    whole, advance = distill(), Distillation.advance

    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    if begun:
        monkeypatch.setattr(Workplace, "checkpoint_seconds", 0.0)
        monkeypatch.setattr(Distillation, "advance", lambda run, at: pressed() if run.step == 5 else advance(run, at))
        with pytest.raises(InterruptedRunError):
            distill(tmp_path / "run")
        monkeypatch.setattr(Distillation, "advance", advance)
    with monkeypatch.context() as patch:
        patch.setattr(Pixels, "init", pressed)
        remedy = "from its last checkpoint in" if begun else "from its beginning"
        with pytest.raises(InterruptedRunError, match=f"an interrupt while it was set up(.|\n)*{remedy}"):
            distill(tmp_path / "run")
        with pytest.raises(InterruptedRunError, match="nothing was kept"):
            distill()
    assert np.array_equal(distill(tmp_path / "run").decode(), whole.decode())


def test_an_interrupt_while_the_result_is_labelled_is_told_and_the_same_call_goes_on(tmp_path, monkeypatch):
    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Distillation, "result", pressed)
        with pytest.raises(InterruptedRunError, match="an interrupt at step 12(.|\n)*same command again"):
            distill(tmp_path / "run")
    assert np.array_equal(distill(tmp_path / "run").decode(), distill().decode())
