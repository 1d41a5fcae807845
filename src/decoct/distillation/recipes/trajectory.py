"""The recipes of trajectory matching."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from decoct.distillation.labels.hard import Hard
from decoct.distillation.labels.learned import Learned
from decoct.distillation.objective.trajectory import EXPERT, Trajectory
from decoct.distillation.recipe import ALL_ROWS, Recipe
from decoct.distillation.recipes.task import Task
from decoct.distillation.storage.pixels import Pixels
from decoct.training.config import FitConfig
from decoct.training.unroll import Mode

CPU_EXPERT = FitConfig(
    optimizer="sgd", lr=0.05, momentum=0.0, weight_decay=0.0, epochs=8, batch_size=64, schedule="constant"
)
"""Short passes with large steps: eight of them take a narrow network as far as minutes on two cores allow."""
CPU_EXPERTS, CPU_EXPERT_ROWS = 6, 2000
"""Experts on a CPU, and real rows of one of their passes."""
CPU_ROWS = 50
"""Synthetic rows of one inner step on a CPU at most."""
CPU_STEPS = 10
"""Inner steps on a CPU."""
CPU_GRAPH = 200
"""Rows of all inner steps together up to which one graph of them is kept: a third less time, under 300 MB."""


@dataclass(frozen=True)
class Row:
    """One line of a published table; names as in `Trajectory`."""

    inner_steps: int
    expert_epochs: int
    min_start_epoch: int
    max_start_epoch: int
    lr: float
    lr_alpha: float
    alpha: float
    batch: int | None = None
    begin: int | None = None
    grow: float = 0.1
    lr_labels: float = 0.01
    images: Literal["correct", "real"] = "correct"
    """Where images of `datm` start."""

    def objective(self, epochs: int, **changes: object) -> Trajectory:
        settings = Trajectory(
            inner_steps=self.inner_steps, batch=self.batch, expert_epochs=self.expert_epochs,
            min_start_epoch=self.min_start_epoch, max_start_epoch=self.max_start_epoch,
            max_start_epoch_begin=self.begin, grow_share=self.grow, inner_lr=self.alpha, experts=100,
            expert=replace(EXPERT, epochs=epochs),
        )  # fmt: skip
        return replace(settings, **changes)  # type: ignore[arg-type]


MTT = {
    "few": (Row(50, 2, 0, 2, 100.0, 1e-7, 0.01), Row(30, 2, 0, 20, 100.0, 1e-5, 0.001),
            Row(30, 2, 0, 40, 1000.0, 1e-5, 0.001)),
    "hundred": (Row(20, 3, 0, 20, 1000.0, 1e-5, 0.01), Row(20, 2, 0, 20, 1000.0, 1e-5, 0.01),
                Row(80, 2, 0, 40, 1000.0, 1e-5, 0.01, 125)),
    "more": (Row(10, 2, 0, 10, 10_000.0, 1e-4, 0.01), Row(20, 2, 0, 40, 10_000.0, 1e-4, 0.01, 200),
             Row(20, 2, 0, 40, 10_000.0, 1e-4, 0.01, 300)),
}  # fmt: skip
"""CIFAR-10, CIFAR-100 and Tiny ImageNet at 1, 10 and 50 images a class: the authors' README."""

DATM = {
    "few": (Row(80, 2, 0, 4, 100.0, 1e-7, 0.01, 1000, lr_labels=25.0),
            Row(80, 2, 0, 20, 100.0, 1e-5, 0.01, 100, 10, 0.1, lr_labels=10.0),
            Row(80, 2, 0, 40, 1000.0, 1e-5, 0.01, 500, 20, 0.2, lr_labels=10.0)),
    "hundred": (Row(40, 3, 0, 20, 1000.0, 1e-5, 0.01, 1000, 10, 0.1, lr_labels=10.0),
                Row(80, 2, 0, 50, 1000.0, 1e-5, 0.01, 1000, 30, 0.2, lr_labels=50.0),
                Row(80, 2, 20, 70, 1000.0, 1e-5, 0.01, 1000, lr_labels=50.0, images="real")),
    "more": (Row(40, 2, 0, 20, 10_000.0, 1e-4, 0.01, 1000, 15, 0.1, lr_labels=50.0),
             Row(40, 2, 10, 50, 100.0, 1e-4, 0.01, 500, lr_labels=50.0),
             Row(20, 2, 40, 70, 100.0, 1e-4, 0.01, 1000, lr_labels=50.0)),
}  # fmt: skip
"""The same cells: the configs of the authors' repository, the growth of ipc 1 with 100 and 200 classes from its README;
it takes 1000 or 2000 of 10,000 steps there, and the same share of a run here. Labels have momentum 0.9 there and that
of the images, 0.5, here, so their step size is 5 times the published one."""
DATM_MANY = Row(40, 2, 40, 60, 50.0, 1e-5, 0.01, 1000, lr_labels=50.0)
"""500 images a class and more (CIFAR-10)."""


def published(table: dict[str, tuple[Row, Row, Row]], task: Task) -> Row:
    """The line for so many classes and images: up to 50 classes as CIFAR-10, up to 150 as CIFAR-100, then as Tiny
    ImageNet; 1 image a class, up to 10, and more."""
    classes = task.spec.classes
    lines = table["few" if classes <= 50 else "hundred" if classes <= 150 else "more"]
    return lines[0 if task.ipc == 1 else 1 if task.ipc <= 10 else 2]


