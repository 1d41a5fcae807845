"""`hypergradient`: a small validation set whose hypergradients point where those of the whole one do (HCDC)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from decoct.compact.compact_set import CompactSet
from decoct.compact.distilled import DistilledSet
from decoct.compact.load import load
from decoct.distillation.axes import Objective, ObjectiveState, Tensors
from decoct.distillation.problem import Problem, RealSource, Synthetic
from decoct.errors import ConfigError, MismatchError
from decoct.networks.build import network
from decoct.networks.count import flops_forward
from decoct.networks.identity import network_identity
from decoct.progress import progress
from decoct.settings import require_at_least
from decoct.streams import Streams, derive_seed
from decoct.tensor_file import write_tensors
from decoct.training.flat import FlatNetwork
from decoct.training.responses import Points, Walk, projected_slope, validation_loss, walk_through
from decoct.training.space import Space
from decoct.training.weighted_rows import Rows

HELD_OUT = 4
"""Every so manieth point is left out of the matching, and says how well it went."""
NAMES = ("hyper", "theta", "response", "slope", "target")
NEAR_ZERO = 1e-3
"""Hypergradients shorter than this part of the mean have no direction worth matching."""


@dataclass(frozen=True)
class Hypergradient(Objective):
    """`L = mean_k 1 - cos(J_k^T g_S, J_k^T g_V) + w (1 - cos(g_S, g_V))`, `J_k = -(H + d)^-1 d2 L_train / d theta d u`.

    "Calibrated Dataset Condensation for Faster Hyperparameter Search" (HCDC), Ding, Xu, Rabbani, Liu, Gravelle,
    Ranadive, Tuan, Huang, 2024, https://arxiv.org/abs/2405.17535; no code of the authors is public.

    What is condensed is a **validation** set: rows S stand for the validation split V, so that hyper-parameters u in
    `[0, 1]^h` are ordered alike by the loss of either. `theta_k` `[P]` are weights trained on a small training set at
    `u_k`, points on trajectories that descend the validation loss, each from a corner of the space; `J_k` `[P, h]` says
    how they move, `g_S` `[P]` is `d L_S / d theta` there. With `full_per_class`, as in the paper, the target is the
    hypergradient `J'_k^T g'_V` of networks trained on many real rows at `u_k`: S then also makes up for what the small
    training set does to the order. `theta_k`, `J_k` and targets do not depend on S, so they are found once, before the
    first step; a step is the loss of all rows of S at `points` of them and its derivative twice. Images `[m, ...]`,
    targets `[m, C]`.

    Cost before the first step: K = starts x length times (training steps + h solves) on the small training set, and as
    many on the real rows; memory `K P (h + 2)` numbers. Of a step: about 6 forward passes of S for each point.

    Differs from the paper: the term of w = `slope_weight`, which the paper does not have (0 leaves it out). K h
    numbers, a few hundred, let the pixels of S agree where they are matched and nowhere else; gradients for all weights
    are K P numbers. The response is solved for once a point and kept, where the paper solves again at every step (the
    same gradient, since the small training set stays); the trajectories descend V alone; the curvature is that of
    Gauss-Newton unless asked otherwise, its systems solved by conjugate gradients, or, as in the paper, by a Neumann
    series (`Walk(solver=Neumann(...))`). Rows of the training set and of the validation split count by their weights. A
    look at the set measures the mean cosine at points left out of the matching, of both terms by their weights, not a
    student's accuracy.
    """

    space: Space = field(default_factory=Space)
    """The hyper-parameters."""
    walk: Walk = field(default_factory=Walk)
    """How its trajectories are walked."""
    train_set: str | None = None
    """Folder of a compact set that networks are trained on; none draws real rows."""
    train_per_class: int = 10
    """Those rows, of each class."""
    full_per_class: int = 0
    """Training rows of each class that networks are trained on whose hypergradients are matched; 0 matches those of
    networks of the small training set."""
    val_rows: int = 2000
    """Rows of the validation split at most, classes in equal shares."""
    points: int = 4
    """Points of a step."""
    metric: Literal["cosine", "relative"] = "cosine"
    """cosine, or the squared distance relative to the target, which asks for the length too; of both terms."""
    slope_weight: float = 0.0
    """How much gradients for all weights count beside hypergradients, 0 or more."""

    def __post_init__(self) -> None:
        super().__post_init__()
        least = {"train_per_class": 1, "full_per_class": 0, "val_rows": 1, "points": 1, "slope_weight": 0}
        require_at_least(self, "the objective 'hypergradient'", **least)

    def augments(self, families: tuple[str, ...]) -> tuple[str, ...]:
        return ()

    def facts(self) -> dict[str, Any]:
        held = None if self.train_set is None else load(self.train_set).content_hash
        return {**super().facts(), "train_set": held}

    def init(self, problem: Problem, streams: Streams) -> ObjectiveState:
        return HypergradientState(self, problem, streams)

    def flops(self, problem: Problem) -> float:
        probe = network(problem.network, problem.shape, problem.class_count, 0)
        return 6.0 * self.points * problem.ipc * problem.class_count * flops_forward(probe, problem.shape)


def disagreement(found: Float[Tensor, " h"], target: Float[Tensor, " h"], metric: str = "cosine") -> Float[Tensor, ""]:
    """`1 - cos`, or the squared distance relative to the target."""
    if metric == "relative":
        return (found - target).square().sum() / target.square().sum()
    return 1 - F.cosine_similarity(found, target, dim=0, eps=1e-12)


class HypergradientState(ObjectiveState):
    """The points, found once and the same for the same seed, and a generator that draws from them."""

    measured = "best_agreement"

    def __init__(self, config: Hypergradient, problem: Problem, streams: Streams) -> None:
        self._config, self._problem, self._streams = config, problem, streams
        self._net = FlatNetwork(self._module(0))
        self._points: Points | None = None
        self._matched, self._held = torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)

    def _module(self, seed: int) -> torch.nn.Module:
        problem = self._problem
        return network(problem.network, problem.shape, problem.class_count, seed).to(problem.device)

    def prepare(self, real: RealSource) -> None:
        if self._points is None:
            self._points = self._kept_or_walked()
            length = self._points.target.norm(dim=1)
            useful = torch.nonzero(length > NEAR_ZERO * length.mean()).flatten().cpu()
            held = torch.arange(len(useful)) % HELD_OUT == HELD_OUT - 1
            self._matched = useful[~held]
            self._held = useful[held] if bool(held.any()) else useful

    def _kept_or_walked(self) -> Points:
        config, problem = self._config, self._problem
        train, val, full = self._train_rows(), self._val_rows(), self._full_rows()
        # `repr` names classes, where two kinds of settings may have the same fields. Matching changes no point, and the
        # rows of a training set have a key of their own.
        walked = replace(config, points=1, metric="cosine", slope_weight=0.0, train_set=None)
        name = network_identity(problem.network, problem.shape, problem.class_count)
        keys = [rows.key() for rows in (train, val, full) if rows]
        facts = [repr(walked), name, problem.spec.fingerprint, self._streams.seed, *keys]
        key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
        path = None if problem.cache is None else problem.cache / f"responses-{key}.safetensors"
        if path is not None and path.exists() and (known := _read(path, problem.device)) is not None:
            return known
        seed = derive_seed(self._streams.seed, "hypergradient")
        walk = config.walk
        with progress("walking through hyper-parameters", walk.starts * walk.length) as tick:
            found = walk_through(
                self._net, lambda start: self._net.flatten(self._module(start)), config.space, train, val, walk, seed,
                tick, full,
            )  # fmt: skip
        if path is not None:
            write_tensors(path, _tensors(found))
        return found

    def _train_rows(self) -> Rows:
        config, problem = self._config, self._problem
        if config.train_set is not None:
            small = load(config.train_set)
            if small.spec.shape != problem.shape or small.spec.class_names != problem.spec.class_names:
                raise MismatchError(
                    "condensing a validation set",
                    received=f"a training set of rows {list(small.spec.shape)} of {small.spec.classes} classes",
                    expected=f"rows {list(problem.shape)} of the {problem.class_count} classes of the data, in order",
                    remedy="make the training set from the same data",
                )
            _require_cross_entropy(small)
            return self._rows(*small.materialize())
        return self._drawn("train", config.train_per_class)

    def _full_rows(self) -> Rows | None:
        return self._drawn("full", self._config.full_per_class) if self._config.full_per_class else None

    def _drawn(self, name: str, per_class: int) -> Rows:
        own = Streams(derive_seed(self._streams.seed, "hypergradient-rows"))
        inputs, labels = RealSource(self._problem.data, self._problem.device, own(name)).per_class(per_class)
        # Drawn in proportion to their weights, so that they count the same.
        return self._rows(inputs, labels, None)

    def _val_rows(self) -> Rows:
        data, classes = self._problem.data, self._problem.class_count
        share = -(-self._config.val_rows // classes)
        rows = torch.cat([torch.from_numpy(members[:share]) for members in data.val.class_rows(classes)]).sort().values
        return self._rows(data.inputs(data.val, rows), data.val.labels(rows), data.val.weight(rows))

    def _rows(self, inputs: Tensor, targets: Tensor, weights: Tensor | None) -> Rows:
        return Rows.of(inputs, targets, weights, self._problem.class_count, self._problem.device)

    def loss(self, synthetic: Synthetic, real: RealSource) -> Float[Tensor, ""]:
        assert self._points is not None
        count = min(self._config.points, len(self._matched))
        drawn = self._matched[torch.randperm(len(self._matched), generator=self._streams("points"))[:count]]
        rows = Rows(synthetic.images, synthetic.targets)
        return torch.stack([self._disagreement(int(k), rows, self._config.metric) for k in drawn]).mean()

    def _disagreement(self, number: int, rows: Rows, metric: str) -> Float[Tensor, ""]:
        """Both terms at one point, with a graph to the rows."""
        assert self._points is not None
        weight, points = self._config.slope_weight, self._points
        if not weight:
            return disagreement(self._found(number, rows), points.target[number], metric)
        theta = points.theta[number].detach().requires_grad_(True)
        slope = torch.autograd.grad(validation_loss(self._net, theta, rows), theta, create_graph=True)[0]
        found = disagreement(points.response[number].T @ slope, points.target[number], metric)
        return found + weight * disagreement(slope, points.slope[number], metric)

    def _found(self, number: int, rows: Rows) -> Float[Tensor, " h"]:
        assert self._points is not None
        return projected_slope(self._net, self._points.theta[number], self._points.response[number], rows)

    def measure(self, small: DistilledSet) -> float:
        """The mean cosine at the points left out of the matching, of both terms by their weights."""
        rows = self._rows(*small.materialize())
        apart = torch.stack([self._disagreement(int(k), rows, "cosine").detach() for k in self._held])
        return 1 - float(apart.mean()) / (1 + self._config.slope_weight)

    def state_dict(self) -> Tensors:
        return {}

    def load_state_dict(self, state: Tensors) -> None:
        pass


def _require_cross_entropy(small: CompactSet) -> None:
    """Raise `ConfigError` for labels that cross-entropy at temperature 1 cannot read."""
    if small.label_kind != "scores" and small.temperature == 1:
        return
    scores = small.label_kind == "scores"
    raise ConfigError(
        "condensing a validation set",
        received="a training set whose labels "
        + ("are scores of a regression" if scores else f"were made at temperature {small.temperature:g}"),
        expected="hard labels, or probabilities at temperature 1: networks are trained by cross-entropy at 1",
        remedy="make the training set with hard labels" + ("" if scores else ", or with Teacher(temperature=1)"),
    )


def _tensors(points: Points) -> Tensors:
    found = {name: getattr(points, name).cpu().contiguous() for name in NAMES}
    return {**found, "residual": torch.tensor(points.residual)}


def _read(path: Path, device: str) -> Points | None:
    try:
        found = load_file(path)
        return Points(*(found[name].to(device) for name in NAMES), residual=float(found["residual"]))
    except (OSError, KeyError, SafetensorError):
        return None
