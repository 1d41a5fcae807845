"""What a selection is said to cost."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from toys import blob_images

from decoct.compact.budget import Budget
from decoct.errors import BudgetError
from decoct.networks.build import network
from decoct.networks.count import flops_forward
from decoct.selection.active import Active
from decoct.selection.cost import Cost, cost_of, estimate
from decoct.selection.facility_location import FacilityLocation
from decoct.selection.glister import Glister
from decoct.selection.k_means import KMeans
from decoct.selection.methods import selector
from decoct.selection.rates import Rates, measured_rate, measured_rates
from decoct.selection.sharded.selector import Sharded
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
    for method, work in (("hardest", 2 * 50 * math.log2(50)), ("craig", None), ("herding", 2 * (2 * 50 * 5 * 3))):
        cost = cost_of(selector(method), sources(own), measure=False)
        assert cost.passes == 0
        assert cost.flops == (work or 2 * selector(method).operations(50, 5, 3))
        assert "pays from the first pass on" in cost.sentence


def test_what_is_compared_has_the_width_of_the_features():
    width = 32 * 1 * 1
    herding = {
        kind: cost_of(selector("herding"), sources(kind), measure=False) for kind in ("pixels", "pca", "network")
    }
    assert herding["pixels"].comparisons == herding["pca"].comparisons == 2 * (2 * 50 * 5 * 64)
    assert herding["network"].comparisons == 2 * (2 * 50 * 5 * width)
    assert herding["pixels"].preparing == 0
    # The covariance of 100 rows of 64 pixels.
    assert herding["pca"].preparing == 2 * 100 * 64 * 64
    craig = cost_of(selector("craig"), sources("auto"), measure=False)
    assert craig.comparisons == 2 * selector("craig").operations(50, 5, width, 2)


def test_methods_that_pick_from_all_groups_together_are_counted_so():
    own = torch.from_numpy(np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32))
    assert cost_of(selector("glister"), sources(own), measure=False).comparisons == Glister().operations(100, 10, 3)


def test_shards_make_quadratic_methods_linear():
    whole, cut = (
        estimate(DATA, "facility-location", budget=Budget(ipc=10), shard_rows=rows, measure=False).comparisons
        for rows in (None, 10)
    )
    assert cut < whole / 3
    method = FacilityLocation()
    small, large = (Sharded(method, 1000).operations(n, n // 100, 16) for n in (100_000, 1_000_000))
    assert 9 < large / small < 15
    assert 90 < method.operations(1_000_000, 10_000, 16) / method.operations(100_000, 1_000, 16) < 110


def test_active_rounds_train_on_what_is_chosen():
    one = cost_of(Active(rounds=4, epochs=10, steps=1), sources(each=10), measure=False)
    # Batches of 4 rows: 10 passes on 4, 8, 12 and 16 of 100 rows, and 4 looks at all of them.
    assert one.passes == pytest.approx(10 * 0.4 + 4 / 3)
    committee = Active(rounds=4, epochs=10, strategy="vote-entropy", networks=3, steps=1)
    assert cost_of(committee, sources(each=10), measure=False).passes == pytest.approx(3 * one.passes)


def test_the_estimate_knows_the_budget_of_the_command():
    told = estimate(DATA, "hardest", budget=Budget(fraction=0.2), measure=False)
    assert (told.rows, told.kept) == (100, 20)
    assert estimate(DATA, "herding", budget=Budget(count=7), balance="global", measure=False).kept == 7
    with pytest.raises(BudgetError):
        estimate(DATA, "herding", budget=Budget(ipc=51), measure=False)


class Counter(TorchDispatchMode):
    """Counts the floating-point operations of what is computed: those of products, and one an entry of anything else.

    Views, gathers, sorts and the making of tensors compute nothing.
    """

    PRODUCTS: ClassVar = {"mm": 2, "mv": 2, "bmm": 2, "dot": 2, "_cdist_forward": 3}
    COMPUTING = ("add", "sub", "mul", "div", "sqrt", "exp", "log", "clamp", "maximum", "minimum", "max", "min", "sum",
                 "mean", "amin", "argmax", "argmin", "norm", "pow", "index_add", "masked_fill")  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.count = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        name = func.__name__.partition(".")[0]
        tensors = [part for part in args if isinstance(part, torch.Tensor)]
        if name in ("addmm", "addmv"):
            name, tensors = name[3:], tensors[1:]
        if name in self.PRODUCTS:
            columns = {"mm": -1, "bmm": -1, "_cdist_forward": 0}
            wide = tensors[1].shape[columns[name]] if name in columns else 1
            self.count += self.PRODUCTS[name] * tensors[0].numel() * wide
        elif name.strip("_").rstrip("1p2").startswith(self.COMPUTING):
            self.count += max(part.numel() for part in tensors)
        return found


@pytest.mark.parametrize(
    "method",
    ["herding", "k-center", "k-median", "facility-location", "graph-cut", "log-det", "feature-based", "graph-density",
     "kernel-thinning", "semdedup", "glister", "craig", "grad-match"],
)  # fmt: skip
def test_what_a_method_says_of_its_work_is_what_is_counted(method: str):
    n, k, d = 600, 20, 32
    rng = torch.Generator().manual_seed(0)
    middles = 2 * torch.randn(12, d, generator=rng)
    rows, chosen = middles[torch.arange(n) % 12] + torch.randn(n, d, generator=rng), selector(method)
    with Counter() as counter:
        chosen.pick(rows, k, torch.Generator().manual_seed(1))
    assert 1 / 2.5 < chosen.operations(n, k, d) / counter.count < 2.5


def test_the_rounds_of_k_means_are_counted():
    from sklearn.cluster import KMeans as Lloyd

    rows = np.random.default_rng(0).normal(size=(2000, 16))
    fitted = [Lloyd(40, n_init=1, random_state=seed).fit(rows).n_iter_ for seed in range(3)]
    least = 2 * 2000 * 40 * 16 * sum(fitted)
    assert least / 4 < KMeans().operations(2000, 40, 16) < 4 * least
    # Mini-batches look at a part of the rows only, and so grow with k more than with n.
    assert KMeans().operations(10**6, 100, 16) < 20 * 2 * 10**6 * 100 * 16


def test_quadratic_methods_grow_with_the_square_and_others_do_not():
    for method in ("k-median", "facility-location", "craig", "graph-density", "kernel-thinning", "log-det"):
        small, large = (selector(method).operations(n, 10, 32) for n in (500, 4000))
        assert 50 < large / small < 70, method
    for method in ("herding", "k-center", "graph-cut", "random", "hardest"):
        small, large = (selector(method).operations(n, 10, 32) for n in (500, 4000))
        assert 7 < large / small < 12, method
    # Above what a table holds, samples are searched, and faiss looks into a few cells.
    assert selector("k-median").operations(10**6, 10, 32) < 1e11
    assert selector("graph-density").operations(10**6, 10, 32) < 2 * 1e12 * 32 / 50


def test_seconds_are_told_where_nothing_is_trained():
    cost = cost_of(selector("herding"), sources("pixels"))
    assert cost.rate is None
    assert cost.seconds is not None
    assert 0 < cost.seconds < 1
    assert "floating-point operations, under a second on this machine" in cost.sentence
    assert cost.rates is not None
    slow = replace(cost, comparisons=42 * cost.rates.rows)
    assert "floating-point operations, in the order of 42s on this machine" in slow.sentence
    assert cost_of(selector("herding"), sources("pixels"), measure=False).seconds is None
    fast, slow = measured_rates(1000, 64).products, measured_rates(1000, 64).rows
    assert 1e7 < slow < 1e14
    assert 1e7 < fast < 1e14


def test_keeping_all_rows_never_pays():
    cost = Cost("mlp", 10, 10, 6.0, 2.0, 0.0)
    assert cost.break_even == math.inf
    assert "saves nothing" in cost.sentence
    assert cost.seconds is None
    rates = Rates(products=100.0, rows=10.0)
    assert replace(cost, rate=60.0).seconds is None
    assert replace(cost, rate=60.0, rates=rates).seconds == 2.0
    more = replace(cost, rate=60.0, rates=rates, comparisons=30.0, preparing=200.0)
    assert more.seconds == 2 + 3 + 2
    assert replace(more, products=True).seconds == pytest.approx(2 + 0.3 + 2)


def test_the_machine_is_measured_and_global_chance_left_alone():
    before = torch.get_rng_state()
    assert 1e6 < measured_rate(DATA, "convnet3-w32", "cpu") < 1e15
    assert torch.equal(before, torch.get_rng_state())
    assert "on this machine" in cost_of(selector("hardest"), sources()).sentence