def mtt(task: Task) -> Recipe:
    """Pixels x trajectory x hard labels, through the whole unroll.

    `paper`: the table of the authors (https://github.com/GeorgeCazenavette/mtt-distillation), 100 experts of 50
    passes, 5000 steps of SGD with momentum 0.5; the gradient is the full one in constant memory. Their cells with
    ZCA want data opened with `whiten=True`. `cpu`: see `_cpu`.

    Expected of `cpu` after 3 minutes of one core, students of width 32: Fashion-MNIST 73.3 ± 2.5 % at 1 a class
    (published 75.1), 80.5 ± 1.4 % at 10 a class (published 87.2).
    """
    if task.preset == "cpu":
        return _cpu(task)
    row = published(MTT, task)
    return Recipe(
        Pixels(), row.objective(50), Hard(), optimizer="sgd", lr=row.lr, lr_objective=row.lr_alpha,
        rows_per_step=ALL_ROWS, steps=5000, network=task.network(32),
    )  # fmt: skip


def tesla(task: Task) -> Recipe:
    """Pixels x trajectory x hard labels, first order.

    `paper`: the README of https://github.com/justincui03/tesla where it names a cell (CIFAR-10 at 1 image a class:
    starts up to epoch 5, image step size 1000), MTT's table elsewhere with `alpha` from 0.01; 10,000 steps. Image
    step sizes are halved, since the published ones go with a gradient that lost its factor 2. Soft labels of an
    expert, published for ImageNet, are `labels="teacher"`. `cpu`: see `_cpu`.

    Expected of `cpu` after 3 minutes of one core, students of width 32: Fashion-MNIST 73.0 ± 2.9 % at 1 a class, 79.0 ±
    1.1 % at 10 a class.
    """
    if task.preset == "cpu":
        return _cpu(task, "first-order")
    row = replace(published(MTT, task), alpha=0.01)
    if task.spec.classes <= 50 and task.ipc == 1:
        row = replace(row, max_start_epoch=5, lr=1000.0)
    return Recipe(
        Pixels(), row.objective(50, mode="first-order"), Hard(), optimizer="sgd", lr=row.lr / 2,
        lr_objective=row.lr_alpha, rows_per_step=ALL_ROWS, steps=10_000, network=task.network(32),
    )  # fmt: skip


def datm(task: Task) -> Recipe:
    """Pixels x trajectory x learned labels, with a window of start epochs that grows.

    `paper`: the configs of https://github.com/NUS-HPC-AI-Lab/DATM, 100 flat experts of 100 passes (adaptive SAM with
    radius 0.01), 10,000 steps; the window grows over the same share of a run of any length. Images start as real ones
    that an expert classifies right (any real ones for CIFAR-100 at 50 a class, as there), labels at the mean logits of
    the experts that are right about the image. Their cells have ZCA, which wants data opened with `whiten=True`. `cpu`:
    see `_cpu`; the window grows over half the run, images start as any real ones and labels as their classes: in so few
    steps, with so few and young experts, the starts of `paper` did worse on validation at both sizes.

    Expected of `cpu` after 3 minutes of one core, students of width 32: Fashion-MNIST 72.7 ± 2.9 % at 1 a class, 80.9 ±
    1.1 % at 10 a class.
    """
    if task.preset == "cpu":
        point = _cpu(task)
        assert isinstance(point.objective, Trajectory)
        growing = replace(point.objective, max_start_epoch_begin=2, grow_share=0.5)
        return replace(point, objective=growing, labels=Learned())
    row = DATM_MANY if task.ipc >= 500 and task.spec.classes <= 50 else published(DATM, task)
    objective = row.objective(100, sam_radius=0.01, sam_adaptive=True)
    return Recipe(
        Pixels(init_from=row.images), objective, Learned(teacher="experts"),
        optimizer="sgd", lr=row.lr, lr_labels=row.lr_labels, lr_objective=row.lr_alpha,
        rows_per_step=ALL_ROWS, steps=10_000, network=task.network(32),
    )  # fmt: skip


def _cpu(task: Task, mode: Mode | None = None) -> Recipe:
    """Minutes on two cores: a narrow network, six experts of eight passes over 2000 rows (about a minute in all),
    short unrolls with few rows, Adam for the images. `mode` is the faster exact one by default. Fewer experts where
    six would take more than half of a time budget.
    """
    name = task.network(32)
    # Short passes in batches of 64, augmented, cost twice what a row of a long training does.
    experts = task.passes(CPU_EXPERTS, task.asked or name, rows=2 * CPU_EXPERT.epochs * CPU_EXPERT_ROWS)
    rows = min(CPU_ROWS, task.spec.classes * task.ipc)
    objective = Trajectory(
        mode=mode or ("full" if rows * CPU_STEPS <= CPU_GRAPH else "recompute"),
        inner_steps=CPU_STEPS, batch=CPU_ROWS, expert_epochs=1, max_start_epoch=4 if task.ipc == 1 else 6,
        inner_lr=0.03, experts=experts, expert=CPU_EXPERT, expert_rows=CPU_EXPERT_ROWS,
    )  # fmt: skip
    return Recipe(
        Pixels(), objective, Hard(), optimizer="adam", lr=0.05, lr_objective=5e-4, steps=500,
        network=name,
    )  # fmt: skip
