"""`auto`: what it picks, that it goes on with what it picked, and that the machine is asked once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from toys import blob_features, blob_images

import decoct
from decoct.distillation.labels.teacher import Teacher
from decoct.distillation.objective.distribution import Distribution
from decoct.distillation.objective.nothing import Nothing
from decoct.distillation.objective.random_features import RandomFeatures
from decoct.distillation.objective.ridge import Ridge
from decoct.distillation.objective.statistics import Statistics
from decoct.distillation.probe import machine_rate
from decoct.distillation.recipes.auto import auto
from decoct.distillation.recipes.table import CARDS, resolve
from decoct.distillation.recipes.task import Task
from decoct.distillation.storage.multiformation import Multiformation
from decoct.distillation.storage.pixels import Pixels

SPEC = replace(blob_images(classes=10, per_class=2, shape=(1, 28, 28)).spec)


def test_size_decides_the_point():
    for ipc, storage in ((1, Multiformation), (3, Multiformation), (4, Pixels), (10, Pixels)):
        assert isinstance(auto(Task(SPEC, ipc)).storage, storage)
        assert isinstance(auto(Task(SPEC, ipc)).objective, RandomFeatures)
    colour = blob_images(classes=10, per_class=2, shape=(3, 32, 32)).spec
    for ipc, objective in ((1, RandomFeatures), (3, RandomFeatures), (4, Distribution), (10, Distribution)):
        assert isinstance(auto(Task(colour, ipc)).storage, Multiformation)
        assert isinstance(auto(Task(colour, ipc)).objective, objective)
    large = auto(Task(SPEC, 500))
    assert isinstance(large.objective, Nothing)
    assert isinstance(large.labels, Teacher)
    for small in (blob_features().spec, blob_images(shape=(1, 8, 8)).spec):
        assert isinstance(auto(Task(small, 10)).objective, Ridge)
        assert isinstance(auto(Task(small, 10)).storage, Pixels)


@pytest.mark.parametrize(("seconds", "width"), [(60.0, "w32"), (10000.0, "w64"), (36000.0, "w128")])
def test_time_and_speed_decide_the_width(seconds, width):
    assert auto(Task(SPEC, 10, seconds=seconds, speed=lambda: 3e10)).network == f"convnet3-{width}"
    assert auto(Task(SPEC, 10, seconds=seconds / 10, speed=lambda: 3e11)).network == f"convnet3-{width}"


def test_the_paper_preset_is_that_of_the_point_whatever_the_machine():
    colour = blob_images(classes=10, per_class=2, shape=(3, 32, 32)).spec
    for spec, ipc, name in (
        (SPEC, 1, "ridge-grid"), (SPEC, 10, "rfad"), (colour, 10, "idm"), (SPEC, 500, "soft-random")
    ):  # fmt: skip
        slow = auto(Task(spec, ipc, "paper", seconds=60.0, speed=lambda: 1e8))
        fast = auto(Task(spec, ipc, "paper", seconds=60.0, speed=lambda: 1e14))
        assert slow == fast == resolve(name, Task(spec, ipc, "paper"))
    assert fast.network == "convnet3-w128"


def test_what_is_cited_is_what_is_picked():
    cited = CARDS.load("auto")
    tasks = {"ridge-grid": Task(SPEC, 1), "rfad": Task(SPEC, 10), "soft-random": Task(SPEC, 500)}
    tasks["idm"] = Task(blob_images(classes=10, per_class=2, shape=(3, 32, 32)).spec, 10)
    tasks["ridge"] = Task(blob_features().spec, 10)
    for name, task in tasks.items():
        picked, named = auto(task), resolve(name, task)
        assert (picked.storage, picked.objective, picked.labels) == (named.storage, named.objective, named.labels)
        assert set(CARDS.load(name).paper.split("; ")) <= set(cited.paper.split("; "))
    assert "Remember the Past" not in cited.paper + cited.bibtex, "bases are not among them"
    assert cited.bibtex.count("@inproceedings{") == len(set(cited.bibtex.split("\n@"))) == cited.paper.count(";") + 1


def test_the_rate_is_a_power_of_two():
    rate = machine_rate(blob_images().spec, "convnet2-w4", "cpu")
    assert rate.hex().startswith("0x1.0000000000000p")


def test_a_run_goes_on_with_what_was_chosen_whatever_the_machine_says_now(tmp_path, monkeypatch):
    monkeypatch.setattr("decoct.distillation.validate.STEPS", 4)
    monkeypatch.setattr("decoct.distillation.probe.SECONDS", 0.05)
    data = blob_images(per_class=30)
    first = decoct.distill(data, "auto", ipc=5, steps=2, out=tmp_path / "run", device="cpu")
    monkeypatch.setattr("decoct.distillation.driver.machine_rate", lambda *_: pytest.fail("measured again"))
    second = decoct.distill(data, "auto", ipc=5, steps=2, out=tmp_path / "run", device="cpu")
    assert first.provenance["rate"] == second.provenance["rate"]
    assert first.content_hash == second.content_hash


@pytest.mark.parametrize(("name", "passes"), [("sre2l", (5, 3, 1)), ("gvbsm", (2, 1, 1)), ("soft-random", (8, 6, 1))])
def test_teachers_leave_time_for_the_set(name, passes):
    def passes_of(task: Task) -> int:
        point = resolve(name, task)
        return point.labels.epochs if isinstance(point.labels, Teacher) else 0

    full, short, shortest = passes
    slow = Task(SPEC, 10, seconds=360.0, speed=lambda: 2e10, rows=60_000)
    assert passes_of(Task(SPEC, 10, seconds=180.0, speed=lambda: pytest.fail("measured"))) == full
    assert passes_of(replace(slow, speed=lambda: 2e12)) == full
    assert passes_of(slow) == short
    assert passes_of(replace(slow, seconds=10.0)) == shortest


@pytest.mark.parametrize(("seconds", "count"), [(1800.0, 3), (300.0, 2), (18.0, 1)])
def test_few_backbones_where_a_pass_of_each_would_take_the_time(seconds, count):
    point = resolve("gvbsm", Task(SPEC, 10, seconds=seconds, speed=lambda: 2e10, rows=60_000))
    assert isinstance(point.objective, Statistics)
    assert isinstance(point.labels, Teacher)
    assert len(point.objective.backbones) == count == 1 + len(point.labels.others)


def test_few_experts_where_six_would_take_the_time():
    slow = Task(SPEC, 10, seconds=180.0, speed=lambda: 2e10, rows=60_000)
    counts = [
        resolve("mtt", replace(slow, seconds=seconds)).objective.experts  # pyright: ignore
        for seconds in (1800.0, 180.0, 18.0)
    ]
    assert counts == [6, 2, 1]


def test_a_named_recipe_that_trains_teachers_goes_on_with_the_speed_of_its_beginning(tmp_path, monkeypatch):
    monkeypatch.setattr("decoct.distillation.validate.STEPS", 4)
    monkeypatch.setattr("decoct.distillation.driver.machine_rate", lambda *_: 2.0**20)
    data = blob_images(per_class=30)
    chosen = {"ipc": 1, "budget": "2s", "network": "convnet2-w4", "device": "cpu"}
    first = decoct.distill(data, "sre2l", **chosen, out=tmp_path / "run")
    assert first.provenance["rate"] == 2.0**20
    assert first.provenance["settings"]["labels"]["epochs"] == 1
    monkeypatch.setattr("decoct.distillation.driver.machine_rate", lambda *_: pytest.fail("measured again"))
    assert decoct.distill(data, "sre2l", **chosen, out=tmp_path / "run").content_hash == first.content_hash
    assert "rate" not in decoct.distill(data, "dm", **chosen, out=tmp_path / "dm").provenance
    assert "rate" not in decoct.distill(data, "sre2l", ipc=1, steps=2, network="convnet2-w4", device="cpu").provenance
