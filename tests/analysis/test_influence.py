"""Influence: stacked equals in turn, and planted images are found out."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from analysis_toys import DATA, ROUTINE, class_weighted, soft_set, toy_set, toy_study
from toys import blob_features

import decoct.analysis.stacked as stacked_module
from decoct.analysis.influence import Influence, _unpacked
from decoct.analysis.routine import Routine
from decoct.analysis.shared import plain_traits, shared_by, spread
from decoct.analysis.stacked import FEW, copies_at_once, losses_of_copies, train_copies
from decoct.compact.coreset import Coreset
from decoct.errors import ConfigError, DivergenceError, MemoryEstimateError
from decoct.networks.build import network
from decoct.training.flat import FlatNetwork

SETTINGS = Influence(test_rows=40, top=5, shown=2, epochs=2, routine=ROUTINE)


def copies(name: str, stack: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    module = network(name, (1, 8, 8), 3, 0).to(dtype)
    inputs, targets, _ = toy_set(2).materialize()
    weights = torch.cat([torch.ones(1, 6), 1 - torch.eye(6)]).to(dtype)
    weights[:, 2] *= 3
    return train_copies(module, inputs.to(dtype), targets, weights, Routine(steps=20, lr=0.05), stack=stack)


@pytest.mark.parametrize("name", ["mlp2-w16", "convnet2-w4"])
def test_stacked_equals_in_turn(name: str) -> None:
    alone = copies(name, 0)
    for stack in (3, 7, 100):
        torch.testing.assert_close(copies(name, stack), alone, rtol=1e-9, atol=1e-10)
    single = copies(name, 7, torch.float32)
    torch.testing.assert_close(single.double(), alone, rtol=1e-3, atol=1e-4)


def test_a_copy_is_a_training_written_out() -> None:
    module = network("mlp2-w16", (1, 8, 8), 3, 0).double()
    own = network("mlp2-w16", (1, 8, 8), 3, 0).double()
    inputs, targets, _ = toy_set(2).materialize()
    inputs = inputs.double()
    [theta] = train_copies(module, inputs, targets, torch.tensor([[1.0, 1, 0, 1, 1, 1]]).double(), ROUTINE, stack=4)
    optimizer = torch.optim.SGD(own.parameters(), lr=ROUTINE.lr, momentum=ROUTINE.momentum)
    kept = torch.tensor([0, 1, 3, 4, 5])
    for _ in range(ROUTINE.steps):
        optimizer.zero_grad()
        F.cross_entropy(own(inputs[kept]), targets[kept]).backward()
        optimizer.step()
    with torch.no_grad():
        expected = F.cross_entropy(own(inputs), targets, reduction="none")
    torch.testing.assert_close(
        losses_of_copies(module, theta[None], inputs, targets)[0], expected, rtol=1e-8, atol=1e-9
    )


def planted(kind: str) -> Coreset:
    """Four rows a class; row 0 mislabelled, or row 1 a copy of row 0."""
    base = toy_set(4)
    assert isinstance(base, Coreset)
    if kind == "mislabelled":
        classes = base.classes.clone()
        classes[0] = (classes[0] + 1) % 3
        return replace(base, classes=classes)
    raw = base.raw.clone()
    same = torch.nonzero(base.classes == base.classes[0]).flatten()
    raw[same[1]] = raw[same[0]]
    return replace(base, raw=raw)


def matrix_of(small: Coreset) -> torch.Tensor:
    study = toy_study(small, seeds=2)
    rows = SETTINGS._rows(study)
    found = [_unpacked(SETTINGS._retrain(study, seed, rows)) for seed in study.seeds]
    return torch.stack(found).mean(0)


def test_a_mislabelled_image_does_harm() -> None:
    small = planted("mislabelled")
    effects = matrix_of(small)
    truth = DATA.test.labels()
    true_class = (int(small.classes[0]) - 1) % 3
    assert effects[0, truth == true_class].mean() < 0
    assert int(effects.mean(1).argmin()) == 0
    good = effects[1:].mean(1)
    assert bool((good > effects[0].mean()).all())


def test_one_of_two_equal_images_is_missed_less() -> None:
    small = planted("duplicated")
    effects = matrix_of(small)
    same = torch.nonzero(small.classes == small.classes[0]).flatten()
    own = effects[:, DATA.test.labels() == small.classes[0]].mean(1)
    assert torch.allclose(effects[same[0]], effects[same[1]], atol=1e-4)
    assert float(own[same[:2]].max()) < float(own[same[2:]].mean())


def test_the_finding_tells_each_image_and_shows_what_it_helps() -> None:
    found = SETTINGS.run(toy_study(toy_set(2)))
    assert sorted(row["image"] for row in found.rows) == list(range(6))  # type: ignore[type-var]
    effects = [row["effect on its class"]["mean"] for row in found.rows]  # type: ignore[index]
    assert effects == sorted(effects, reverse=True)
    assert len(found.pictures) == 2
    assert all(len(tiles) == 9 for _, tiles in found.pictures)
    assert "7 trainings, stacked" in found.notes[0]
    assert "Leaving out one image changes the loss on its own class by" in found.sentence
    assert found.sentence.endswith(" % of these groups share a plain trait.")


def test_both_ways_find_the_same() -> None:
    found = [replace(SETTINGS, how=how).run(toy_study(toy_set(2))).rows for how in ("stacked", "in turn")]
    for a, b in zip(*(sorted(rows, key=lambda row: row["image"]) for rows in found), strict=True):
        assert a["image"] == b["image"]
        assert a["effect on its class"]["mean"] == pytest.approx(b["effect on its class"]["mean"], abs=1e-4)


@pytest.mark.parametrize("kind", ["probabilities", "scores"])
def test_soft_labels(kind: str) -> None:
    assert len(SETTINGS.run(toy_study(soft_set(kind), seeds=1)).rows) == 6


def test_tables_of_features_have_no_pictures() -> None:
    data = blob_features(classes=3, per_class=20)
    found = SETTINGS.run(toy_study(toy_set(2, data), data, network_name="mlp2-w8"))
    assert found.pictures == ()
    assert all(row["shared trait"] is None for row in found.rows)
    assert "trait" not in found.sentence
    assert found.sentence.endswith("times as alike as random ones of the same classes.")


def test_networks_whose_rows_see_each_other_are_refused() -> None:
    with pytest.raises(ConfigError, match="(?s)training copies of a ConvNet.*batch normalisation.*mlp"):
        SETTINGS.run(toy_study(toy_set(2), network_name="convnet2-w4-bn"))


def test_a_single_row_cannot_be_left_out() -> None:
    one = toy_set(1)
    assert isinstance(one, Coreset)
    with pytest.raises(ConfigError, match="(?s)leaving out each image.*at least two rows"):
        SETTINGS.run(toy_study(one.take(torch.tensor([0]))))


def test_divergence_is_told() -> None:
    module = network("mlp2-w16", (1, 8, 8), 3, 0)
    inputs, targets, _ = toy_set(2).materialize()
    with pytest.raises(DivergenceError, match="(?s)weights that are not finite.*smaller lr"):
        train_copies(module, inputs, targets, torch.ones(2, 6), Routine(steps=30, lr=1e20), stack=2)


def test_what_pays_on_a_processor() -> None:
    small, large = network("convnet2-w4", (1, 8, 8), 3, 0), network("convnet3-w32", (1, 28, 28), 3, 0)
    narrow, wide = network("mlp-w64", (1, 14, 14), 3, 0), network("mlp", (1, 28, 28), 3, 0)
    assert copies_at_once(small, (1, 8, 8), 10, "cpu", 100) == 100
    assert copies_at_once(narrow, (1, 14, 14), 10, "cpu", 100) == 100
    assert copies_at_once(narrow, (1, 14, 14), 100, "cpu", 100) == FEW
    assert copies_at_once(narrow, (1, 14, 14), 100, "cpu", 3) == 3
    assert copies_at_once(wide, (1, 28, 28), 100, "cpu", 100) == 0
    assert copies_at_once(large, (1, 28, 28), 10, "cpu", 100) == 0
    assert copies_at_once(large, (1, 28, 28), 10, "cuda", 100) == 100


def test_an_accelerator_is_given_what_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    large = network("convnet3-w32", (1, 28, 28), 3, 0)
    own = 4 * sum(weight.numel() for weight in large.parameters())
    for free, expected in ((11 * own, 0), (10**10, 100), (10**8, range(2, 99))):
        monkeypatch.setattr(stacked_module, "available_memory", lambda device, free=free: free)
        found = copies_at_once(large, (1, 28, 28), 10, "cuda:1", 100)
        assert found in expected if isinstance(expected, range) else found == expected
        assert 11 * own + found * 4 * own <= free or found == 0


def test_weights_of_copies_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decoct.machine.available_memory", lambda device="cpu": 10_000)
    with pytest.raises(MemoryEstimateError, match="(?s)training 7 copies of a .*smaller stack"):
        copies("mlp2-w16", 0)


def test_rows_are_measured_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    module = network("mlp2-w16", (1, 8, 8), 3, 0)
    inputs, targets = DATA.inputs(DATA.test), DATA.test.labels()
    thetas = FlatNetwork(module).flatten(module)[None]
    with torch.no_grad():
        expected = F.cross_entropy(module(inputs), targets, reduction="none")
    seen: list[int] = []
    logits = FlatNetwork.logits
    monkeypatch.setattr(FlatNetwork, "logits", lambda self, t, x: seen.append(len(x)) or logits(self, t, x))
    monkeypatch.setattr(stacked_module, "_ROWS", 7)
    torch.testing.assert_close(losses_of_copies(module, thetas, inputs, targets)[0], expected)
    assert max(seen) == 7
    assert sum(seen) == len(inputs)


def test_what_only_the_page_shows_trains_nothing(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = SETTINGS.run(toy_study(toy_set(2), out=tmp_path))
    monkeypatch.setattr(stacked_module, "train_copies", None)
    other = replace(SETTINGS, top=3, shown=1, epochs=1).run(toy_study(toy_set(2), out=tmp_path))
    assert [row["effect on its class"] for row in other.rows] == [row["effect on its class"] for row in first.rows]
    assert len(other.pictures) == 1
    with pytest.raises(TypeError):
        replace(SETTINGS, test_rows=30).run(toy_study(toy_set(2), out=tmp_path))


@pytest.mark.parametrize("how", ["stacked", "in turn"])
def test_the_class_beside_scores_is_trained_on_as_anywhere(how: Any, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy that leaves nothing out is the network that every other analysis trains on the set."""
    found: list[torch.Tensor] = []
    real = stacked_module.train_copies
    monkeypatch.setattr(stacked_module, "train_copies", lambda *a, **b: found.append(real(*a, **b)) or found[-1])
    study = toy_study(class_weighted(), out=tmp_path, seeds=1)
    told = replace(SETTINGS, how=how).run(study)
    assert "of squared error with the class" in told.sentence
    module = study.train(study.material(), ROUTINE, 0)
    torch.testing.assert_close(found[0][0], FlatNetwork(module).flatten(module), rtol=1e-3, atol=1e-4)
    [cell] = (tmp_path / "cells").iterdir()
    assert json.loads(cell.read_text())["key"]["class_weight"] == 0.5


