"""What a selection is said to cost."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import blob_images

from decoct.compact.budget import Budget
from decoct.errors import BudgetError
from decoct.networks.build import network
from decoct.networks.count import flops_forward
from decoct.selection.active import Active
from decoct.selection.cost import Cost, cost_of, estimate, measured_rate
from decoct.selection.methods import selector
from decoct.selection.sources import Sources

DATA = blob_images(classes=2, per_class=50, shape=(1, 8, 8))


def sources(features: str | torch.Tensor = "auto", each: int = 5) -> Sources:
    groups = tuple(torch.from_numpy(rows) for rows in DATA.train.class_rows(2))
    return Sources(DATA, features, 0, "cpu", None, groups, (each, each))


def test_a_row_costs_three_forward_passes_and_break_even_follows():
    cost = cost_of(selector("hardest"), sources(), measure=False)
    forward = flops_forward(network("convnet3-w32", (1, 8, 8), 2, 0), (1, 8, 8))
    assert cost.row_flops == 3 * forward
    assert cost.passes == pytest.approx(20 * 4 / 3)
    assert cost.flops == pytest.approx(100 * 20 * 4 / 3 * 3 * forward)
    # 90 of 100 rows are saved in every pass.
    assert cost.break_even == pytest.approx(20 * 4 / 3 / 0.9)
    assert "pays from 30 passes on" in cost.sentence
    assert "10 rows that are kept" in cost.sentence


def test_at_break_even_both_ways_cost_the_same():
    cost = cost_of(selector("craig"), sources(), measure=False)
    every = cost.break_even * cost.rows * cost.row_flops
    assert cost.flops + cost.break_even * cost.kept * cost.row_flops == pytest.approx(every)


@pytest.mark.parametrize(
    ("method", "features", "passes"),
    [
        ("random", "auto", 0), ("herding", "pixels", 0), ("herding", "network", 50 + 1 / 3),
        ("craig", "auto", 50 + 1 / 3), ("hardest", "auto", 20 * 4 / 3),
    ],
)  # fmt: skip
def test_methods_cost_what_they_train(method: str, features: str, passes: float):
    assert cost_of(selector(method), sources(features), measure=False).passes == pytest.approx(passes)


def test_the_rows_own_numbers_cost_no_training():
    own = torch.from_numpy(np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32))
    for method in ("hardest", "craig", "herding"):
        cost = cost_of(selector(method), sources(own), measure=False)
        assert cost.passes == 0
        assert cost.flops == 2 * (2 * 50 * 5 * 3)
        assert "pays from the first pass on" in cost.sentence


def test_active_rounds_train_on_what_is_chosen():
    one = cost_of(Active(rounds=4, epochs=10, steps=1), sources(each=10), measure=False)
    # Batches of 4 rows: 10 passes on 4, 8, 12 and 16 of 100 rows, and 4 looks at all of them.
    assert one.passes == pytest.approx(10 * 0.4 + 4 / 3)
    committee = Active(rounds=4, epochs=10, strategy="vote-entropy", networks=3, steps=1)
    assert cost_of(committee, sources(each=10), measure=False).passes == pytest.approx(3 * one.passes)


def test_the_estimate_knows_the_budget_of_the_command():
    told = estimate(DATA, "hardest", budget=Budget(fraction=0.2), measure=False)
    assert (told.rows, told.kept) == (100, 20)
    assert estimate(DATA, "herding", budget=Budget(count=7), balanced=False, measure=False).kept == 7
    with pytest.raises(BudgetError):
        estimate(DATA, "herding", budget=Budget(ipc=51), measure=False)


def test_keeping_all_rows_never_pays():
    cost = Cost("mlp", 10, 10, 6.0, 2.0, 0.0)
    assert cost.break_even == math.inf
    assert "saves nothing" in cost.sentence
    assert cost.seconds is None
    assert replace(cost, rate=60.0).seconds == 2.0


def test_the_machine_is_measured_and_global_chance_left_alone():
    before = torch.get_rng_state()
    assert 1e6 < measured_rate(DATA, "convnet3-w32", "cpu") < 1e15
    assert torch.equal(before, torch.get_rng_state())
    assert "on this machine" in cost_of(selector("hardest"), sources()).sentence
