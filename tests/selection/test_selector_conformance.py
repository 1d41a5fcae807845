"""What every registered selector must hold to. A new method is tested by being listed in `METHODS`."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from toys import blob_features, blob_images, class_balance

from decoct.compact.load import load
from decoct.data.dataset import Dataset
from decoct.errors import BudgetError, DataError
from decoct.selection.by_score import ByScore
from decoct.selection.deepdistal import DeepDistal
from decoct.selection.driver import select
from decoct.selection.methods import METHODS, card, method_name, selector
from decoct.selection.scores import SCORES
from decoct.selection.selector import Selector

# What does not follow from the contract but from the method: whose smaller coreset is a prefix of the larger one.
NESTING = {
    "random",
    "herding",
    "k-center",
    "hardest",
    "easiest",
    "middle",
    "ccs",
    "dyn-unc",
    "glister",
    "craig",
    "grad-match",
    "facility-location",
    "graph-cut",
    "log-det",
    "feature-based",
    "graph-density",
    "semdedup",
}

every_method = pytest.mark.parametrize("method", sorted(METHODS))

DATA = {
    "gray": blob_images(classes=3, per_class=12),
    "colour": blob_images(classes=2, per_class=12, shape=(3, 6, 10)),
    "twenty": blob_images(classes=20, per_class=5, shape=(1, 4, 4)),
    "table": blob_features(classes=3, per_class=12),
}


QUICK = {"deepdistal": DeepDistal(rounds=2, epochs=2, steps=8)}
"""Settings under which the contract is asked for where the defaults train for long."""


def quick(method: str) -> str | Selector:
    return QUICK.get(method, method)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _clusters(sizes: tuple[int, ...] = (30, 20, 10)) -> torch.Tensor:
    centres = (torch.eye(len(sizes)) * 30).repeat_interleave(torch.tensor(sizes), 0)
    return centres + torch.randn(centres.shape, generator=_generator(7))


@every_method
@pytest.mark.parametrize("data", DATA.values(), ids=DATA.keys())
def test_the_budget_is_kept_and_classes_are_balanced(method: str, data: Dataset) -> None:
    chosen = select(data, quick(method), ipc=3)
    classes = data.spec.classes
    assert class_balance(chosen.classes, classes) == [3] * classes
    assert class_balance(chosen.classes[: 2 * classes], classes) == [2] * classes
    assert len(set(chosen.indices.tolist())) == 3 * classes
    assert (chosen.classes == data.train.labels(chosen.indices)).all()
    assert (chosen.raw == data.train.raw(chosen.indices)).all()
    assert list(chosen.ids) == [str(data.train.ids[row]) for row in chosen.indices]
    assert chosen.nbytes.images == 3 * classes * data.spec.row_bytes


@every_method
def test_weights_have_mean_one_in_every_class(method: str) -> None:
    chosen = select(DATA["gray"], quick(method), ipc=4)
    assert (chosen.weights > 0).all()
    assert torch.isfinite(chosen.scores).all()
    for label in range(3):
        assert float(chosen.weights[chosen.classes == label].mean()) == pytest.approx(1)


@every_method
def test_the_same_seed_gives_the_same_coreset_and_leaves_global_chance_alone(method: str) -> None:
    torch.manual_seed(5)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    first, second = (select(DATA["gray"], quick(method), ipc=4, seed=3) for _ in range(2))
    assert first.indices.tolist() == second.indices.tolist()
    assert torch.equal(first.weights, second.weights)
    assert torch.equal(first.scores, second.scores)
    assert torch.equal(before, torch.get_rng_state())
    assert (numpy_before == np.random.get_state()[1]).all()


@every_method
@pytest.mark.parametrize("balance", ["class", "global"])
def test_a_smaller_coreset_is_a_prefix_where_the_method_nests(method: str, balance: str) -> None:
    large = select(DATA["gray"], quick(method), count=18, balance=balance)
    small = select(DATA["gray"], quick(method), count=9, balance=balance)
    nested = large.indices[:9].tolist() == small.indices.tolist()
    assert nested or method not in NESTING


def test_the_file_format_names_the_methods_that_do_not_nest() -> None:
    page = (Path(__file__).parents[2] / "docs" / "file-format.md").read_text(encoding="utf-8")
    (line,) = (line for line in page.splitlines() if line.startswith("| `rank` |"))
    assert set(re.findall(r"`([a-z-]+)`", line)) - {"rank"} == set(METHODS) - NESTING


@every_method
@pytest.mark.parametrize("kind", ["pixels", "pca", "array"])
def test_any_features_will_do(method: str, kind: str) -> None:
    data = DATA["colour"]
    # A score is one number a row; wider arrays are for methods that compare rows.
    width = 1 if isinstance(selector(method), ByScore) else 3
    own = np.random.default_rng(0).normal(size=(len(data.train), width))
    if kind == "array" and width == 1:
        with pytest.raises(DataError, match="one number for each training row"):
            select(data, quick(method), ipc=2, features=np.tile(own, 3))
    chosen = select(data, quick(method), ipc=2, features=own if kind == "array" else kind)
    assert len(chosen.indices) == 4
    assert chosen.provenance["method"] == method
    blind = not selector(method).needs_features and kind != "array"
    assert chosen.provenance["features"] == ("none" if blind else kind)


@every_method
@pytest.mark.parametrize("features", ["auto", "array"])
def test_every_row_has_a_reason_that_a_person_can_read(method: str, features: str) -> None:
    data = DATA["table"]
    chosen = select(data, quick(method), ipc=3, features=data.train.x[:, :1] if features == "array" else features)
    for reason, score in zip(chosen.reasons, chosen.scores.tolist(), strict=True):
        assert len(reason) > 10
        assert "{" not in reason
        assert "\n" not in reason
        shown = (f"{score:.4g}", f"{score:.2%}", "at random")
        assert any(text in reason for text in shown)
    if isinstance(selector(method), ByScore):
        ours = any(name in reason for reason in chosen.reasons for name in SCORES)
        assert ours == (features == "auto")


@every_method
def test_saved_and_loaded_it_is_the_same(method: str, tmp_path: Path) -> None:
    chosen = select(DATA["gray"], quick(method), ipc=2, out=tmp_path / "run")
    again = load(tmp_path / "run")
    assert again.indices.tolist() == chosen.indices.tolist()
    assert list(again.ids) == list(chosen.ids)
    assert list(again.reasons) == list(chosen.reasons)
    assert torch.equal(again.raw, chosen.raw)
    torch.testing.assert_close(again.weights, chosen.weights)
    torch.testing.assert_close(again.scores, chosen.scores)
    assert again.provenance == chosen.provenance
    inputs, targets, weights = again.materialize()
    assert inputs.shape == (6, 1, 8, 8)
    assert targets.tolist() == chosen.classes.tolist()
    torch.testing.assert_close(weights, chosen.weights)


@every_method
@pytest.mark.parametrize("phi", [torch.ones(12, 3), torch.randn(4, 3, generator=_generator()).repeat(3, 1)])
@pytest.mark.parametrize("count", [1, 5, 12])
def test_equal_rows_are_not_picked_twice(method: str, phi: torch.Tensor, count: int) -> None:
    picks = selector(method).pick(phi, count, _generator())
    assert len(set(picks.rows.tolist())) == count
    assert picks.rows.dtype == torch.int64
    assert float(picks.weights.mean()) == pytest.approx(1)
    assert (picks.weights > 0).all()


@every_method
def test_one_row_of_one(method: str) -> None:
    picks = selector(method).pick(torch.ones(1, 2), 1, _generator())
    assert (picks.rows.tolist(), picks.weights.tolist()) == ([0], [1.0])


@every_method
@pytest.mark.parametrize("count", [0, 13, -1])
def test_a_count_outside_the_rows_is_refused(method: str, count: int) -> None:
    with pytest.raises(BudgetError, match=rf"a count of {count} from 12 rows\n.*between 1 and 12 rows"):
        selector(method).pick(torch.randn(12, 3), count, _generator())


@every_method
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_features_that_are_no_numbers_are_refused(method: str, value: float) -> None:
    phi = torch.zeros(12, 3)
    phi[4, 1] = value
    with pytest.raises(DataError, match=r"\[12, 3\] with NaN or infinity in 1 rows, first in row 4"):
        selector(method).pick(phi, 2, _generator())


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"random"}))
def test_permuting_the_rows_permutes_the_answer(method: str) -> None:
    phi, order = _clusters(), torch.randperm(60, generator=_generator(1))
    picks = selector(method).pick(phi, 3, _generator())
    permuted = selector(method).pick(phi[order], 3, _generator())
    assert order[permuted.rows].tolist() == picks.rows.tolist()
    torch.testing.assert_close(permuted.weights, picks.weights)
    torch.testing.assert_close(permuted.scores, picks.scores, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("method", [name for name in sorted(METHODS) if selector(name).needs_features])
def test_planted_clusters_are_all_met(method: str) -> None:
    """A rule with the wrong sign stays in one cluster, or picks outliers only."""
    phi = _clusters((20, 20, 20))
    rows = selector(method).pick(phi, 3, _generator()).rows
    assert sorted((rows // 20).tolist()) == [0, 1, 2]


@every_method
def test_double_precision_features_are_taken(method: str) -> None:
    rows = selector(method).pick(_clusters().double(), 3, _generator()).rows
    assert rows.tolist() == selector(method).pick(_clusters(), 3, _generator()).rows.tolist()


@every_method
def test_every_method_has_a_card_that_can_be_cited(method: str) -> None:
    facts = card(method)
    assert facts.name == method == method_name(selector(method))
    assert "\n" not in facts.line
    assert facts.link.startswith("https://")
    assert facts.bibtex.startswith("@")
    assert facts.bibtex.count("{") == facts.bibtex.count("}")
    assert type(selector(method)).__doc__.count("Paper:") == 1