def test_planted_groups_are_alike_and_share_their_trait() -> None:
    generator = torch.Generator().manual_seed(0)
    truth = torch.arange(80) % 2
    pictures = torch.randint(60, 120, (80, 1, 6, 6), generator=generator)
    group = torch.nonzero(truth == 0).flatten()[:10]
    pictures[group] += 100
    features = torch.randn(80, 4, generator=generator)
    features[group] = features[group[:1]] + 0.1 * torch.randn(10, 4, generator=generator)
    influence = torch.randn(2, 80, generator=generator)
    influence[0, group] += 100
    found = shared_by(influence, torch.tensor([0, 1]), truth, features, pictures, 10, 0)
    assert found.same_class[0] == 1.0
    assert found.traits == ("bright", "none")
    assert found.alike[0] > 20
    assert 0.5 < found.alike[1] < 2


def test_spread_is_the_mean_squared_distance_of_pairs() -> None:
    rows = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    pairs = [(rows[i] - rows[j]).square().sum() for i in range(5) for j in range(i)]
    torch.testing.assert_close(spread(rows), torch.stack(pairs).mean())
    assert float(spread(rows[:1])) == 0
    assert all(bool(torch.isfinite(v).all()) for v in plain_traits(torch.zeros(2, 3, 4, 4)).values())


@pytest.mark.parametrize(
    ("kind", "unit", "other"), [("scores", "squared error", "nats"), ("probabilities", "nats", "squared")]
)
def test_losses_are_told_in_their_unit(kind: str, unit: str, other: str) -> None:
    """Scores are fitted by squared error, which is no number of nats."""
    found = SETTINGS.run(toy_study(soft_set(kind), seeds=1))
    for text in (found.sentence, found.chart.y_label):
        assert unit in text
        assert other not in text
