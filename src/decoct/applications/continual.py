"""Continual learning: classes arrive in tasks, and a memory of a few bytes is all that is kept of the old ones."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from decoct.applications.class_subset import together
from decoct.applications.continual_result import Continual, Run
from decoct.applications.memory import (
    RESERVOIR,
    Memory,
    memory_for,
    require_equal_chances,
    require_memory_budget,
    row_cost,
)
from decoct.applications.small_set import is_recipe, require_maker, require_usable
from decoct.data.dataset import Dataset
from decoct.errors import ConfigError, DataError
from decoct.evaluation.cells import Records
from decoct.evaluation.contender import Material
from decoct.evaluation.data_facts import data_facts, data_key
from decoct.files import make_folder
from decoct.machine import usable_device
from decoct.networks.build import default_network, network
from decoct.networks.identity import network_identity
from decoct.progress import progress
from decoct.streams import Streams, derive_seed
from decoct.training.accuracy import predict
from decoct.training.config import FitConfig

Way = Literal["scratch", "continue"]
MEMORIES = ("random", "herding", "reservoir", "dm")
SCRATCH = FitConfig(optimizer="adamw", lr=2e-3, weight_decay=0.01, epochs=120, batch_size=64, schedule="cosine")
"""How a new network is trained on a memory alone."""
CONTINUED = replace(SCRATCH, lr=1e-3, epochs=8, schedule="constant")
"""How the network of the task before goes on, on the rows of the new task and the memory."""


@dataclass(frozen=True)
class ContinualConfig:
    """How classes arrive, what may be kept, and how networks are trained.

    The classes, in an order drawn from each seed, are cut into `tasks` of equal size (the first ones take what is left
    over). `nbytes` bound the memory at all times, labels and decoders included. With `scratch` a new network is
    trained on the memory alone after every task, as GDumb does and as distribution matching was published; the rows of
    a reservoir, whose classes are uneven, are weighted so that every class counts the same. With `continue` one network
    goes on, on all rows of the new task joined with the memory of the old ones, rows weighted so that every class
    counts the same, and within a class by the weights of the data.
    """

    tasks: int = 5
    """Into how many tasks the classes are cut."""
    nbytes: int = 20_000
    """Bytes of the memory, images, labels and decoder together."""
    way: Way = "scratch"
    """scratch: a new network on the memory after each task; continue: one network on the new task and the memory."""
    steps: int | None = None
    """Steps of each distillation; none takes the recipe's own."""
    network: str | None = None
    """Network; none takes the field's ConvNet for the size of the images."""
    fit: FitConfig | None = None
    """How it is trained; none takes `SCRATCH` or `CONTINUED`."""

    @property
    def training(self) -> FitConfig:
        """How a network is trained after each task."""
        return self.fit or (SCRATCH if self.way == "scratch" else CONTINUED)


def continual(
    data: Dataset,
    memories: Sequence[str] = MEMORIES,
    config: ContinualConfig | None = None,
    *,
    seeds: int | Sequence[int] = 3,
    out: str | Path | None = None,
    device: str | None = None,
) -> Continual:
    """Learn the classes of `data` task by task with each of `memories`, and measure what is forgotten.

    A memory is "reservoir" (Vitter 1985: every row seen so far has the same chance to be kept, the memory is always
    full), or a selector or recipe by name, which makes `share` rows of each class as its task arrives; a class's share
    is its part of `nbytes`, reserved from the start, and never changes. The test rows are scored among all classes.

    Setting: class-incremental learning as in "GDumb: A Simple Approach that Questions Our Progress in Continual
    Learning" (Prabhu, Torr, Dokania, 2020, https://www.robots.ox.ac.uk/~tvg/publications/2020/gdumb.pdf), with
    distilled memories as in "Dataset Condensation with Distribution Matching" (Zhao, Bilen, 2023,
    https://arxiv.org/abs/2110.04181). Differs: the budget is in bytes, and covers decoders and labels.

    Every (memory, seed) is a cell, kept in `out/cells` and never done twice. The same seed has the same order of
    classes for all memories, so that differences can be paired. One seed gives no interval.

    Cost: memories x seeds x tasks trainings, and a distillation or selection for each. Raises `UnknownNameError`,
    `ConfigError` (more tasks than classes, no seeds, weighted rows with a reservoir or a selector that cannot honour
    them, a recipe that learns scores), `BudgetError` (less than one row a class), `DataError` (a class without training
    or test rows, a task without validation rows where a recipe looks at them), and what the makers raise.
    """
    config = config or ContinualConfig()
    names = tuple(dict.fromkeys(memories))
    chosen = tuple(dict.fromkeys(range(seeds) if isinstance(seeds, int) else seeds))
    _require(data, names, config, chosen)
    name = config.network or default_network(data.spec.shape)
    network(name, data.spec.shape, data.spec.classes, 0)
    config = replace(config, network=name, fit=config.training)
    # By its name alone a network that was edited would be given the runs of the old one.
    told = {**asdict(config), "network": network_identity(name, data.spec.shape, data.spec.classes)}
    records = Records(None if out is None else make_folder(Path(out) / "cells"))
    runs: list[Run] = []
    pairs = [(memory, seed) for seed in chosen for memory in names]
    with progress("learning task by task", float(len(pairs))) as tick:
        for done, (memory, seed) in enumerate(pairs):
            tick(done, f"{memory}, seed {seed}")
            key = {
                "continual": 4 if data.weighted else 3, "data": data_key(data), "memory": memory,
                "seed": seed, "config": told, **_weighed(memory, config),
            }  # fmt: skip
            found = records.find(key)
            if found is None:
                found = _run(data, memory, config, seed, usable_device(device))
                records.keep(key, found)
            runs.append(Run.of(memory, seed, found))
    facts = {"data": data_facts(data), "seeds": list(chosen), "network": name, "config": asdict(config)}
    return Continual(names, tuple(runs), facts)


