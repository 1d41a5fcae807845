"""`distill`: the one loop of every distillation, with budget, progress, validation, checkpoints and exact resume."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from decoct.compact.distilled import DistilledSet
from decoct.data.dataset import Dataset
from decoct.data.sample_weights import Weights
from decoct.distillation.estimate import require_room
from decoct.distillation.interrupt import cut_off, held_back, interrupted
from decoct.distillation.limit import VALIDATIONS, Limit, limit_of
from decoct.distillation.probe import kept_rate, machine_rate
from decoct.distillation.problem import Problem, default_strategy
from decoct.distillation.recipe import Recipe
from decoct.distillation.recipes.table import Changes, resolve
from decoct.distillation.recipes.task import Preset, Task
from decoct.distillation.run import Distillation
from decoct.distillation.run_identity import run_identity
from decoct.distillation.workplace import Workplace
from decoct.durations import parse_duration
from decoct.errors import DivergenceError
from decoct.machine import hardware, library_versions, usable_device
from decoct.networks.build import default_network
from decoct.progress import progress

LOOK_SHARE = 0.25
"""Share of a time budget that looks may take."""
ASSUMED_RATE = 1e11
"""Floating-point operations a second that a time budget is taken to mean, when it is asked whether to compile."""
COMPILING = 10.0
"""Seconds that compiling may take: a budget that has no more than these is spent in eager mode."""


def distill(
    data: Dataset,
    recipe: str | Recipe = "auto",
    *,
    ipc: int,
    budget: str | float | None = None,
    steps: int | None = None,
    seed: int = 0,
    network: str | None = None,
    storage: Any = None,
    objective: Any = None,
    labels: Any = None,
    augment: str | None = None,
    out: str | Path | None = None,
    experts: str | Path | None = None,
    device: str | None = None,
    track: str | None = None,
    preset: Preset = "cpu",
    weights: Weights | None = None,
    looks: int = VALIDATIONS,
) -> DistilledSet:
    """Synthesise `ipc` stored images for every class of `data`.

    `recipe` is a name (`decoct methods` lists them) or a `Recipe`; `storage`, `objective` and `labels` replace an axis
    of it, by name or object, and leave its step sizes, its network and its number of steps as they are; `preset` is
    the scale of a named one, minutes on two cores or as published on a GPU. "auto" chooses by the size, the time and
    the machine. The run ends after `steps`, or after `budget` ("20min", or seconds); without the two "auto" takes 20
    minutes, where what it chose has steps at all, and any other recipe (and "auto" with preset "paper") its own number
    of steps. Of the sets looked at on the validation split the best is returned; there are `looks` of them, evenly
    over the run, and with one look it is that of the last step.

    `weights` say how much each real row counts (`SampleWeights`, or numbers in the order of `data.train`): wherever
    real rows are drawn, for matching, for networks trained on them or as a start, they are drawn in proportion. Equal
    weights change nothing.

    `augment` names the picture changes under which rows are matched, where the objective has any: "none", or families
    of `Siamese` such as "color_crop_cutout_scale_rotate", which has no mirror images, for digits in colour. Families
    of which neither objective nor labels make any use are a `ConfigError`.

    With `out`, the run is kept in that folder and the same call resumes it; a finished one is loaded. Networks of your
    own ("package.module:factory") are part of the call by their source files and first weights. `experts` is a folder
    that several runs share for networks trained on the real data, by default one inside `out`. Runs bounded by
    steps give the same bits for the same seed on the same machine and CPU, interrupted or not.

    Raises `BudgetError` (more images than a class has), `UnknownNameError`, `ConfigError`, `MismatchError` (`out` holds
    another run, or a state of another version of decoct, or `weights` are not those of the data), `DataError` (weights
    that cannot be used), `MemoryEstimateError`, `DivergenceError` (NaN loss), `OutputError` (`out` cannot be written
    to, or another process works there), `IntegrityError` (a damaged file in `out`), `InterruptedRunError` (Ctrl-C).
    """
    data = data.with_weights(weights)
    task = Task(data.spec, ipc, preset, asked=network)
    if recipe == "auto" and preset == "cpu" and budget is None and steps is None:
        budget = task.seconds
    speed = _speed_of(task, usable_device(device), None if out is None else Path(out))
    task = _timed(replace(task, speed=speed), budget, len(data.train))
    point = resolve(recipe, task, Changes(storage, objective, labels, augment))
    limit = limit_of(point, budget, steps, looks)
    problem = _problem(data, point, limit, ipc, network, device)
    if experts is None and out is not None:
        experts = Path(out) / "experts"
    problem = replace(problem, cache=None if experts is None else Path(experts))
    problem.require_budget()
    identity = {
        "recipe": recipe if isinstance(recipe, str) else "custom",
        **run_identity(problem, point, limit, seed),
    }
    if speed.cache_info().currsize:
        identity["rate"] = speed()
    with Workplace(None if out is None else Path(out), identity, track) as place:
        finished = place.finished()
        if finished is not None:
            return finished
        require_room(problem, point)
        began = time.monotonic()
        run = None
        try:
            place.claim()
            run = Distillation(problem, point, seed)
            place.resume(run)
            _loop(run, limit, place, began)
            small = run.result({"name": _name(recipe, point, task), **identity, **_provenance(run)})
            place.finish(small)
        except KeyboardInterrupt:
            raise cut_off(run, place) from None
    return small


def _speed_of(task: Task, device: str, out: Path | None) -> Any:
    """How fast the machine was found when the run in `out` began, or is now; measured once, when it is asked for."""
    return cache(lambda: kept_rate(out) or machine_rate(task.spec, task.network(32, 32), device))


def _timed(task: Task, budget: str | float | None, rows: int) -> Task:
    """The task with the time there is, where it ends by the clock."""
    if budget is None or task.preset != "cpu":
        return task
    return replace(task, seconds=parse_duration(str(budget)), rows=rows)


def _problem(data: Dataset, recipe: Recipe, limit: Limit, ipc: int, network: str | None, device: str | None) -> Problem:
    strategy = default_strategy(data.spec) if recipe.augment == "auto" else recipe.augment
    if not data.spec.is_image:
        strategy = ""
    name = network or recipe.network or default_network(data.spec.shape)
    probe = Problem(data, ipc, name, usable_device(device), strategy, work=0.0)
    if limit.seconds is not None:
        left = max(0.0, limit.seconds - COMPILING)
        return Problem(data, ipc, name, probe.device, strategy, work=left * ASSUMED_RATE)
    assert limit.steps is not None
    return Problem(data, ipc, name, probe.device, strategy, work=limit.steps * recipe.objective.flops(probe))


def _provenance(run: Distillation) -> dict[str, Any]:
    return {
        "steps_done": run.step, "seconds": run.elapsed, "validation": run.history,
        "hardware": hardware(), "versions": library_versions(),
    }  # fmt: skip


def _loop(run: Distillation, limit: Limit, place: Workplace, began: float) -> None:
    """Steps until the limit, with a look at the validation split and a checkpoint now and then.

    Seconds count from `began`, when storage and objective were set up: some train a teacher there.
    """
    start = began - run.elapsed
    saved = time.monotonic()
    run.prepare()
    before, since, looked = run.step, time.monotonic(), 0.0
    total = limit.steps or limit.seconds or 1
    with (
        held_back() as stopped,
        progress(_title(run), total, timed=limit.steps is None) as tick,
    ):
        while (share := limit.share(run.step, run.elapsed)) < 1:
            loss = run.advance(share)
            if not math.isfinite(loss):
                raise _diverged(run, loss)
            run.elapsed = time.monotonic() - start
            if due := _look_due(run, limit, looked):
                looked -= time.monotonic()
                accuracy = run.look(due)
                looked += time.monotonic()
                place.log({"step": run.step, "seconds": run.elapsed, "val_accuracy": accuracy})
                run.elapsed = time.monotonic() - start
            place.log({"step": run.step, "seconds": run.elapsed, "loss": loss}, every=10)
            if time.monotonic() - saved > place.checkpoint_seconds:
                place.save(run)
                saved = time.monotonic()
            seen = f", best on validation {run.best_score:.1%}" if run.best else ""
            rate = (run.step - before) / (time.monotonic() - since)
            steps = "" if limit.steps else f"step {run.step}, {rate:.3g}/s, "
            tick(run.step if limit.steps else run.elapsed, f"{steps}loss {loss:.4g}{seen}")
            if stopped():
                place.save(run)
                raise interrupted(run, place)
        if not run.best:
            run.look(limit.looks)
            # A set that takes no steps costs its teacher.
            run.elapsed = time.monotonic() - start


def _title(run: Distillation) -> str:
    resumed = f", going on after step {run.step}" if run.step else ""
    return f"distilling {run.problem.ipc} a class{resumed}"


def _look_due(run: Distillation, limit: Limit, looked: float) -> int:
    """The number of the look at the validation split that is due now, or 0; `looked` seconds went into looks so far.

    Where a run is bounded by time, looks take no more than their share of it; that at the end is never left out.
    """
    due = int(limit.share(run.step, run.elapsed) * limit.looks)
    dear = limit.seconds is not None and due < limit.looks and looked > LOOK_SHARE * run.elapsed
    return 0 if dear or due <= run.looks else due


def _name(recipe: str | Recipe, point: Recipe, task: Task) -> str:
    """What a person calls this point: the recipe, and the axes on which it differs from it."""
    plain = resolve(recipe, task)
    pairs = ((point.storage, plain.storage), (point.objective, plain.objective), (point.labels, plain.labels))
    other = [type(mine).__name__.lower() for mine, its in pairs if type(mine) is not type(its)]
    return " + ".join([recipe if isinstance(recipe, str) else "custom", *other])


def _diverged(run: Distillation, loss: float) -> DivergenceError:
    return DivergenceError(
        f"step {run.step} of a distillation",
        received=f"a loss of {loss}",
        expected="a finite loss",
        remedy=f"lower the step size of the recipe (now lr={run.recipe.lr:g}, lr_labels={run.recipe.lr_labels:g})",
    )
