"""A caller's choice of recipe and axes: by name, by object, from another package, and what happens without one."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from toys import blob_features, blob_images, saved_npz

import decoct
from decoct.cli.main import main
from decoct.distillation import driver
from decoct.distillation.axes import Objective, ObjectiveState
from decoct.distillation.labels.teacher import Teacher
from decoct.distillation.limit import Limit
from decoct.distillation.objective.nothing import NothingState
from decoct.distillation.objective.random_features import RandomFeatures
from decoct.distillation.objective.ridge import Ridge
from decoct.distillation.problem import GRAY_STRATEGY
from decoct.distillation.queue import Queue
from decoct.distillation.recipes import table
from decoct.distillation.recipes.table import OBJECTIVES, Changes, resolve
from decoct.distillation.recipes.task import Task
from decoct.distillation.run import Distillation
from decoct.distillation.storage.bases import Bases
from decoct.errors import ConfigError, UnknownNameError
from decoct.registry import Registry

OWN = """
from dataclasses import dataclass

from decoct.distillation.axes import Objective, ObjectiveState


@dataclass(frozen=True)
class Mean(Objective):
    def init(self, problem, streams):
        return MeanState()

    def flops(self, problem):
        return 1.0


class MeanState(ObjectiveState):
    def loss(self, synthetic, real):
        images, _ = real.per_class(4)
        distance = (synthetic.images.mean(0) - images.mean(0)).square().sum()
        return distance + synthetic.targets.square().mean()

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass
"""
GRID = [(storage, labels) for storage in ("pixels", "multiformation", "bases") for labels in ("hard", "learned")]


@pytest.fixture(autouse=True)
def short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decoct.distillation.validate.STEPS", 2)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another package with an entry point, as an installer would leave it."""
    (tmp_path / "own_objective.py").write_text(OWN, encoding="utf-8")
    facts = tmp_path / "own_objective-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: own-objective\nVersion: 1.0\n", encoding="utf-8")
    (facts / "entry_points.txt").write_text("[decoct.objective]\nmean = own_objective:Mean\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    # The table of the process has looked for packages already.
    monkeypatch.setattr(table, "OBJECTIVES", Registry("objective", dict(OBJECTIVES)))


def distilled(**changes: object) -> decoct.DistilledSet:
    options = {"ipc": 2, "steps": 2, "network": "convnet2-w4", "device": "cpu", **changes}
    return decoct.distill(blob_images(), "dm", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("storage", "labels"), GRID)
def test_an_objective_of_another_package_with_any_storage_and_labels(installed, storage, labels):
    small = distilled(objective="mean", storage=storage, labels=labels)
    assert small.provenance["settings"]["objective"]["kind"] == "Mean"
    assert small.provenance["settings"]["labels"]["kind"].lower() == labels
    assert torch.isfinite(small.decode()).all()


@dataclass(frozen=True)
class Own(Objective):
    """An objective that no table lists."""

    weight: float = 1.0

    def init(self, problem, streams) -> ObjectiveState:
        return NothingState()

    def flops(self, problem) -> float:
        return 1.0


@pytest.mark.parametrize(("storage", "labels"), GRID)
def test_an_objective_of_the_callers_own_class(storage, labels):
    small = distilled(objective=Own(weight=2.0), storage=storage, labels=labels)
    assert small.provenance["settings"]["objective"] == {"kind": "Own", "weight": 2.0}
    assert "own" in small.provenance["name"]


def test_an_objective_changes_the_set_and_nothing_else_of_the_recipe():
    plain, changed = distilled(), distilled(objective=Ridge(real_batch=12, pool=2))
    assert changed.provenance["name"] == "dm + ridge"
    assert not torch.equal(plain.decode(), changed.decode())
    kept = {name: value for name, value in plain.provenance["settings"].items() if name != "objective"}
    assert kept == {name: value for name, value in changed.provenance["settings"].items() if name != "objective"}


@pytest.mark.parametrize(("asked", "stored"), [(GRAY_STRATEGY, GRAY_STRATEGY), ("none", "")])
def test_digits_in_colour_are_matched_without_mirror_images_where_that_is_asked_for(asked, stored):
    data = blob_images(shape=(3, 8, 8))
    options = {"ipc": 2, "steps": 3, "network": "convnet2-w4", "device": "cpu"}
    plain = decoct.distill(data, "dm", **options)  # type: ignore[arg-type]
    small = decoct.distill(data, "dm", augment=asked, **options)  # type: ignore[arg-type]
    assert small.provenance["settings"] == {**plain.provenance["settings"], "augment": stored}
    assert not torch.equal(plain.decode(), small.decode())
    point = replace(resolve("dm", Task(data.spec, 2)), augment=stored)
    assert torch.equal(decoct.distill(data, point, **options).decode(), small.decode())  # type: ignore[arg-type]


def test_an_augmentation_is_checked_before_the_work(tmp_path, capsys):
    with pytest.raises(ConfigError, match="the family 'flop'(.|\n)*did you mean 'flip'"):
        distilled(augment="color_flop")
    with pytest.raises(ConfigError, match=r"'crop' for rows of shape \(12,\)(.|\n)*leave the augmentation out"):
        decoct.distill(blob_features(), "dm", ipc=2, steps=1, augment="crop")
    assert decoct.distill(blob_features(), "dm", ipc=2, steps=1, augment="none").decode().shape == (6, 12)
    assert (
        main(["distill", str(tmp_path / "not-read.npz"), "--augment", "color_flop", "--out", str(tmp_path / "o")]) == 2
    )
    assert "did you mean 'flip'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("recipe", "augment", "told"),
    [
        ("sre2l", "color_rotate", "one of its families: crop, flip"), ("rfad", "crop", "sees pictures as they are"),
        ("frepo", "flip", "as they are"), ("rcig", "crop", "as they are"), ("dd", "rotate", "as they are"),
        ("soft-random", "flip", "as they are"), ("hcdc", "crop", "as they are"),
    ],
)  # fmt: skip
def test_an_augmentation_that_would_do_nothing_is_refused(recipe, augment, told):
    task = Task(blob_images().spec, 2)
    with pytest.raises(ConfigError, match=told):
        resolve(recipe, task, Changes(augment=augment))
    assert resolve(recipe, task, Changes(augment="none")).augment == ""
    assert resolve(recipe, task, Changes()) == resolve(recipe, task)
    with pytest.raises(ConfigError, match=told):
        resolve(replace(resolve(recipe, task), augment=augment), task, Changes())


