"""HCDC on a graph: a condensed validation graph that orders polynomial filters and weight decays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from decoct.applications.graph_model import ORDER, Model, Response
from decoct.data.graph import Graph, hops, propagation
from decoct.distillation.objective.hypergradient import disagreement
from decoct.errors import BudgetError, ConfigError
from decoct.evaluation.ranking import Agreement, agreement
from decoct.streams import Streams, derive_seed

Method = Literal["random", "distribution", "hcdc", "hcdc-length"]


@dataclass(frozen=True, eq=False)
class CondensedGraph:
    """`features` `[m, d]`, a dense `propagation` `[m, m]`, `labels` `[m]`: what stands for the validation nodes."""

    features: Float[Tensor, "m d"]
    propagation: Float[Tensor, "m m"]
    labels: Int[Tensor, " m"]

    def hops(self) -> Float[Tensor, "hops m d"]:
        return hops(self.propagation, self.features, ORDER)


def condense(
    model: Model, method: Method, per_class: int, seed: int, points: list[Response] | None = None
) -> CondensedGraph:
    """`per_class` validation nodes of each class by one of four methods.

    `random`: nodes with the edges among them. `distribution`: features and adjacency whose hops have the class means of
    the real ones, the analogue of distribution matching. `hcdc`: features and adjacency whose hypergradients point
    where those of all validation nodes do, at `points` (found where they are not given); `hcdc-length`: whose
    hypergradients are the same, length and all. The learned ones start from the random nodes, classes joined.

    Raises `BudgetError` where a class has fewer validation nodes.
    """
    nodes = _random_nodes(model.graph, per_class, seed)
    labels = model.graph.labels[nodes]
    start = model.graph.features[nodes]
    if method == "random":
        return CondensedGraph(start, _induced(model.graph, nodes), labels)
    matched = method.startswith("hcdc")
    found = points if points is not None or not matched else model.points(seed)
    metric = "relative" if method == "hcdc-length" else "cosine"
    features = start.clone().requires_grad_(True)
    logits = torch.full((len(nodes), len(nodes)), -2.0)
    logits = (logits + 4.0 * (labels[:, None] == labels[None])).requires_grad_(True)
    rate = model.search.lr
    optimizer = torch.optim.Adam([{"params": [features], "lr": rate / 10}, {"params": [logits], "lr": rate}])
    generator = Streams(derive_seed(seed, "graph"))("points")
    means = _class_means(model._val, model.graph.labels[model.graph.val], model.graph.classes)
    for _ in range(model.search.steps):
        rows = hops(_normalised(logits), features, ORDER)
        if method == "distribution":
            loss = (model.scale * (_class_means(rows, labels, model.graph.classes) - means)).square().sum()
        else:
            assert found is not None
            drawn = torch.randperm(len(found), generator=generator)[: model.search.points]
            chosen = [found[int(k)] for k in drawn]
            parts = [disagreement(model.found(rows, labels, one), one.target, metric) for one in chosen]
            loss = torch.stack(parts).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return CondensedGraph(features.detach(), _normalised(logits).detach(), labels)


def orders(model: Model, graphs: dict[str, list[CondensedGraph]], weights: list[Tensor]) -> dict[str, Agreement]:
    """How losses on condensed graphs (one or more for each name) order the candidates, against all validation nodes.

    Every graph ranks alone; the measures of those of one name are averaged.

    `weights` are those of `model.fit` at each row of `model.search.grid()`. Raises `ConfigError` for another number.
    """
    grid = model.search.grid()
    if len(weights) != len(grid):
        raise ConfigError(
            "ordering candidates on a graph", received=f"{len(weights)} trained weights",
            expected=f"one for each of {len(grid)} candidates", remedy="train model.fit(u) for u in search.grid()",
        )  # fmt: skip
    truth = np.array([losses_on(model, None, weights)])
    tables = {name: np.array([losses_on(model, one, weights) for one in ones]) for name, ones in graphs.items()}
    return {name: agreement(-table, -truth, runs="alone") for name, table in tables.items()}


def losses_on(model: Model, condensed: CondensedGraph | None, weights: list[Tensor]) -> list[float]:
    """The loss of every candidate on a condensed graph, or on all validation nodes.

    `weights` are those of `model.fit` at each row of `model.search.grid()`.
    """
    pairs = zip(weights, model.search.grid(), strict=True)
    with torch.no_grad():
        if condensed is None:
            return [float(model.val_loss(w, u)) for w, u in pairs]
        rows = condensed.hops()
        return [float(model.loss(rows, condensed.labels, w, u)) for w, u in pairs]


def _random_nodes(graph: Graph, per_class: int, seed: int) -> Int[Tensor, " m"]:
    generator = Streams(derive_seed(seed, "graph"))("nodes")
    picked = []
    for label in range(graph.classes):
        members = graph.val[graph.labels[graph.val] == label]
        if len(members) < per_class:
            raise BudgetError(
                "condensing the validation nodes of a graph",
                received=f"{per_class} nodes of each class",
                expected=f"at most {len(members)}, which is what class {label} has",
                remedy="ask for fewer",
            )
        picked.append(members[torch.randperm(len(members), generator=generator)[:per_class]])
    return torch.cat(picked)


def _induced(graph: Graph, nodes: Tensor) -> Float[Tensor, "m m"]:
    """Propagation along the edges among these nodes."""
    place = torch.full((len(graph.features),), -1)
    place[nodes] = torch.arange(len(nodes))
    ends = place[graph.edges]
    inside = ends[(ends >= 0).all(1)]
    return propagation(inside, len(nodes)).to_dense()


def _normalised(logits: Tensor) -> Float[Tensor, "m m"]:
    """`D^-1/2 (A + I) D^-1/2` of `A = sigmoid` of the symmetric part, without its diagonal."""
    adjacency = torch.sigmoid((logits + logits.T) / 2) * (1 - torch.eye(len(logits))) + torch.eye(len(logits))
    root = adjacency.sum(1).rsqrt()
    return root[:, None] * adjacency * root[None]


def _class_means(rows: Float[Tensor, "hops n d"], labels: Tensor, classes: int) -> Float[Tensor, "hops classes d"]:
    member = F.one_hot(labels, classes).float()
    return torch.einsum("knd,nc->kcd", rows, member) / member.sum(0).clamp_min(1)[None, :, None]
