"""Will it fit: what is counted for a step, and whose memory it is held against."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from toys import blob_images

from decoct.distillation.estimate import require_room, step_bytes
from decoct.distillation.labels.hard import Hard
from decoct.distillation.objective.distribution import Distribution
from decoct.distillation.objective.gradient import Gradient
from decoct.distillation.objective.trajectory import Trajectory
from decoct.distillation.objective.unroll import Unroll
from decoct.distillation.problem import Problem
from decoct.distillation.recipe import ALL_ROWS, Recipe
from decoct.distillation.recipes.table import resolve
from decoct.distillation.recipes.task import Task
from decoct.distillation.step_rows import StepRows
from decoct.distillation.storage.pixels import Pixels
from decoct.errors import MemoryEstimateError
from decoct.machine import available_memory
from decoct.networks.build import network
from decoct.networks.count import activation_values
from decoct.streams import Streams

GB = 10**9


def _problem(shape: tuple[int, int, int], classes: int, ipc: int, device: str = "cpu") -> Problem:
    return Problem(blob_images(classes, 1, shape), ipc, "convnet3", device, "", 0.0)


def _left_by_a_row(problem: Problem) -> int:
    return activation_values(network(problem.network, problem.shape, problem.class_count, 0), problem.shape)


@pytest.mark.parametrize(("classes", "ipc"), [(10, 1), (10, 10), (10, 50), (100, 10)])
def test_the_published_unroll_is_counted_by_its_inner_batches(classes, ipc):
    """32 rows a class in every inner step, however many the set decodes to."""
    problem = _problem((3, 32, 32), classes, ipc)
    point = resolve("rtp", Task(problem.spec, ipc, "paper"))
    active = 2 * 4 * 32 * classes * _left_by_a_row(problem)
    assert active < step_bytes(problem, point) < active + 4 * GB
    assert step_bytes(problem, point) < (3 if classes == 10 else 16) * GB


def _bytes(objective, problem: Problem) -> int:
    return step_bytes(problem, Recipe(Pixels(), objective, Hard(), rows_per_step=ALL_ROWS))


def test_one_graph_of_all_inner_steps_is_counted_whole():
    problem = _problem((1, 8, 8), 3, 4)
    row = 2 * 4 * _left_by_a_row(problem)
    for objective in (
        Unroll(inner_steps=20, batch_per_class=2, window=10),
        Trajectory(inner_steps=10, batch=6),
    ):
        more = _bytes(replace(objective, mode="full"), problem) - _bytes(objective, problem)
        assert more == 9 * 6 * row, "ten steps of six rows in place of one"


def test_unrolled_real_rows_go_whole_on_other_devices():
    here, there = _problem((1, 8, 8), 3, 4), _problem((1, 8, 8), 3, 4, "cuda")
    objective = Unroll(inner_steps=2, batch_per_class=2, real_batch=600)
    assert objective.rows_at_once(here, 12) == 6
    assert objective.rows_at_once(there, 12) == 600
    assert replace(objective, mode="full").rows_at_once(there, 12) == 612
    assert Unroll(inner_steps=2, ordered=True).rows_at_once(here, 12) == 3
    assert Unroll(inner_steps=2).rows_at_once(here, 12) == 12


def test_classes_that_go_one_after_another_are_counted_one_at_a_time():
    problem = _problem((1, 8, 8), 3, 50)
    assert Gradient().rows_at_once(problem, 150) == 50
    assert Gradient().rows_at_once(problem, 6) == 6
    assert Distribution().rows_at_once(problem, 150) == 150


@pytest.mark.parametrize(("rows", "seen"), [(3, 4), (4, 4), (7, 4), (9, 8), (11, 8), (12, 12), (50, 12)])
def test_rows_of_a_step_are_counted_exactly(rows, seen):
    """Equal shares of four classes: neither what is asked for nor what there is, where the two do not divide."""
    problem = _problem((1, 8, 8), 4, 3)
    asked = Recipe(Pixels(), Distribution(), Hard(), rows_per_step=rows)
    per_row = 4 * 3 * 64 + 2 * 4 * _left_by_a_row(problem)
    whole = step_bytes(problem, replace(asked, rows_per_step=ALL_ROWS))
    assert whole - step_bytes(problem, asked) == (12 - seen) * per_row


@pytest.mark.parametrize(("classes", "seen"), [(200, 100), (1000, 100), (100, 100), (30, 90)])
def test_a_published_step_of_sre2l_holds_at_most_a_hundred_rows(classes, seen):
    problem = _problem((3, 64, 64), classes, 10)
    point = resolve("sre2l", Task(problem.spec, 10, "paper"))
    rows = StepRows(point, point.storage.classes(problem), classes)
    drawn = rows.draw(Streams(0))
    assert len(drawn) == rows.count == seen
    per_class = torch.bincount(torch.arange(classes).repeat_interleave(10)[drawn], minlength=classes)
    assert per_class.max() == max(1, 100 // classes)
    assert point.steps == 4000 * -(-10 * classes // seen), "so many visits of every row"


def test_real_rows_are_counted_as_many_as_there_are():
    problem = Problem(blob_images(3, 20), 1, "convnet2-w4", "cpu", "", 0.0)
    assert Distribution(real_per_class=8).real_rows_seen(problem) == 24
    assert Distribution(real_per_class=5000).real_rows_seen(problem) == 60
    assert Unroll(real_batch=512).real_rows_seen(problem) == 512
    more = _bytes(Distribution(real_per_class=8), problem) - _bytes(Distribution(real_per_class=7), problem)
    assert more == 2 * 3 * 64 * 4


def test_a_run_on_an_accelerator_is_held_against_its_own_memory(monkeypatch):
    """Neither does the computer's memory refuse what the accelerator holds, nor does it let pass what that does not."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.memory_reserved", lambda device: 700)
    monkeypatch.setattr("torch.cuda.memory_allocated", lambda device: 300)
    asked = []
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: asked.append(device) or (1000, 2000))
    assert available_memory("cuda:1") == 1400
    assert asked == ["cuda:1"]
    problem = _problem((1, 8, 8), 3, 4, "cuda:1")
    point = Recipe(Pixels(), Distribution(), Hard())
    with pytest.raises(MemoryEstimateError, match=r"at most 1.4 kB, which is free on cuda:1"):
        require_room(problem, point)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (10**12, 10**12))
    monkeypatch.setattr("decoct.machine.Path", lambda name: pytest.fail("the computer's own memory was asked for"))
    require_room(problem, point)


def test_an_accelerator_that_torch_does_not_see_falls_back_to_the_computer(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert available_memory("cuda") > 0
