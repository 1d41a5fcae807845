"""Training as a set with ordered steps and learned step sizes was made for it: each step once, in its turn."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Int, Shaped
from torch import Tensor, nn

from decoct.distillation.objective.unroll import ordered_rows
from decoct.errors import DivergenceError
from decoct.evaluation.protocol import Course
from decoct.machine import peak_memory
from decoct.progress import Ticker
from decoct.streams import derive_seed, seeded
from decoct.training.config import FitConfig, LabelKind
from decoct.training.job import Build, Evaluate, Fitted
from decoct.training.losses import row_losses, squared_error_and_class, with_classes


@dataclass(frozen=True, eq=False)
class Walked:
    """What a course leads over: `inputs` `[m, ...]`, `targets` `[m]` or `[m, C]`, `classes` `[m]` of the rows."""

    inputs: Tensor
    targets: Shaped[Tensor, "m ..."]
    classes: Int[Tensor, " m"]
    label_kind: LabelKind
    temperature: float = 1.0
    class_weight: float = 0.0


def walk(course: Course, rows: Walked, build: Build, seed: int, device: str, check: Evaluate, tick: Ticker) -> Fitted:
    """A network from `build(seed)` after the steps of the course on these rows; epochs of the result are its steps.

    Step t takes the next `course.per_class` rows of every class, from the first again after the last, and goes down
    the mean loss of the batch by `course.lrs[t]`. Rows of a batch weigh the same. `check` is asked about as often as
    the protocol says, and its best weights are kept.

    Raises `DivergenceError` when a loss is not finite.
    """
    start, looking, history = time.perf_counter(), 0.0, []
    best: dict[str, Tensor] = {}
    batches = ordered_rows(rows.classes.cpu(), course.per_class, len(course.lrs))
    with seeded(derive_seed(seed, "noise")):
        module = build(seed).to(device).train()
        step = _stepper(course, rows, module, device)
        for number, batch in enumerate(batches, 1):
            loss = step(batch, course.lrs[number - 1])
            if not math.isfinite(loss):
                raise _diverged(seed, number, len(batches), loss)
            if number % course.check_every(len(batches)) == 0 or number == len(batches):
                before = time.perf_counter()
                value = float(check(module.eval(), number))
                if value > max((seen for _, seen in history), default=-math.inf):
                    best = {name: part.detach().clone() for name, part in module.state_dict().items()}
                history.append((number, value))
                module.train()
                looking += time.perf_counter() - before
            tick(number / len(batches), f"loss {loss:.3g}")
    module.zero_grad()
    chosen, value = max(history, key=lambda look: look[1])
    return Fitted(
        module.eval(), seed, history[-1][1], value, chosen, time.perf_counter() - start - looking,
        sum(map(len, batches)), len(torch.cat(batches).unique()), peak_memory(),
        "each step as it was learned with the set", history, best,
    )  # fmt: skip


def _stepper(course: Course, rows: Walked, module: nn.Module, device: str) -> Callable[[Tensor, float], float]:
    """One step of plain SGD on a batch of row numbers by a step size; gives the mean loss before it."""
    inputs, targets = rows.inputs.to(device), rows.targets.to(device)
    losses = row_losses(FitConfig().loss_for(rows.label_kind), rows.temperature)
    if rows.class_weight:
        losses, targets = (
            partial(squared_error_and_class, weight=rows.class_weight),
            with_classes(targets, rows.classes),
        )
    optimizer = torch.optim.SGD(module.parameters(), lr=course.lrs[0], momentum=course.momentum)

    def step(batch: Tensor, rate: float) -> float:
        batch = batch.to(device)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        loss = losses(module(inputs[batch]), targets[batch]).mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def _diverged(seed: int, step: int, steps: int, loss: float) -> DivergenceError:
    return DivergenceError(
        f"training along the steps of a set, seed {seed}, step {step} of {steps}",
        received=f"a loss of {loss}",
        expected="a finite loss: step sizes are learned for the rows and for the network of the set",
        remedy="judge on the network that the set was made with, leave out the baseline that fails, or choose a "
        "protocol by name, such as soft-300",
    )
