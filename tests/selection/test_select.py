"""`select`: budgets, order over classes, provenance, real images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import blob_features, blob_images, class_balance

from decoct.compact.budget import Budget
from decoct.data.dataset import Dataset, DataSpec, Split
from decoct.data.transform import Standardise
from decoct.engine import Local
from decoct.errors import BudgetError, ConfigError, DataError, UnknownNameError
from decoct.selection.active import Active
from decoct.selection.deepdistal import DeepDistal
from decoct.selection.driver import select
from decoct.selection.dynamic_uncertainty import DynamicUncertainty
from decoct.selection.k_center import KCenter
from decoct.selection.own_scores import OwnScores
from decoct.selection.picking import _in_rounds, _in_turn
from decoct.selection.selector import Pick, Picks, Selector
from decoct.selection.sources import Sources
from decoct.training.fit import Fitted, fit_dataset


def _imbalanced() -> Dataset:
    """Classes of 40, 20 and 10 rows."""
    data = blob_images(classes=3, per_class=40)
    keep = np.concatenate([rows[:n] for rows, n in zip(data.train.class_rows(3), (40, 20, 10), strict=True)])
    return data.with_train(np.sort(keep))


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_every_prefix_is_what_its_own_balanced_budget_would_be(sizes: list[int]) -> None:
    owner = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    order = _in_turn(sizes)
    assert sorted(order.tolist()) == list(range(sum(sizes)))
    for m in range(1, sum(sizes) + 1):
        held = class_balance(owner[order[:m]], len(sizes))
        assert held == Budget(count=m).quota(torch.tensor(sizes), 1).tolist()
    for group in range(len(sizes)):
        within = order[owner[order] == group].tolist()
        assert within == sorted(within)


def test_equal_classes_take_turns() -> None:
    assert _in_turn([3, 3, 3]).tolist() == [0, 3, 6, 1, 4, 7, 2, 5, 8]


@pytest.mark.parametrize("asked", [{"balance": "floor:4"}, {"balance": "global"}, {}])
def test_what_a_round_was_trained_on_stands_before_it(asked: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def trained(build: Any, data: Dataset, config: Any, seeds: list[int], **_: Any) -> list[Fitted]:
        seen.append(data.train.ids.tolist())
        return fit_dataset(build, data, config, seeds)

    monkeypatch.setattr("decoct.selection.rounds.fit_dataset", trained)
    core = select(_imbalanced(), DeepDistal(rounds=3, epochs=1, steps=1), count=40, **asked)
    told = [part["trained_on"] for part in core.provenance["record"] if "trained_on" in part]
    assert [len(ids) for ids in seen] == told
    for ids in seen:
        assert sorted(ids) == sorted(core.ids[: len(ids)].tolist())


def test_classes_take_turns_inside_each_round() -> None:
    groups = (torch.tensor([0, 2, 4, 6]), torch.tensor([1, 3]), torch.empty(0, dtype=torch.int64))
    assert _in_rounds(torch.tensor([6, 2, 3, 0, 4, 1]), groups, [3, 3]).tolist() == [0, 2, 1, 3, 5, 4]


@pytest.mark.parametrize("method", ["random", "herding"])
def test_budgets_on_imbalanced_classes(method: str) -> None:
    data = _imbalanced()
    assert class_balance(select(data, method, ipc=10).classes, 3) == [10, 10, 10]
    assert len(select(data, method, count=12).indices) == 12
    assert len(select(data, method, fraction=0.1).indices) == 7
    assert len(select(data, method, nbytes=64 * 9 + 9).indices) <= 9
    assert len(select(data, method, fraction=0.5, balance="global").indices) == 35
    assert len(select(data, method, fraction=1.0, balance="global").indices) == 70
    with pytest.raises(BudgetError, match=r"(?s)class 'class 2' has 10.*or give a total with count="):
        select(data, method, ipc=11)
    with pytest.raises(ConfigError, match="exactly one of ipc, fraction, count and nbytes"):
        select(data, method)


def test_unbalanced_picks_come_from_the_whole_set() -> None:
    data = _imbalanced()
    own = np.zeros((70, 1))
    own[data.train.y == 2] = np.arange(1, 11)[:, None]
    chosen = select(data, KCenter(), count=6, features=own, balance="global")
    assert class_balance(chosen.classes, 3)[2] == 5


def test_a_floor_keeps_small_classes_and_the_rest_in_proportion() -> None:
    data = _imbalanced()
    chosen = select(data, "herding", count=7, balance="floor:2")
    assert class_balance(chosen.classes, 3) == [3, 2, 2]
    assert chosen.provenance["balance"] == "floor:2"
    assert class_balance(select(data, "random", fraction=0.9, balance="floor:30").classes, 3) == [33, 20, 10]
    with pytest.raises(BudgetError, match=r"(?s)at least 3 rows of every class.*whose floors take 9"):
        select(data, "herding", count=7, balance="floor:3")
    with pytest.raises(ConfigError, match="'floor:N'"):
        select(data, "herding", count=7, balance="floors")


@dataclass(frozen=True)
class _Threads(Selector):
    """The first rows; their scores are the threads that they were picked on."""

    def pick(self, features: torch.Tensor, count: int, generator: torch.Generator) -> Picks:
        return Picks(torch.arange(count), torch.ones(count), torch.full((count,), float(torch.get_num_threads())))


class _OwnBind(_Threads):
    """The same for a method that asks for something of its own."""

    def bind(self, sources: Sources) -> Pick:
        return lambda rows, count, generator: self.pick(rows[:, None].float(), count, generator)


def test_this_process_picks_on_one_thread_as_every_engine_does() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        chosen = select(blob_images(classes=2, per_class=5), _Threads(), ipc=2)
        assert torch.get_num_threads() == 3
        own = select(blob_images(classes=2, per_class=5), _OwnBind(), ipc=2)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert chosen.scores.tolist() == own.scores.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("method", ["k-median", "facility-location", "hardest", "craig"])
def test_without_an_engine_it_is_local(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decoct.selection.sources.PASSES", 2)
    monkeypatch.setattr("decoct.selection.sources.short_training", lambda rows: 1)
    data = blob_images(classes=2, per_class=12)
    alone, local = (select(data, method, ipc=4, engine=engine) for engine in (None, Local()))
    assert alone.indices.tolist() == local.indices.tolist()
    assert torch.equal(alone.scores, local.scores)
    assert torch.equal(alone.weights, local.weights)


def test_scores_of_ones_own_are_told_by_their_name() -> None:
    data = blob_images(classes=2, per_class=5)
    values = torch.arange(10.0)[:, None]
    named = select(data, "hardest", ipc=1, features=OwnScores(values, "mine", "there.csv"))
    assert named.reasons is not None
    assert named.reasons[0] == "among the largest values of mine, at 8"
    assert named.provenance["config"] == {"score": "mine"}
    assert named.provenance["scores"] == {"name": "mine", "file": "there.csv"}
    assert named.provenance["features"] == "scores:mine"
    bare = select(data, DynamicUncertainty(), ipc=1, features=values)
    assert bare.provenance["config"] == {"score": "your scores", "window": None}
    assert "scores" not in bare.provenance
    with pytest.raises(ConfigError, match=r"(?s)window=3 beside them.*yours is taken as it is"):
        select(data, DynamicUncertainty(window=3), ipc=1, features=values)


def test_random_seeds_differ_and_classes_do_not_share_their_draw() -> None:
    data = blob_images(classes=2, per_class=30)
    draws = [select(data, ipc=5, seed=seed) for seed in range(4)]
    assert len({tuple(draw.indices.tolist()) for draw in draws}) == 4
    ranks = draws[0].indices // 2  # classes alternate in the toy data, so this is the rank within the class
    assert ranks[draws[0].classes == 0].tolist() != ranks[draws[0].classes == 1].tolist()


@pytest.mark.parametrize("method", ["random", "k-means"])
def test_the_draw_of_a_class_does_not_depend_on_the_others(method: str) -> None:
    data = blob_images(classes=3, per_class=30)
    fewer = data.with_train(np.flatnonzero((data.train.y > 0) | (np.arange(90) < 60)))
    whole, part = (select(d, method, ipc=4, features="pixels") for d in (data, fewer))
    assert whole.ids[whole.classes == 2].tolist() == part.ids[part.classes == 2].tolist()


def test_a_selector_of_ones_own_with_options() -> None:
    chosen = select(blob_images(), KCenter(first="random"), ipc=2, seed=4)
    assert chosen.provenance["method"] == "k-center"
    assert chosen.provenance["config"] == {"first": "random"}
    assert chosen.provenance["budget"] == {"ipc": 2}
    assert chosen.provenance["seed"] == 4
    assert chosen.provenance["seconds"] >= 0
    assert "torch" in chosen.provenance["versions"]


@dataclass(frozen=True)
class _Last(Selector):
    """The last rows, as a selector from outside the package."""

    def pick(self, features: torch.Tensor, count: int, generator: torch.Generator) -> Picks:
        rows = torch.arange(len(features)).flip(0)[:count]
        return Picks(rows, torch.ones(count), torch.zeros(count))


@pytest.mark.parametrize("method", ["craig", "hardest", Active(rounds=1, epochs=1, steps=1)])
def test_the_network_that_was_trained_for_the_picks_is_recorded(method: str | Selector) -> None:
    data = blob_features(classes=2, per_class=10)
    named = select(data, method, ipc=2, features="network:mlp-w8").provenance
    assert (named["features"], named["network"], named["device"]) == ("none", "mlp-w8", "cpu")
    assert select(data, method, ipc=2).provenance["network"] == "mlp"
    own = select(data, method, ipc=2, features=data.train.x[:, :1]).provenance
    assert own["features"] == "array"
    assert own.get("network") == ("mlp" if isinstance(method, Active) else None)


def test_where_nothing_is_trained_no_network_is_recorded() -> None:
    data = blob_features(classes=2, per_class=10)
    assert "network" not in select(data, "random", ipc=2, features="network:mlp-w8").provenance
    assert "network" not in select(data, "herding", ipc=2).provenance


def test_a_selector_that_is_not_registered_works_and_names_itself() -> None:
    data = blob_images(classes=3, per_class=5)
    chosen = select(data, _Last(), ipc=2)
    assert chosen.indices.tolist() == [12, 13, 14, 9, 10, 11]
    assert chosen.provenance["method"] == "_Last"


def test_unknown_methods_are_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean 'herding'"):
        select(blob_images(), "hearding", ipc=1)


def test_bad_features_stop_before_anything_is_written(tmp_path: Path) -> None:
    data = blob_images(per_class=4)
    with pytest.raises(DataError, match="NaN"):
        select(data, "random", ipc=1, features=np.full((12, 2), np.nan), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_class_without_rows_is_left_out_where_the_budget_allows() -> None:
    data = blob_images(classes=3, per_class=10)
    spec = replace(data.spec, class_names=(*data.spec.class_names, "empty"))
    chosen = select(replace(data, spec=spec), "herding", fraction=0.3)
    assert class_balance(chosen.classes, 4)[3] == 0


@pytest.fixture(scope="module")
def fashion(real_data: Path) -> Dataset:
    """2,000 rows of Fashion-MNIST."""
    with np.load(real_data / "fashion-mnist.npz") as file:
        x, y = file["x_train"][::30].reshape(-1, 1, 28, 28), file["y_train"][::30].astype(np.int64)
    split = Split(x, y, np.array([f"row-{i}" for i in range(2000)]))
    values = split.raw().float() / 255
    transform = Standardise(values.mean((0, 2, 3)), values.std((0, 2, 3)))
    spec = DataSpec("fashion", (1, 28, 28), tuple(f"class {c}" for c in range(10)), transform, "fashion-2000")
    return Dataset(spec, split, split.take(slice(0, 0)), split.take(slice(0, 0)))


@pytest.mark.parametrize("method", ["herding", "k-center", "k-median", "k-means"])
def test_real_images_are_selected_the_same_way_twice(fashion: Dataset, method: str) -> None:
    first, second = (select(fashion, method, ipc=10) for _ in range(2))
    assert first.indices.tolist() == second.indices.tolist()
    assert class_balance(first.classes, 10) == [10] * 10
    assert first.raw.shape == (100, 1, 28, 28)
    assert first.provenance["features"] == "pca"


def test_on_real_images_herding_meets_the_class_means_that_random_misses(fashion: Dataset) -> None:
    inputs = fashion.inputs(fashion.train).flatten(1)

    def error(method: str) -> float:
        chosen = select(fashion, method, ipc=10, features="pixels")
        labels = fashion.train.labels()
        gaps = [inputs[labels == c].mean(0) - inputs[chosen.indices[chosen.classes == c]].mean(0) for c in range(10)]
        return float(torch.stack(gaps).norm(dim=1).mean())

    assert error("herding") < 0.6 * error("random")
