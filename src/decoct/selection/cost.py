"""What a selection costs before it is made, and from how much training on it pays."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from decoct.compact.budget import Budget
from decoct.data.dataset import Dataset
from decoct.durations import show_duration
from decoct.networks.build import network as build_network
from decoct.networks.count import flops_forward
from decoct.selection.active import Active
from decoct.selection.by_score import ByScore
from decoct.selection.features import Table
from decoct.selection.gradients import GradientSelector
from decoct.selection.methods import selector
from decoct.selection.selector import Selector
from decoct.selection.sources import PASSES, Sources
from decoct.selection.uncertainty import COMMITTEE
from decoct.training.expert import short_training

TRAINING = 3.0
"""Floating-point operations of a step over those of its forward pass: forward, gradients of layers, of weights."""
BATCH = 64
TRIALS = 3


@dataclass(frozen=True)
class Cost:
    """Work of a selection, in passes of a training over all rows (forward and backward) of `network`."""

    network: str
    rows: int
    kept: int
    row_flops: float
    """Floating-point operations of one row in one training pass of `network`."""
    passes: float
    """Trainings and looks that the method needs, as passes over all rows."""
    comparisons: float
    """Floating-point operations of comparing rows with picks, for methods that do: 2 n k d."""
    rate: float | None = None
    """Floating-point operations of training in a second, measured on this machine; None where it was not."""

    @property
    def flops(self) -> float:
        """Of the selection, roughly."""
        return self.passes * self.rows * self.row_flops + self.comparisons

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
        """Of the selection on this machine, roughly; None where the rate was not measured."""
        return None if self.rate is None else self.flops / self.rate

    @property
    def sentence(self) -> str:
        """The estimate for a person."""
        work = f"about {self.flops:.2g} floating-point operations"
        if self.seconds is not None:
            work += f", {show_duration(self.seconds)} on this machine"
        if self.passes:
            work += f": as much as {self.passes:.2g} training passes of {self.network} over all {self.rows:,} rows"
        if self.kept == self.rows:
            return f"selecting takes {work}. All rows are kept, so it saves nothing"
        first = math.ceil(self.break_even)
        pays = f"from {first:,} passes on" if first > 1 else "from the first pass on"
        return (
            f"selecting takes {work}. Training {self.network} on the {self.kept:,} rows that are kept instead of on "
            f"all pays {pays}; a network with ten times the work pays ten times earlier"
        )


def cost_of(method: Selector, sources: Sources, *, measure: bool = True) -> Cost:
    """The cost of picking `sources.wanted` rows by `method`; `measure` times a few training steps on this machine.

    Counted are trainings (three forward passes for a step), looks at all rows, and comparisons of rows with picks;
    reading the data, principal components and the search itself are not. Good to a factor of two or three.
    """
    data, kept = sources.data, sum(sources.wanted)
    rows = len(data.train)
    row_flops = TRAINING * flops_forward(_network(data, sources.network), data.spec.shape)
    passes = _passes(method, sources, rows, kept)
    width = int(sources.table.shape[1]) if sources.kind == "array" else int(math.prod(data.spec.shape))
    compares = method.needs_features or sources.kind == "array"
    comparisons = float(sum(2 * len(g) * k * width for g, k in zip(sources.groups, sources.wanted, strict=True)))
    rate = measured_rate(data, sources.network, sources.device) if measure and passes else None
    return Cost(sources.network, rows, kept, row_flops, passes, comparisons if compares else 0.0, rate)


def estimate(
    data: Dataset,
    method: str | Selector = "random",
    *,
    budget: Budget,
    features: str | Table = "auto",
    seed: int = 0,
    balanced: bool = True,
    device: str = "cpu",
    measure: bool = True,
) -> Cost:
    """What `select` with these arguments would cost; nothing is trained or written. Raises what `select` raises."""
    by_class = [torch.from_numpy(rows) for rows in data.train.class_rows(data.spec.classes)]
    counts = torch.tensor([len(rows) for rows in by_class])
    quota = budget.quota(counts, data.spec.row_bytes, balanced, data.spec.class_names)
    groups = by_class if balanced else [torch.arange(len(data.train))]
    wanted = quota.tolist() if balanced else [int(quota.sum())]
    sources = Sources(data, features, seed, device, None, tuple(groups), tuple(wanted))
    return cost_of(selector(method), sources, measure=measure)


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


def measured_rate(data: Dataset, network: str, device: str) -> float:
    """Floating-point operations a second of training steps on 64 rows: the fastest of three after a first."""
    module = _network(data, network).to(device).train()
    inputs = torch.zeros(BATCH, *data.spec.shape, device=device)
    targets = torch.zeros(BATCH, dtype=torch.int64, device=device)
    fastest = math.inf
    for trial in range(TRIALS + 1):
        began = time.perf_counter()
        F.cross_entropy(module(inputs), targets).backward()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        if trial:
            fastest = min(fastest, time.perf_counter() - began)
    return TRAINING * flops_forward(module, data.spec.shape) * BATCH / fastest


def _network(data: Dataset, name: str) -> torch.nn.Module:
    return build_network(name, data.spec.shape, data.spec.classes, 0)
