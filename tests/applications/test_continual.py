"""Continual learning: closed forms of its numbers, budgets kept, cells reused, bad input told."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from toys import blob_images

from decoct.analysis.finding import Finding
from decoct.applications import continual as continual_room
from decoct.applications.continual import ContinualConfig, _joined, class_order, continual
from decoct.applications.continual_result import after_each, average_accuracy, final_accuracy, forgetting
from decoct.applications.memory import Reservoir, memory_for, row_cost
from decoct.errors import BudgetError, ConfigError, DataError, UnknownNameError
from decoct.training.config import FitConfig

FIT = FitConfig(optimizer="adamw", lr=5e-3, epochs=15, batch_size=32)
MATRIX = [[0.9], [0.5, 0.7], [0.6, 0.1, 0.8]]


@pytest.fixture(autouse=True)
def short_looks(monkeypatch):
    monkeypatch.setattr("decoct.distillation.validate.STEPS", 2)


def toy(classes: int = 4):
    return blob_images(classes=classes, per_class=16)


def settings(**changes) -> ContinualConfig:
    # 4 classes x 3 rows of 64 bytes and a label, and 8 bytes for the scale of each distilled set.
    start = ContinualConfig(tasks=2, nbytes=4 * 3 * 65 + 16, steps=2, network="convnet2-w4", fit=FIT)
    return replace(start, **changes)


def test_the_three_numbers_of_a_matrix_worked_out_by_hand():
    assert after_each(MATRIX) == pytest.approx((0.9, 0.6, 0.5))
    assert final_accuracy(MATRIX) == pytest.approx(0.5)
    assert average_accuracy(MATRIX) == pytest.approx(2 / 3)
    # Task 0 was best at 0.9 and ends at 0.6, task 1 falls from 0.7 to 0.1.
    assert forgetting(MATRIX) == pytest.approx((0.3 + 0.6) / 2)
    assert forgetting([[0.4]]) is None
    assert forgetting([[0.4], [0.6, 0.5]]) == pytest.approx(-0.2), "old tasks may get better"


def test_every_class_comes_once_and_the_order_is_that_of_the_seed():
    data = toy(5)
    tasks = class_order(data, 2, 0)
    assert [len(task) for task in tasks] == [3, 2]
    assert sorted(c for task in tasks for c in task) == [0, 1, 2, 3, 4]
    assert tasks == class_order(data, 2, 0)
    assert any(class_order(data, 2, seed) != tasks for seed in range(1, 5))


def test_a_reservoir_keeps_every_row_with_the_same_chance():
    data = toy(4)
    counts = torch.zeros(len(data.train))
    draws = 300
    for seed in range(draws):
        memory = Reservoir(data, 8 * row_cost(data), seed)
        memory.add([0, 1])
        memory.add([2, 3])
        kept = torch.tensor(memory._kept)
        assert len(set(memory._kept)) == 8
        assert memory.nbytes == 8 * 65
        counts[kept] += 1
    chance = 8 / len(data.train)
    spread = (draws * chance * (1 - chance)) ** 0.5
    assert float((counts - draws * chance).abs().max()) < 5 * spread
    early = counts[data.train.labels() < 2].sum() / counts.sum()
    assert float(early) == pytest.approx(0.5, abs=0.05), "old rows are as likely as new ones"


@pytest.mark.parametrize("name", ["random", "herding", "reservoir", "dm"])
def test_a_memory_never_outgrows_its_bytes_and_holds_what_it_has_seen(name):
    data, nbytes = toy(), 4 * 3 * 65 + 16
    memory = memory_for(name, data, nbytes, 0, 2, "convnet2-w4", "cpu")
    assert memory.material() is None
    for classes in ([2, 0], [1, 3]):
        memory.add(classes)
        assert memory.nbytes <= nbytes
    material = memory.material()
    assert material is not None
    assert len(material.inputs) == memory.rows == 12
    assert set(material.targets.argmax(1).tolist()) == {0, 1, 2, 3}
    if name != "reservoir":
        assert material.targets.sum(0).tolist() == [3, 3, 3, 3]


def test_classes_of_a_reservoir_count_the_same_for_a_network_that_sees_nothing_else(tmp_path, monkeypatch):
    """Its classes are uneven, and in a short training a few rows more are enough for a network to answer with them."""
    data, shown = toy(), []
    room = "decoct.applications.continual"
    trained = continual_room._trained
    monkeypatch.setattr(f"{room}._trained", lambda _, made, *rest: shown.append(made) or trained(data, made, *rest))
    continual(data, ["reservoir"], settings(nbytes=7 * 65), seeds=1, out=tmp_path, device="cpu")
    counts = [made.targets.sum(0) for made in shown]
    assert any(len(set(own[own > 0].tolist())) > 1 for own in counts), "uneven, or nothing is shown"
    for made, own in zip(shown, counts, strict=True):
        there = own > 0
        assert made.weights is not None
        each = (made.targets.T @ made.weights)[there].tolist()
        assert each == pytest.approx([7 / len(each)] * len(each))
    [cell] = (tmp_path / "cells").iterdir()
    assert json.loads(cell.read_text())["key"]["weighed"] == "classes", "cells of uneven classes are not read for it"


@pytest.mark.parametrize(("memory", "way"), [("reservoir", "continue"), ("random", "scratch")])
def test_cells_that_the_weights_of_a_reservoir_do_not_concern_are_still_found(memory, way, tmp_path, monkeypatch):
    monkeypatch.setattr("decoct.applications.continual._run", lambda *_: _cell())
    continual(toy(), [memory], settings(way=way), seeds=1, out=tmp_path, device="cpu")
    [cell] = (tmp_path / "cells").iterdir()
    key = json.loads(cell.read_text())["key"]
    assert set(key) == {"continual", "data", "memory", "seed", "config"}
    assert key["config"]["network"] == "convnet2-w4"


def _cell() -> dict:
    matrix, tasks = [[0.5], [0.5, 0.5]], [[0, 1], [2, 3]]
    return {"matrix": matrix, "bytes": [65, 130], "rows": [1, 2], "tasks": tasks, "seconds": 1.0}


def test_an_edited_network_is_learned_with_anew(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr("decoct.applications.continual._run", lambda *_: done.append(1) or _cell())
    for version, runs in (("one", 1), ("one", 1), ("two", 2)):
        monkeypatch.setattr("decoct.applications.continual.network_identity", lambda name, *_, v=version: f"{name}@{v}")
        told = continual(toy(), ["random"], settings(), seeds=1, out=tmp_path, device="cpu")
        assert len(done) == runs
        assert told.facts["config"]["network"] == "convnet2-w4"


def test_the_notes_say_how_a_reservoir_is_weighed(monkeypatch):
    monkeypatch.setattr("decoct.applications.continual._run", lambda *_: _cell())
    for way, told in (("scratch", True), ("continue", False)):
        notes = continual(toy(), ["reservoir"], settings(way=way), seeds=1, device="cpu").finding().notes
        assert any("its rows are weighted so that every class counts the same" in note for note in notes) is told


def test_a_share_that_soft_labels_outgrow_is_made_smaller():
    data = toy()
    tight = memory_for("soft-random", data, 4 * 3 * 65, 0, None, "convnet2-w4", "cpu")
    tight.add([0, 1])
    assert tight.nbytes <= 2 * 3 * 65
    assert tight.rows in (2, 4)


@pytest.mark.parametrize("way", ["scratch", "continue"])
def test_memories_are_compared_and_finished_cells_are_not_done_again(way, tmp_path, monkeypatch):
    data, config = toy(), settings(way=way)
    result = continual(data, ["random", "dm"], config, seeds=2, out=tmp_path, device="cpu")
    assert [(run.memory, run.seed) for run in result.runs] == [("random", 0), ("dm", 0), ("random", 1), ("dm", 1)]
    first, other = result.of("random")[0], result.of("dm")[0]
    assert first.tasks == other.tasks, "the same seed has the same order of classes"
    assert [len(row) for row in first.matrix] == [1, 2]
    assert max(run.nbytes[-1] for run in result.runs) <= config.nbytes
    finding = Finding.from_json(result.finding().to_json())
    assert finding.rows[0]["final"]["low"] is not None
    ends = [[final_accuracy(run.matrix) for run in result.of(name)] for name in ("random", "dm")]
    over = finding.rows[1]["final over random"]["mean"]
    assert over == pytest.approx(sum(b - a for a, b in zip(*ends, strict=True)) / 2), "paired by seed"
    assert finding.rows[0]["final over random"] is None
    assert "random" in result.table()
    monkeypatch.setattr("decoct.applications.continual._run", lambda *_: pytest.fail("done twice"))
    assert continual(data, ["random", "dm"], config, seeds=2, out=tmp_path, device="cpu").runs == result.runs
    assert len(list((tmp_path / "cells").glob("*.json"))) == 4


def test_a_handful_of_easy_rows_is_enough_to_remember():
    kept = continual(toy(), ["random"], settings(), seeds=1, device="cpu").of("random")[0]
    assert final_accuracy(kept.matrix) > 0.6


def test_the_rows_of_a_task_and_of_the_memory_weigh_the_same_class_by_class():
    data = toy()
    memory = memory_for("random", data, 4 * 3 * 65, 0, None, "convnet2-w4", "cpu")
    memory.add([0, 1])
    both = _joined(memory, [2, 3], memory.material())
    assert both.targets.sum(0).tolist() == [3, 3, 16, 16]
    assert (both.targets.T @ both.weights).tolist() == pytest.approx([1, 1, 1, 1])


def test_the_rows_of_a_new_task_count_by_their_weights_within_their_class():
    data = toy()
    heavy = data.with_weights(1 + 49.0 * (torch.arange(len(data.train)) % 8 < 4))
    memory = memory_for("random", heavy, 4 * 3 * 65, 0, None, "convnet2-w4", "cpu")
    joined = _joined(memory, [2, 3], None)
    assert (joined.targets.T @ joined.weights).tolist() == pytest.approx([0, 0, 1, 1])
    assert float(joined.weights.max() / joined.weights.min()) == pytest.approx(50)


@pytest.mark.parametrize(
    ("memory", "weighted", "text"),
    [
        ("reservoir", True, r"keeping a reservoir(.|\n)*weights on the training rows(.|\n)*such as random"),
        ("k-center", True, r"selecting by k-center(.|\n)*no weighted form"),
        ("ridge", False, r"recipe 'ridge', whose labels are scores(.|\n)*such as dm"),
        ("auto", False, r"recipe 'auto', whose labels are scores"),
    ],
)
def test_what_cannot_be_kept_is_refused_before_anything_is_made(memory, weighted, text, monkeypatch):
    monkeypatch.setattr("decoct.applications.continual._run", lambda *_: pytest.fail("work before the refusal"))
    data = toy()
    data = data.with_weights(1 + torch.arange(len(data.train)) % 2) if weighted else data
    with pytest.raises(ConfigError, match=text):
        continual(data, ["random", memory], settings(), seeds=1, device="cpu")


def test_a_reservoir_of_weighted_rows_is_refused_where_it_is_made():
    with pytest.raises(ConfigError, match="the same chance to be kept"):
        Reservoir(toy().with_weights(1 + torch.arange(64) % 2), 1000, 0)


def test_one_seed_has_no_interval_and_says_so():
    result = continual(toy(), ["random"], settings(), seeds=1, device="cpu")
    assert result.finding().rows[0]["final"]["low"] is None
    assert any("no interval" in note for note in result.finding().notes)


@pytest.mark.parametrize(
    ("changes", "memories", "seeds", "error", "text"),
    [
        ({"tasks": 5}, ["random"], 1, ConfigError, "from 1 to the 4 classes"),
        ({"tasks": 0}, ["random"], 1, ConfigError, "from 1 to the 4 classes"),
        ({"nbytes": 100}, ["random"], 1, BudgetError, "at least 260: one row of 65 bytes"),
        ({}, [], 1, ConfigError, "at least one memory"),
        ({}, ["random"], 0, ConfigError, "two or more for an interval"),
        ({}, ["randon"], 1, UnknownNameError, "did you mean 'random'"),
        ({}, ["random+noise"], 1, ConfigError, "a recipe of stored pixels"),
    ],
)
def test_bad_requests(changes, memories, seeds, error, text):
    with pytest.raises(error, match=text):
        continual(toy(), memories, settings(**changes), seeds=seeds)


def test_a_way_that_does_not_exist_is_refused():
    config = settings()
    object.__setattr__(config, "way", "both")
    with pytest.raises(ConfigError, match="'scratch' or 'continue'"):
        continual(toy(), ["random"], config, seeds=1)


def test_a_task_without_validation_rows_is_told_before_any_work(monkeypatch):
    """Only a recipe looks at them; real rows are kept without."""
    data = toy()
    data = replace(data, val=data.val.take(torch.nonzero(torch.isin(data.val.labels(), torch.tensor([0]))).flatten()))
    result = continual(data, ["random"], settings(), seeds=1, device="cpu")
    assert len(result.runs) == 1
    monkeypatch.setattr("decoct.applications.continual._run", lambda *_: pytest.fail("work before the refusal"))
    with pytest.raises(DataError, match=r"no validation rows of 'class .', 'class .'(.|\n)*every task: dm looks"):
        continual(data, ["random", "dm"], settings(), seeds=1)


def test_a_class_without_rows_is_named():
    data = toy()
    short = data.with_train(torch.nonzero(data.train.labels() != 3).flatten())
    with pytest.raises(DataError, match="no training rows of class 'class 3'"):
        continual(short, ["random"], settings(), seeds=1)
    untested = replace(data, test=data.test.take(torch.nonzero(data.test.labels() != 1).flatten()))
    with pytest.raises(DataError, match="no test rows of class 'class 1'"):
        continual(untested, ["random"], settings(), seeds=1)
