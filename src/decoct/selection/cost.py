"""What a selection costs before it is made, and from how much training on it pays."""

from __future__ import annotations

import math
from dataclasses import dataclass

from decoct.compact.budget import CLASS, Budget
from decoct.data.dataset import Dataset
from decoct.durations import show_duration
from decoct.networks.build import network as build_network
from decoct.networks.count import flops_forward
from decoct.networks.embedding import feature_width
from decoct.selection.active import Active
from decoct.selection.by_score import ByScore
from decoct.selection.components import NARROW, ROUNDS, SPARE
from decoct.selection.features import COMPONENTS, Table, feature_kind
from decoct.selection.gradients import GradientSelector
from decoct.selection.methods import selector
from decoct.selection.own_scores import OwnScores, score_column
from decoct.selection.pretrained import PREFIX, backbone_cost
from decoct.selection.question import shared_out
from decoct.selection.rates import TRAINING, Rates, measured_rate, measured_rates
from decoct.selection.selector import Selector
from decoct.selection.sharded.selector import Sharded, sharded
from decoct.selection.sources import PASSES, Sources
from decoct.selection.uncertainty import COMMITTEE
from decoct.training.expert import short_training


@dataclass(frozen=True)
class Cost:
    """Work of a selection, in passes of a training over all rows (forward and backward) of `network`."""

    network: str
    """What is trained for the purpose, or would be trained on the rows that are kept; "" where nothing is known."""
    rows: int
    kept: int
    row_flops: float
    """Floating-point operations of one row in one training pass of `network`."""
    passes: float
    """Trainings and looks that the method needs, as passes over all rows."""
    comparisons: float
    """Floating-point operations of the method itself: `Selector.operations`."""
    rate: float | None = None
    """Floating-point operations of training in a second, measured on this machine; None where it was not."""
    preparing: float = 0.0
    """Floating-point operations of features for which nothing is trained: principal components, a backbone's passes."""
    rates: Rates | None = None
    """Rates of comparing rows, measured on this machine; None where they were not."""
    products: bool = False
    """Whether rows are compared as products of matrices."""

    @property
    def flops(self) -> float:
        """Of the selection, roughly."""
        return self.passes * self.rows * self.row_flops + self.preparing + self.comparisons

    @property
    def break_even(self) -> float:
        """Passes of a training on the kept rows from which selecting and training cost less than training on all.

        Each pass on the kept rows saves `rows - kept` rows of work: `flops / ((rows - kept) row_flops)`. Infinite
        where all rows are kept. For a network with m times the work of `network` it is m times less.
        """
        saved = (self.rows - self.kept) * self.row_flops
        return self.flops / saved if saved > 0 else math.inf

    @property
    def seconds(self) -> float | None:
        """Of the selection on this machine, roughly; None where a rate that is needed was not measured."""
        if self.rates is None or (self.passes and self.rate is None):
            return None
        trained = self.passes * self.rows * self.row_flops / self.rate if self.rate else 0.0
        compared = self.comparisons / (self.rates.products if self.products else self.rates.rows)
        return trained + self.preparing / self.rates.products + compared

    @property
    def sentence(self) -> str:
        """The estimate for a person."""
        work = f"about {self.flops:.2g} floating-point operations"
        if self.seconds is not None:
            told = f"in the order of {show_duration(self.seconds)}" if self.seconds >= 1 else "under a second"
            work += f", {told} on this machine"
        if self.passes:
            work += f": as much as {self.passes:.2g} training passes of {self.network} over all {self.rows:,} rows"
        if self.kept == self.rows:
            return f"selecting takes {work}. All rows are kept, so it saves nothing"
        if not self.network:
            return f"selecting takes {work}"
        first = math.ceil(self.break_even)
        pays = f"from {first:,} passes on" if first > 1 else "from the first pass on"
        return (
            f"selecting takes {work}. Training {self.network} on the {self.kept:,} rows that are kept instead of on "
            f"all pays {pays}; a network with ten times the work pays ten times earlier"
        )


