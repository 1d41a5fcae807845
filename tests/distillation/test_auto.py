"""`auto`: what it picks, that it goes on with what it picked, and that the machine is asked once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from toys import blob_features, blob_images

import decoct
from decoct.distillation.labels.teacher import Teacher
from decoct.distillation.objective.nothing import Nothing
from decoct.distillation.objective.random_features import RandomFeatures
from decoct.distillation.objective.ridge import Ridge
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
    large = auto(Task(SPEC, 500))
    assert isinstance(large.objective, Nothing)
    assert isinstance(large.labels, Teacher)
    for small in (blob_features().spec, blob_images(shape=(1, 8, 8)).spec):
        assert isinstance(auto(Task(small, 10)).objective, Ridge)
        assert isinstance(auto(Task(small, 10)).storage, Pixels)


@pytest.mark.parametrize(("seconds", "width"), [(60.0, "w32"), (10000.0, "w64"), (36000.0, "w128")])
def test_time_and_speed_decide_the_width(seconds, width):
    assert auto(Task(SPEC, 10, seconds=seconds, rate=3e10)).network == f"convnet3-{width}"
    assert auto(Task(SPEC, 10, seconds=seconds / 10, rate=3e11)).network == f"convnet3-{width}"


def test_the_paper_preset_is_that_of_the_point_whatever_the_machine():
    for ipc, name in ((1, "ridge-grid"), (10, "rfad"), (500, "soft-random")):
        slow, fast = (auto(Task(SPEC, ipc, "paper", seconds=60.0, rate=rate)) for rate in (1e8, 1e14))
        assert slow == fast == resolve(name, Task(SPEC, ipc, "paper"))
    assert fast.network == "convnet3-w128"


def test_what_is_cited_is_what_is_picked():
    cited = CARDS.load("auto")
    tasks = {"ridge-grid": Task(SPEC, 1), "rfad": Task(SPEC, 10), "soft-random": Task(SPEC, 500)}
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
