"""HCDC on graphs: responses against refitting, the three condensed graphs, orders on a block model, refusals."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from decoct.applications.graph_model import FILTERS, GraphSearch, Model
from decoct.applications.graph_search import condense, orders
from decoct.data.graph import Graph
from decoct.errors import BudgetError, ConfigError
from decoct.training.solvers import Neumann

SEARCH = GraphSearch(starts=9, length=2, steps=40, lr=0.05, decays=2)


def block_model(per_class: int = 40, seed: int = 0) -> Graph:
    """Three classes of nodes, dense inside and sparse between, with features that say the class under much noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(3).repeat(per_class)
    n = len(labels)
    chance = torch.where(labels[:, None] == labels[None], 0.15, 0.02)
    edges = torch.nonzero(torch.triu(torch.rand(n, n, generator=generator) < chance, 1))
    features = (0.6 * F.one_hot(labels, 8).float() + torch.rand(n, 8, generator=generator)).clamp_min(0)
    features = features / features.sum(1, keepdim=True)
    order = torch.arange(n)
    return Graph(features, edges, labels, order[: n // 3], order[n // 3 : 2 * n // 3], order[2 * n // 3 :])


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(block_model(), SEARCH)


def refitted(model: Model, u: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The minimum of the training loss to all digits, by Newton's method."""
    for _ in range(8):
        slope = torch.autograd.functional.jacobian(lambda w: model.train_loss(w, u), weights)
        hessian = torch.autograd.functional.hessian(lambda w: model.train_loss(w, u), weights)
        weights = weights - torch.linalg.solve(hessian, slope)
    return weights


def test_the_response_and_the_hypergradient_are_those_of_refitting():
    model = Model(block_model(), SEARCH)
    model._train, model._val = model._train.double(), model._val.double()
    u = torch.full((SEARCH.size,), 0.4, dtype=torch.float64)
    u[0] = 0.8
    weights = refitted(model, u, torch.zeros(24, dtype=torch.float64))
    assert torch.allclose(model.fit(u, torch.zeros(24, dtype=torch.float64)), weights, atol=1e-3)
    point = model.response(u, weights)
    for knob in (0, 2, 8):
        ends = [u.clone(), u.clone()]
        ends[0][knob] += 0.005
        ends[1][knob] -= 0.005
        up, down = (refitted(model, end, weights) for end in ends)
        moved = (up - down) / 0.01
        assert float((point.moves[:, knob] - moved).norm() / moved.norm()) < 0.005
        slope = (model.val_loss(up, ends[0]) - model.val_loss(down, ends[1])) / 0.01
        assert float(point.target[knob]) == pytest.approx(float(slope), abs=0.005 * float(point.target.norm()))


def test_the_neumann_series_of_the_paper_finds_the_same_response(model):
    u = torch.full((SEARCH.size,), 0.4)
    u[0] = 0.9
    weights = model.fit(u)
    series = Model(block_model(), replace(SEARCH, solver=Neumann(terms=400))).response(u, weights)
    exact = model.response(u, weights)
    assert float((series.moves - exact.moves).norm() / exact.moves.norm()) < 0.01
    rough = Model(block_model(), replace(SEARCH, solver=Neumann(terms=1))).response(u, weights)
    assert float((rough.moves - exact.moves).norm() / exact.moves.norm()) > 0.05


def test_all_validation_nodes_with_their_own_hops_have_the_target(model):
    u = torch.full((SEARCH.size,), 0.5)
    point = model.response(u, model.fit(u))
    found = model.found(model._val, model.graph.labels[model.graph.val], point)
    assert torch.allclose(found.detach(), point.target, atol=1e-5)


def test_random_nodes_keep_the_edges_among_them(model):
    graph = condense(model, "random", 5, seed=0)
    assert graph.labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert torch.allclose(graph.propagation, graph.propagation.T)
    degree = (graph.propagation > 0).sum(1).float()
    assert torch.allclose(graph.propagation.diagonal(), 1 / degree)
    assert not torch.equal(condense(model, "random", 5, seed=1).features, graph.features)


def test_matching_brings_what_is_matched_nearer(model):
    points = model.points(0)
    target = [point.target for point in points]

    def agreement(graph) -> float:
        rows = graph.hops()
        found = [model.found(rows, graph.labels, point).detach() for point in points]
        return sum(float(F.cosine_similarity(a, b, dim=0)) for a, b in zip(found, target, strict=True)) / len(target)

    at_random = agreement(condense(model, "random", 2, seed=0))
    matched = condense(model, "hcdc", 2, seed=0, points=points)
    assert agreement(matched) > max(at_random + 0.1, 0.8)
    assert torch.equal(matched.features, condense(model, "hcdc", 2, seed=0, points=points).features)
    condensed = condense(model, "distribution", 2, seed=0)
    assert torch.isfinite(condensed.features).all()


def test_more_nodes_order_candidates_better_and_every_node_exactly(model):
    grid = SEARCH.grid()
    assert grid.shape == (len(FILTERS) * 2, SEARCH.size)
    weights = [model.fit(u) for u in grid]
    few = [condense(model, "random", 1, seed) for seed in range(4)]
    many = [condense(model, "random", 10, seed) for seed in range(4)]
    found = orders(model, {"few": few, "many": many}, weights)
    assert found["many"].spearman.value > found["few"].spearman.value - 0.1
    assert found["few"].items == 18
    with pytest.raises(ConfigError, match=r"2 trained weights.*\n.*18 candidates"):
        orders(model, {}, weights[:2])


def test_a_continuous_space_has_a_coefficient_for_every_hop():
    search = replace(SEARCH, discrete=False, candidates=12, starts=1, length=1)
    assert search.grid().shape == (12, 6)
    assert torch.allclose(search.coefficients(torch.full((6,), 0.75)), torch.full((5,), 0.5))
    point = Model(block_model(), search).points(0)[0]
    assert point.target.shape == (6,)


@pytest.mark.parametrize(
    "changes",
    [{"starts": 0}, {"length": 0}, {"decays": 0}, {"points": 0}, {"steps": -1}, {"candidates": 2}, {"lr": 0.0},
     {"step": 0.0}],
)  # fmt: skip
def test_settings_that_cannot_be_are_told_by_name(changes):
    [name] = changes
    with pytest.raises(ConfigError, match=f"setting {name} of a GraphSearch"):
        replace(SEARCH, **changes)


def test_more_nodes_than_a_class_has_are_refused(model):
    with pytest.raises(BudgetError, match=r"100 nodes of each class.*\n.*at most 13|at most 14"):
        condense(model, "random", 100, seed=0)