def cost_of(method: Selector, sources: Sources, *, measure: bool = True) -> Cost:
    """The cost of picking `sources.wanted` rows by `method`; `measure` times a few operations on this machine.

    Counted are trainings (three forward passes for a step), looks at all rows, principal components, passes of a
    pretrained backbone, and what the method says of its own work (`Selector.operations`); reading the data is not.
    How many rounds a search takes and how many gains it renews depends on the data: the order of magnitude is what
    the figure is good for.
    """
    data, kept = sources.data, sum(sources.wanted)
    rows, module = len(data.train), build_network(sources.network, data.spec.shape, data.spec.classes, 0)
    row_flops = TRAINING * flops_forward(module, data.spec.shape)
    passes = _passes(method, sources, rows, kept)
    preparing, width, classes = _features(method, sources)
    inner = method.inner if isinstance(method, Sharded) else method
    groups = [(len(group), count) for group, count in zip(sources.groups, sources.wanted, strict=True) if count]
    comparisons = work_of(method, groups, width, classes)
    rate = measured_rate(data, sources.network, sources.device) if measure and passes else None
    rates = measured_rates(rows, width) if measure else None
    return Cost(
        sources.network, rows, kept, row_flops, passes, comparisons, rate, preparing, rates, inner.products
    )  # fmt: skip


def work_of(method: Selector, groups: list[tuple[int, int]], width: int, classes: int = 1) -> float:
    """Operations of picking from groups of (rows, picks), from one at a time or from all together."""
    if method.together:
        groups = [(sum(n for n, _ in groups), sum(k for _, k in groups))]
    return float(sum(method.operations(n, k, width, classes) for n, k in groups))


def estimate(
    data: Dataset,
    method: str | Selector = "random",
    *,
    budget: Budget,
    features: str | Table | OwnScores = "auto",
    seed: int = 0,
    balance: str = CLASS,
    device: str = "cpu",
    shard_rows: int | None = None,
    measure: bool = True,
) -> Cost:
    """What `select` with these arguments would cost; nothing is trained or written. Raises what `select` raises."""
    groups, wanted = shared_out(data, budget, balance)
    compared = features.values if isinstance(features, OwnScores) else features
    chosen = selector(method) if shard_rows is None else sharded(selector(method), shard_rows)
    if isinstance(chosen, ByScore) and feature_kind(data, compared) == "array":
        compared = score_column(compared)
    return cost_of(chosen, Sources(data, compared, seed, device, None, groups, wanted), measure=measure)


def _features(method: Selector, sources: Sources) -> tuple[float, int, int]:
    """Operations of features for which nothing is trained, numbers of a row, and residuals beside them."""
    spec, kind, n = sources.data.spec, sources.kind, len(sources.data.train)
    values = math.prod(spec.shape)
    if kind == "array":
        return 0.0, int(sources.table.shape[1]), 1
    trained = kind.startswith("network:") or isinstance(method, (GradientSelector, Active))
    if trained:
        module = build_network(sources.network, spec.shape, spec.classes, 0)
        return 0.0, feature_width(module, spec.shape), spec.classes if isinstance(method, GradientSelector) else 1
    if not method.needs_features:
        return 0.0, 1, 1
    if kind == "pca":
        return _components(n, values), min(COMPONENTS, n, values), 1
    if kind.startswith(PREFIX):
        flops, width = backbone_cost(kind.removeprefix(PREFIX))
        return n * flops, width, 1
    return 0.0, values, 1


def _components(n: int, values: int) -> float:
    """Principal components: of the covariance of narrow rows, by fifteen thin products of all rows with wide ones."""
    return 2.0 * n * values * (values if values <= NARROW else (2 * ROUNDS + 1) * (COMPONENTS + SPARE))


def _passes(method: Selector, sources: Sources, rows: int, kept: int) -> float:
    """Trainings and looks as passes over all rows."""
    look = 1 / TRAINING
    if isinstance(method, ByScore):
        return 0.0 if sources.kind == "array" else PASSES * (1 + look)
    if isinstance(method, Active):
        members = method.networks if method.strategy in COMMITTEE else 1
        sizes = [max(1, round(kept * number / (method.rounds + 1))) for number in range(1, method.rounds + 1)]
        seen = sum(size * method.training(size).epochs for size in sizes) / rows
        return members * (seen + method.rounds * look)
    if isinstance(method, GradientSelector):
        return 0.0 if sources.kind == "array" else short_training(rows) + look
    if method.needs_features and sources.kind.startswith("network:"):
        return short_training(rows) + look
    return 0.0
