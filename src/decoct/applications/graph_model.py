"""Polynomial filters on a graph: the space of their hyper-parameters, and the convex model trained with them."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from decoct.data.graph import Graph, hops
from decoct.errors import DivergenceError
from decoct.evaluation.ranking import FEWEST_ITEMS
from decoct.settings import require_above, require_at_least
from decoct.streams import Streams, derive_seed
from decoct.training.hypergradient import hessian_product, response
from decoct.training.solvers import ConjugateGradient, Neumann

ORDER = 4
FILTERS: dict[str, tuple[float, ...]] = {
    "features alone": (1.0, 0.0, 0.0, 0.0, 0.0),
    "one hop": (0.0, 1.0, 0.0, 0.0, 0.0),
    "two hops": (0.0, 0.0, 1.0, 0.0, 0.0),
    "four hops": (0.0, 0.0, 0.0, 0.0, 1.0),
    "mean of hops": (0.2, 0.2, 0.2, 0.2, 0.2),
    "PageRank": (0.2, 0.16, 0.128, 0.1024, 0.4096),
    "heat": (0.375, 0.375, 0.1875, 0.0625, 0.0),
    "high pass": (1.0, -1.0, 0.0, 0.0, 0.0),
    "second difference": (1.0, -2.0, 1.0, 0.0, 0.0),
}
"""Coefficients of `P^0 .. P^4`: no propagation, SGC, personalised PageRank (0.2), the heat kernel, high pass."""
DECAY = (1e-5, 1e-1)
"""Ends of the weight decay, on a logarithmic scale."""
SHARPNESS = 5.0


@dataclass(frozen=True)
class GraphSearch:
    """A search over filters and one weight decay. `u` in `[0, 1]^h` is the decay, then the filter.

    Raises `ConfigError` for settings out of range.

    `discrete`: the filter is one of `FILTERS`, as the mixture `softmax(5 u) F`, a candidate a corner of it. Otherwise
    its coefficients are `2 u - 1`, one for each hop.
    """

    discrete: bool = True
    starts: int = 14
    """Trajectories of hyper-parameters; in a discrete space the first start at a filter each, the others anywhere."""
    length: int = 6
    """Points of each. Trajectories that never meet say nothing about the order of their starts."""
    step: float = 0.25
    """Length of a step against the hypergradient, in the unit cube."""
    steps: int = 400
    """Outer steps of a condensation."""
    lr: float = 0.01
    """Step size of Adam for adjacency logits; features, which are smaller, move by a tenth of it."""
    points: int = 6
    """Points of a step."""
    decays: int = 8
    """Weight decays of each filter among the candidates of a discrete space."""
    candidates: int = 72
    """Candidates of a continuous space."""
    solver: ConjugateGradient | Neumann = field(default_factory=lambda: ConjugateGradient(steps=60, tolerance=1e-4))
    """How the Hessian is inverted: conjugate gradients, or the Neumann series of the paper."""

    def __post_init__(self) -> None:
        least = {"starts": 1, "length": 1, "steps": 1, "points": 1, "decays": 1, "candidates": FEWEST_ITEMS}
        require_at_least(self, "a GraphSearch", **least)
        require_above(self, "a GraphSearch", step=0, lr=0)

    @property
    def size(self) -> int:
        """Hyper-parameters."""
        return 1 + (len(FILTERS) if self.discrete else ORDER + 1)

    def coefficients(self, u: Float[Tensor, " h"]) -> Float[Tensor, " hops"]:
        """The filter, differentiable in u."""
        if not self.discrete:
            return 2 * u[1:] - 1
        bank = torch.tensor(list(FILTERS.values()), dtype=u.dtype)
        return torch.softmax(SHARPNESS * u[1:], 0) @ bank

    def decay(self, u: Float[Tensor, " h"]) -> Float[Tensor, ""]:
        low, high = DECAY
        return low * (high / low) ** u[0]

    def grid(self) -> Float[Tensor, "n h"]:
        """The candidates to be ordered, the same every time."""
        if self.discrete:
            decays = torch.linspace(0, 1, self.decays)
            return torch.stack([torch.cat([d[None], row]) for row in torch.eye(len(FILTERS)) for d in decays])
        return torch.rand(self.candidates, self.size, generator=torch.Generator().manual_seed(0))


@dataclass(frozen=True, eq=False)
class Response:
    """One point: `u` `[h]`, weights `[P]`, how they move `[P, h]`, the hypergradient of all validation nodes `[h]`."""

    u: Tensor
    weights: Tensor
    moves: Tensor
    target: Tensor


class Model:
    """`softmax(sum_k c_k(u) P^k X W)`, trained on the training nodes: convex in W, so minima and responses are exact.

    `W` is `[d, classes]`, flattened to `[P]`; hops `[hops, n, d]` are found once for the whole graph.
    """

    def __init__(self, graph: Graph, search: GraphSearch) -> None:
        self.graph, self.search = graph, search
        found = hops(graph.propagation(), graph.features, ORDER)
        scale = found[1].norm(dim=1).mean()
        self.scale = 1 / float(scale)
        """Propagated rows have a norm of about 1 on average, so that weights of ordinary size fit the labels."""
        self._train, self._val = found[:, graph.train], found[:, graph.val]

    def loss(self, rows: Float[Tensor, "hops n d"], labels: Tensor, weights: Tensor, u: Tensor) -> Tensor:
        """Cross-entropy of nodes with these hops."""
        filtered = torch.einsum("k,knd->nd", self.search.coefficients(u), rows)
        return F.cross_entropy(self.scale * filtered @ weights.view(rows.shape[2], -1), labels)

    def train_loss(self, weights: Tensor, u: Tensor) -> Tensor:
        labels = self.graph.labels[self.graph.train]
        return self.loss(self._train, labels, weights, u) + self.search.decay(u) * weights.square().sum() / 2

    def val_loss(self, weights: Tensor, u: Tensor) -> Tensor:
        return self.loss(self._val, self.graph.labels[self.graph.val], weights, u)

    def fit(self, u: Tensor, start: Tensor | None = None) -> Float[Tensor, " P"]:
        """Weights at the minimum of the training loss; raises `DivergenceError`."""
        count = self.graph.features.shape[1] * self.graph.classes
        weights = (torch.zeros(count) if start is None else start.clone()).requires_grad_(True)
        optimizer = torch.optim.LBFGS(
            [weights], max_iter=150, tolerance_grad=1e-6, tolerance_change=1e-10, line_search_fn="strong_wolfe"
        )

        def closure() -> float:
            optimizer.zero_grad()
            loss = self.train_loss(weights, u)
            loss.backward()
            return float(loss.detach())

        optimizer.step(closure)
        if not bool(torch.isfinite(weights).all()):
            raise DivergenceError(
                "training a filter on a graph", received="weights that are not finite", expected="finite weights",
                remedy="check the features for huge values, or raise the weight decay",
            )  # fmt: skip
        return weights.detach()

    def response(self, u: Tensor, weights: Tensor) -> Response:
        """How the minimum moves with u, and the hypergradient of all validation nodes."""
        product = hessian_product(lambda at: self.train_loss(at, u), weights)
        moves, _ = response(self.train_loss, weights, u, self.search.solver, product)
        at, knobs = weights.clone().requires_grad_(True), u.clone().requires_grad_(True)
        slope, direct = torch.autograd.grad(self.val_loss(at, knobs), (at, knobs), materialize_grads=True)
        return Response(u, weights, moves, direct + moves.T @ slope)

    def found(self, condensed: Tensor, labels: Tensor, point: Response) -> Float[Tensor, " h"]:
        """The hypergradient of condensed nodes with these hops, with a graph to them."""
        along = torch.zeros(self.search.size, requires_grad=True)
        loss = self.loss(condensed, labels, point.weights + point.moves @ along, point.u + along)
        return torch.autograd.grad(loss, along, create_graph=True)[0]

    def points(self, seed: int) -> list[Response]:
        """Points on trajectories that descend the loss of all validation nodes."""
        search, found = self.search, []
        generator = Streams(derive_seed(seed, "graph"))("starts")
        for number in range(search.starts):
            u = torch.rand(search.size, generator=generator)
            if search.discrete and number < len(FILTERS):
                u[1:] = torch.eye(len(FILTERS))[number]
            weights = None
            for _ in range(search.length):
                weights = self.fit(u, weights)
                found.append(self.response(u, weights))
                target = found[-1].target
                u = (u - search.step * target / target.norm().clamp_min(1e-12)).clamp(0, 1)
        return found