def test_an_augmentation_of_which_something_is_made_use_of_is_taken():
    task = Task(blob_images().spec, 2)
    for changes in (
        Changes(augment="crop", objective=RandomFeatures(augmented=True)), Changes(augment="crop_rotate"),
        Changes(augment="flip", labels=Teacher(views=2)), Changes(augment="color", objective=Own()),
    ):  # fmt: skip
        assert resolve("sre2l", task, changes).augment == changes.augment
    assert resolve("rtp", task, Changes(objective="random-features")).augment == "rotate", "left over from the recipe"


def test_a_recipe_that_names_no_augmentation_has_none():
    data, options = blob_images(), {"ipc": 2, "steps": 2, "network": "convnet2-w4", "device": "cpu"}
    point = resolve("sre2l", Task(data.spec, 2))
    first, second = (decoct.distill(data, replace(point, augment=name), **options) for name in ("none", ""))  # type: ignore[arg-type]
    assert torch.equal(first.decode(), second.decode())


def test_an_unknown_objective_comes_with_the_nearest_names():
    with pytest.raises(UnknownNameError, match="did you mean 'ridge'"):
        distilled(objective="rigde")


def test_bases_and_characteristic_from_the_command_line(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Queue, "_train", lambda *_: None)
    source = saved_npz(blob_images(), tmp_path / "images.npz")
    line = ["distill", source, "--recipe", "dm", "--storage", "bases", "--objective", "characteristic", "--ipc", "2"]
    line += ["--steps", "1", "--network", "convnet2-w4", "--device", "cpu", "--out", "run"]
    assert main(line) == 0
    made = json.loads((tmp_path / "run" / "run.json").read_text())
    axes = [made["settings"][axis]["kind"] for axis in ("storage", "objective", "labels")]
    assert axes == ["Bases", "Characteristic", "Hard"]
    capfd.readouterr()
    assert main([*line[:-1], "other", "--objective", "charcteristic"]) == 2
    assert "did you mean 'characteristic'" in capfd.readouterr().err


@dataclass(frozen=True)
class Asked:
    """What a run was asked for."""

    run: Distillation
    limit: Limit


class StopError(Exception):
    """Instead of the run."""


def asked(monkeypatch, data, **options) -> Asked:
    found: list[Asked] = []

    def stop(run: Distillation, limit: Limit, place: object, began: float) -> None:
        found.append(Asked(run, limit))
        raise StopError

    monkeypatch.setattr(driver, "_loop", stop)
    monkeypatch.setattr("decoct.distillation.probe.SECONDS", 0.01)
    with pytest.raises(StopError):
        decoct.distill(data, ipc=1, device="cpu", **options)
    return found[0]


def test_without_a_recipe_auto_takes_twenty_minutes(monkeypatch):
    found = asked(monkeypatch, blob_features())
    assert (found.limit.steps, found.limit.seconds) == (None, 1200.0)
    assert isinstance(found.run.recipe.objective, RandomFeatures), "what auto takes for a table"
    assert asked(monkeypatch, blob_features(), steps=3).limit == Limit(3, None)
    assert asked(monkeypatch, blob_features(), budget="2s").limit == Limit(None, 2.0)


def test_the_paper_preset_of_auto_has_steps_and_measures_nothing(monkeypatch):
    monkeypatch.setattr(driver, "machine_rate", lambda *_: pytest.fail("measured"))
    found = asked(monkeypatch, blob_features(), preset="paper")
    assert found.limit == Limit(100_000, None)


def test_a_network_of_the_callers_own_leaves_nothing_to_measure(monkeypatch):
    monkeypatch.setattr(driver, "machine_rate", lambda *_: pytest.fail("measured"))
    assert asked(monkeypatch, blob_features(), network="mlp-w8").run.problem.network == "mlp-w8"


@pytest.mark.parametrize("name", ["rtp", "rat-bptt"])
def test_features_are_never_augmented(monkeypatch, name):
    found = asked(monkeypatch, blob_features(), recipe=name, network="mlp-w8", storage=Bases(max_per_class=2))
    assert (found.run.problem.strategy, found.run.recipe.augment) == ("", "")
    turned = replace(found.run.recipe, augment="rotate")
    assert asked(monkeypatch, blob_features(), recipe=turned, network="mlp-w8").run.problem.strategy == ""
    images = asked(monkeypatch, blob_images(), recipe=name, network="convnet2-w4", storage="pixels")
    assert images.run.problem.strategy == "rotate"