def _weighed(memory: str, config: ContinualConfig) -> dict[str, str]:
    """What the key of a cell says of weights: of a reservoir by itself there may be cells whose classes were uneven."""
    return {"weighed": "classes"} if memory == RESERVOIR and config.way == "scratch" else {}


def class_order(data: Dataset, tasks: int, seed: int) -> list[list[int]]:
    """The classes of every task, in the order drawn from `seed`."""
    order = torch.randperm(data.spec.classes, generator=Streams(seed)("continual/class order")).tolist()
    sizes = [data.spec.classes // tasks + (t < data.spec.classes % tasks) for t in range(tasks)]
    return [[order.pop(0) for _ in range(size)] for size in sizes]


def _run(data: Dataset, name: str, config: ContinualConfig, seed: int, device: str) -> dict[str, Any]:
    """One sequence of tasks: the accuracy of each task after each task, and what the memory weighed."""
    began, tasks = time.monotonic(), class_order(data, config.tasks, seed)
    memory = memory_for(name, data, config.nbytes, seed, config.steps, str(config.network), device)
    module: nn.Module | None = None
    matrix, weights, rows = [], [], []
    for number, classes in enumerate(tasks):
        old = memory.material()
        memory.add(classes)
        material = memory.alone() if config.way == "scratch" else _joined(memory, classes, old)
        assert material is not None
        start = None if config.way == "scratch" else module
        module = _trained(data, material, config, derive_seed(seed, "continual", number), start, device)
        matrix.append(_accuracies(module, data, tasks[: number + 1]))
        weights.append(memory.nbytes)
        rows.append(memory.rows)
    return {
        "matrix": matrix, "bytes": weights, "rows": rows, "tasks": tasks, "seconds": time.monotonic() - began,
    }  # fmt: skip


def _joined(memory: Memory, classes: Sequence[int], old: Material | None) -> Material:
    """All rows of the new task and the memory of the tasks before it; every class weighs the same in all."""
    new = memory.real(classes)
    both = new if old is None else together([new, old])
    assert both.weights is not None
    own = both.targets.argmax(1)
    of_class = torch.zeros(both.targets.shape[1]).index_add_(0, own, both.weights)
    return replace(both, weights=both.weights / of_class[own])


def _trained(
    data: Dataset, material: Material, config: ContinualConfig, seed: int, start: nn.Module | None, device: str
) -> nn.Module:
    def build(number: int) -> nn.Module:
        if start is not None:
            return copy.deepcopy(start).train()
        return network(str(config.network), data.spec.shape, data.spec.classes, number)

    return material.student(build, config.training, seed, device).module


def _accuracies(module: nn.Module, data: Dataset, tasks: Sequence[Sequence[int]]) -> list[float]:
    """Accuracy on the test rows of every task so far, each row scored among all classes."""
    labels = data.test.labels()
    right: Float[Tensor, " n"] = (predict(module, data).argmax(1) == labels).float()
    return [float(right[torch.isin(labels, torch.tensor(list(classes)))].mean()) for classes in tasks]


def _require(data: Dataset, names: tuple[str, ...], config: ContinualConfig, seeds: tuple[int, ...]) -> None:
    for name in names:
        require_maker(name, more=(RESERVOIR,))
    for option, good, received, expected in (
        ("memories", bool(names), "none", "at least one memory"),
        ("seeds", bool(seeds), "none", "at least one seed, two or more for an interval"),
        (
            "tasks", 1 <= config.tasks <= data.spec.classes, str(config.tasks),
            f"from 1 to the {data.spec.classes} classes there are",
        ),
        ("way", config.way in ("scratch", "continue"), repr(config.way), "'scratch' or 'continue'"),
    ):  # fmt: skip
        if not good:
            raise ConfigError(
                "learning continually", received=f"{option}: {received}", expected=expected, remedy=f"give {option}"
            )
    for part, split in (("training", data.train), ("test", data.test)):
        counts = torch.bincount(split.labels(), minlength=data.spec.classes)
        if int(counts.min()) == 0:
            missing = data.spec.class_names[int(counts.argmin())]
            raise DataError(
                "learning continually", received=f"no {part} rows of class {missing!r}",
                expected=f"{part} rows of every class", remedy="leave that class out of the data, or give it rows",
            )  # fmt: skip
    _require_looks(data, names, config.tasks, seeds)
    require_memory_budget(data, config.nbytes)
    require_usable(data, names, config.nbytes // (row_cost(data) * data.spec.classes), config.network)
    if RESERVOIR in names:
        require_equal_chances(data)


def _require_looks(data: Dataset, names: tuple[str, ...], tasks: int, seeds: tuple[int, ...]) -> None:
    """Raise `DataError` for a task without validation rows, where a memory is distilled: its set is looked at once."""
    recipes = [name for name in names if is_recipe(name)]
    present = set(data.val.labels().tolist())
    for seed in seeds if recipes else ():
        for classes in class_order(data, tasks, seed):
            if present.isdisjoint(classes):
                raise DataError(
                    "learning continually",
                    received="no validation rows of " + ", ".join(repr(data.spec.class_names[c]) for c in classes[:3])
                    + f", the classes of a task with seed {seed}",
                    expected=f"validation rows of every task: {recipes[0]} looks at its set on them",
                    remedy="hold out rows of these classes, or keep real rows, such as random",
                )  # fmt: skip
