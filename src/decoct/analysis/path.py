"""The way of a network through its training on real data, iteration by iteration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from decoct.analysis.routine import Routine
from decoct.analysis.study import Study
from decoct.data.sample_weights import draw
from decoct.errors import DivergenceError
from decoct.streams import Streams, derive_seed


def spaced(steps: int, looks: int) -> list[int]:
    """At most `looks` whole numbers from 0 to `steps`, both ends among them, close together at first.

    0, then about equal ratios: most of what a distilled set knows is learned early.
    """
    ratios = [steps ** (place / max(1, looks - 2)) for place in range(looks - 1)]
    return sorted({0, *(round(value) for value in ratios), steps})


def real_path(
    study: Study, routine: Routine, seed: int, at: Sequence[int], rows: Int64[Tensor, " k"] | None = None
) -> Iterator[tuple[int, nn.Module]]:
    """Train on real rows (all training rows by default) and stop at every iteration of `at`, in rising order.

    Gives (iterations done, network in eval mode); it must be left as it is. SGD as `routine` says, one batch an
    iteration in a new order every pass; where rows have weights a pass shows them in proportion, as `fit_dataset` does.
    No other network of this seed starts from its weights. Raises `DivergenceError` where the loss is not finite.
    """
    own = torch.arange(len(study.data.train)) if rows is None else rows
    start = derive_seed(seed, "analysis", "path")
    module = study.build(start).to(study.device)
    optimizer = torch.optim.SGD(module.parameters(), lr=routine.lr, momentum=routine.momentum)
    weights = study.data.train.weight(own)
    batches = _batches(own, weights, min(routine.batch_size, len(own)), Streams(start)("order"))
    done = 0
    for stop in at:
        module.train()
        loss = torch.zeros(())
        for _ in range(stop - done):
            picked = next(batches)
            inputs = study.data.inputs(study.data.train, picked, study.device)
            labels = study.data.train.labels(picked).to(study.device)
            optimizer.zero_grad()
            loss = F.cross_entropy(module(inputs), labels)
            loss.backward()
            optimizer.step()
        done = stop
        if not torch.isfinite(loss):
            raise DivergenceError(
                f"training on real data for an analysis, seed {seed}, iteration {done}",
                received=f"a loss of {float(loss.detach())}",
                expected="a finite loss",
                remedy=f"take a smaller lr than {routine.lr}",
            )
        yield done, module.eval()


def _batches(
    rows: Int64[Tensor, " k"], weights: Float[Tensor, " k"] | None, size: int, generator: torch.Generator
) -> Iterator[Int64[Tensor, " b"]]:
    """Whole batches for ever, in a new order every pass; what does not fill a batch waits for another order."""
    count = len(rows)
    while True:
        order = torch.randperm(count, generator=generator) if weights is None else draw(weights, count, generator)
        yield from (part for part in rows[order].split(size) if len(part) == size)
