"""HCDC: the whole split agrees with itself, steps raise the agreement, sets order hyper-parameters, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from toys import blob_features, blob_images

import decoct
from decoct.data.sample_weights import SampleWeights
from decoct.distillation.labels.hard import Hard
from decoct.distillation.labels.teacher import Teacher
from decoct.distillation.objective.hypergradient import Hypergradient, HypergradientState, disagreement
from decoct.distillation.objective.nothing import Nothing
from decoct.distillation.problem import Problem, RealSource, Synthetic
from decoct.distillation.recipe import Recipe
from decoct.distillation.recipes.table import CARDS, RECIPES
from decoct.distillation.recipes.task import Task
from decoct.distillation.storage.pixels import Pixels
from decoct.errors import ConfigError, MismatchError
from decoct.streams import Streams
from decoct.training.hyperparameters import LabelSmoothing, OperationMixture, WeightDecay
from decoct.training.responses import Rows, Walk
from decoct.training.solvers import ConjugateGradient, Neumann
from decoct.training.space import Space

WALK = Walk(starts=2, length=4, first_steps=60, next_steps=20, solver=ConjugateGradient(steps=10, damping=1e-2))
SMALL = Hypergradient(walk=WALK, train_per_class=3)


def prepared(data, objective=SMALL, network="convnet1-w4", cache=None) -> HypergradientState:
    problem = Problem(data, 2, network, "cpu", "", 0.0, cache)
    state = objective.init(problem, Streams(0))
    assert isinstance(state, HypergradientState)
    state.prepare(RealSource(data, "cpu", Streams(0)("real")))
    return state


def test_the_whole_validation_split_agrees_with_itself():
    data = blob_images(per_class=24)
    inputs, labels = data.inputs(data.val), data.val.labels()
    state = prepared(data)
    whole = Synthetic(inputs, F.one_hot(labels, 3).float(), labels)
    assert float(state.loss(whole, RealSource(data, "cpu", Streams(0)("real"))).detach()) < 1e-5
    part = Synthetic(inputs[:3], F.one_hot(labels[:3], 3).float(), labels[:3])
    assert float(state.loss(part, RealSource(data, "cpu", Streams(0)("real"))).detach()) > 1e-4


def test_hypergradients_of_networks_of_many_real_rows_are_other_targets(tmp_path):
    data = blob_images(per_class=24)
    small, full = prepared(data, cache=tmp_path), prepared(data, replace(SMALL, full_per_class=12), cache=tmp_path)
    assert small._points is not None
    assert full._points is not None
    assert len(list(tmp_path.glob("responses-*"))) == 2
    torch.testing.assert_close(full._points.theta[0], small._points.theta[0])
    assert not torch.allclose(full._points.target[0], small._points.target[0], rtol=0.05)
    inputs, labels = data.inputs(data.val), data.val.labels()
    whole = Synthetic(inputs, F.one_hot(labels, 3).float(), labels)
    real = RealSource(data, "cpu", Streams(0)("real"))
    assert float(full.loss(whole, real).detach()) > 1e-4, "the whole split is not what makes up for few rows"
    again = prepared(data, replace(SMALL, full_per_class=12), cache=tmp_path)
    assert again._points is not None
    assert torch.equal(again._points.target, full._points.target)
    with pytest.raises(ConfigError, match="setting full_per_class(.|\n)*0 or more"):
        replace(SMALL, full_per_class=-1)


def test_gradients_of_all_weights_are_matched_beside_by_their_weight():
    data = blob_images(per_class=24)
    inputs, labels = data.inputs(data.val), data.val.labels()
    whole, part = (Synthetic(x, F.one_hot(y, 3).float(), y) for x, y in ((inputs, labels), (inputs[:3], labels[:3])))
    state, plain = prepared(data, replace(SMALL, slope_weight=2.0)), prepared(data)
    real = RealSource(data, "cpu", Streams(0)("real"))
    assert float(state.loss(whole, real).detach()) < 1e-5
    rows, apart = Rows(part.images, part.targets), []
    for k in range(8):
        theta = state._points.theta[k].clone().requires_grad_(True)
        mine, its = (
            torch.autograd.grad(F.cross_entropy(state._net.logits(theta, x), y), theta)[0]
            for x, y in ((part.images, part.targets), (inputs, labels))
        )
        assert torch.allclose(state._points.slope[k], its, atol=1e-6)
        apart.append(1 - F.cosine_similarity(mine, its, dim=0))
        found = state._disagreement(k, rows, "cosine") - plain._disagreement(k, rows, "cosine")
        assert float(found.detach()) == pytest.approx(2 * float(apart[-1]), abs=1e-4)
    assert min(map(float, apart)) > 1e-3


def test_matched_gradients_hold_where_nothing_was_matched():
    data = blob_images(classes=3, per_class=40, seed=2)
    found = {}
    for weight in (0.0, 1.0):
        point = Recipe(
            Pixels(init_from="noise"), replace(SMALL, slope_weight=weight), Hard(), lr=0.05, steps=60, augment=""
        )
        made = decoct.distill(data, point, ipc=1, network="convnet1-w4", looks=1)
        state = prepared(data, replace(SMALL, slope_weight=1.0))
        rows = state._rows(*made.materialize())
        state._points.response.zero_()
        apart = [float(state._disagreement(int(k), rows, "cosine").detach()) for k in state._held]
        found[weight] = sum(apart) / len(apart)
    assert found[1.0] < found[0.0] - 0.05


def test_other_metrics_and_weights_take_the_points_that_are_there(tmp_path):
    data = blob_images()
    first = prepared(data, cache=tmp_path)._points
    again = prepared(data, replace(SMALL, metric="relative", slope_weight=1.0, points=2), cache=tmp_path)._points
    assert torch.equal(first.slope, again.slope)
    assert len(list(tmp_path.glob("responses-*"))) == 1


def test_disagreement_by_hand():
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1.0])
    assert float(disagreement(a, b)) == pytest.approx(1 - 0.5**0.5)
    assert float(disagreement(3 * b, b)) == pytest.approx(0.0, abs=1e-6)
    assert float(disagreement(3 * b, b, "relative")) == pytest.approx(4.0)


def test_steps_raise_the_agreement_at_points_that_were_not_matched():
    data = blob_images(classes=3, per_class=40, seed=2)
    point = Recipe(Pixels(init_from="noise"), SMALL, Hard(), lr=0.05, steps=60, augment="")
    made = decoct.distill(data, point, ipc=1, network="convnet1-w4")
    looks = [score for _, score in made.provenance["validation"]]
    assert made.provenance["best_agreement"] == max(looks) > 0.9
    state = prepared(data)
    noise = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    start = [
        1 - disagreement(state._found(k, Rows(noise, torch.eye(3))).detach(), state._points.target[k]) for k in range(8)
    ]
    assert max(looks) > float(torch.stack(start).mean()) + 0.1
    assert "best_val_accuracy" not in made.provenance


def test_points_are_kept_beside_the_run_and_read_again(tmp_path, monkeypatch):
    data = blob_images()
    first = prepared(data, cache=tmp_path)._points
    monkeypatch.setattr("decoct.distillation.objective.hypergradient.walk_through", None)
    again = prepared(data, cache=tmp_path)._points
    assert torch.equal(first.response, again.response)
    assert first.residual == pytest.approx(again.residual)
    next(tmp_path.glob("responses-*")).write_bytes(b"broken")
    with pytest.raises(TypeError):
        prepared(data, cache=tmp_path)


def test_a_saved_training_set_is_what_networks_are_trained_on(tmp_path):
    data = blob_images()
    decoct.select(data, "random", ipc=2, out=tmp_path / "small")
    mine = Hypergradient(walk=WALK, train_set=str(tmp_path / "small"))
    assert not torch.equal(prepared(data, mine)._points.theta, prepared(data)._points.theta)
    with pytest.raises(MismatchError, match="make the training set from the same data"):
        prepared(blob_images(classes=4), mine)


def test_a_run_is_known_by_the_training_set_and_not_by_where_it_lies(tmp_path):
    data, places = blob_images(), [tmp_path / name for name in ("here", "there", "other")]
    for place, seed in zip(places, (0, 0, 1), strict=True):
        decoct.select(data, "random", ipc=2, seed=seed, out=place)

    def made(place):
        recipe = Recipe(Pixels(), replace(SMALL, train_set=str(place)), Hard())
        return decoct.distill(
            data, recipe, ipc=1, steps=2, network="convnet1-w4", looks=1, device="cpu", out=tmp_path / "run"
        )

    first = made(places[0])
    assert made(places[1]).content_hash == first.content_hash
    assert str(tmp_path) not in (tmp_path / "run" / "run.json").read_text()
    with pytest.raises(MismatchError, match="a run that differs in settings"):
        made(places[2])


def test_points_of_another_network_under_the_same_name_are_not_read(tmp_path, monkeypatch):
    where = "decoct.distillation.objective.hypergradient.network_identity"
    for number in (1, 2):
        monkeypatch.setattr(where, lambda name, shape, classes, number=number: f"{name}@{number}")
        prepared(blob_images(), cache=tmp_path)
    assert len(list(tmp_path.glob("responses-*"))) == 2


def test_a_training_set_whose_labels_cross_entropy_cannot_read_is_refused(tmp_path):
    data = blob_images()
    options = {"ipc": 1, "network": "convnet2-w4", "looks": 1, "device": "cpu"}
    cases = {"scores": Teacher(epochs=1, mean="logits"), "warm": Teacher(epochs=1, temperature=4.0)}
    for name, labels in cases.items():
        decoct.distill(data, Recipe(Pixels(), Nothing(), labels), **options).save(tmp_path / name)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"are scores of a regression\n(.|\n)*with hard labels\Z"):
        prepared(data, replace(SMALL, train_set=str(tmp_path / "scores")))
    with pytest.raises(ConfigError, match=r"at temperature 4\n(.|\n)*Teacher\(temperature=1\)"):
        prepared(data, replace(SMALL, train_set=str(tmp_path / "warm")))


def test_rows_count_by_their_weights_and_the_points_are_not_taken_for_others(tmp_path, monkeypatch):
    data = blob_images(per_class=24)
    heavy = np.where(np.arange(len(data.val)) < 4, 5.0, 1.0)
    ids = np.concatenate([data.train.ids, data.val.ids])
    weighted = data.with_weights(SampleWeights(ids, np.concatenate([np.ones(len(data.train)), heavy])))
    state = prepared(weighted, cache=tmp_path)
    rows = state._val_rows()
    assert torch.allclose(rows.weights, torch.from_numpy(heavy / heavy.mean()).float())
    plain = prepared(data, cache=tmp_path)
    assert torch.equal(plain._points.theta[0], state._points.theta[0]), "the small training set is the same"
    assert not torch.allclose(plain._points.target[0], state._points.target[0]), "what is matched is not"
    relabelled = replace(data, val=replace(data.val, y=(data.val.y + 1) % 3))
    assert not torch.allclose(prepared(relabelled, cache=tmp_path)._points.target[0], plain._points.target[0])
    assert len(list(tmp_path.glob("responses-*"))) == 3
    inputs, labels = data.inputs(data.val), data.val.labels()
    whole = Synthetic(inputs, F.one_hot(labels, 3).float(), labels)
    assert float(state.loss(whole, RealSource(weighted, "cpu", Streams(0)("real"))).detach()) > 1e-5


def test_weights_of_a_saved_training_set_count(tmp_path):
    core = decoct.select(blob_images(), "random", ipc=2, out=tmp_path / "even")
    replace(core, weights=torch.tensor([5.0, 1.0, 1.0, 1.0, 1.0, 1.0])).save(tmp_path / "uneven")
    found = [prepared(blob_images(), replace(SMALL, train_set=str(tmp_path / name))) for name in ("even", "uneven")]
    assert found[0]._train_rows().weights is None
    assert found[1]._train_rows().weights.tolist() == pytest.approx([3.0, 0.6, 0.6, 0.6, 0.6, 0.6])
    assert not torch.allclose(found[0]._points.theta[0], found[1]._points.theta[0])


def test_the_neumann_series_of_the_paper_condenses_too():
    data = blob_images(classes=3, per_class=40, seed=2)
    series = replace(SMALL, walk=replace(WALK, solver=Neumann(terms=30, damping=1e-2)))
    point = Recipe(Pixels(init_from="noise"), series, Hard(), lr=0.05, steps=60, augment="")
    made = decoct.distill(data, point, ipc=1, network="convnet1-w4")
    assert made.provenance["best_agreement"] > 0.9
    assert "Neumann" in repr(series)


def test_other_spaces_features_and_the_metric_of_lengths():
    mixed = Hypergradient(walk=WALK, space=Space((WeightDecay(per_layer=False), OperationMixture())), metric="relative")
    assert prepared(blob_images(), mixed)._points.target.shape == (8, 4)
    assert prepared(blob_features(), network="mlp-w8")._points.target.shape[1] > 2
    with pytest.raises(ConfigError, match="leave OperationMixture out"):
        prepared(blob_features(), mixed, "mlp-w8")


def test_the_recipe_its_card_and_what_is_refused():
    spec = blob_images().spec
    for preset in ("cpu", "paper"):
        assert isinstance(RECIPES.load("hcdc")(Task(spec, 1, preset)).objective, Hypergradient)
    assert "2405.17535" in CARDS.load("hcdc").link
    assert LabelSmoothing() in Hypergradient().space.kinds
    for name in ("train_per_class", "val_rows", "points"):
        with pytest.raises(ConfigError, match=f"setting {name} of the objective 'hypergradient'"):
            Hypergradient(**{name: 0})
    with pytest.raises(ConfigError, match="setting slope_weight of the objective 'hypergradient'"):
        Hypergradient(slope_weight=-1.0)
