"""`auto`: storage, objective, width and labels chosen for the data, the size and the time there is."""

from __future__ import annotations

from dataclasses import replace

from decoct.distillation.recipe import Recipe
from decoct.distillation.recipes.distribution import idm
from decoct.distillation.recipes.real import soft_random
from decoct.distillation.recipes.ridge import rfad, ridge_grid, room_for_scores
from decoct.distillation.recipes.task import Task
from decoct.networks.build import default_network, network
from decoct.networks.count import flops_forward

WIDTHS = (128, 64, 32)
"""Widths to distil with, the widest first."""
STEPS_WANTED = 8000
"""Steps of regression for which a narrower network is taken before a wider one; a choice, not a measured optimum."""
GRID_IPC = 3
"""Images per class up to which four small images with scores do better than anything else in the bytes of one: between
1, where `ridge-grid` led the recipes, and 10, where `rfad` did, or in colour `idm` (on validation and on test rows)."""
REAL_ROWS = 4000
"""Rows of a set from which on real images with soft labels are as good as made ones."""


def auto(task: Task) -> Recipe:
    """The point of the grid that did best at this size in `benchmarks/recipe_table.py`, as wide as the time allows.

    Images: `ridge-grid` up to 3 a class, from 4 on `rfad`, or in colour `idm` as it is: what led the recipes at 1 and
    at 10 after three minutes of one core (figures in docs/results.md; more were not measured in colour). More than 4000
    rows: `soft-random`, since real rows with a teacher's labels are hard to beat there and cost one training.
    Tables of features, images too small for a grid and very many classes: `ridge`. `cpu`: the network is the widest at
    which the measured rate of the machine gives `STEPS_WANTED` steps in the time there is; the index of papers shows
    that for 20 minutes at 1e11 operations a second. `paper`: the same point as its own recipe sets it for a GPU,
    network and number of steps; nothing is measured.

    Expected of `cpu` after 3 minutes of one core, students of width 32: Fashion-MNIST 79.6 ± 1.3 % at 1 a class, 83.9 ±
    1.5 % at 10 a class; MNIST 94.2 ± 3.5 % at 1 a class, 98.0 ± 0.1 % at 10 a class on a slower processor; 10,000
    images of CIFAR-10 40.8 ± 0.7 % at 1 a class, 49.0 ± 0.4 % at 10 a class.
    """
    if task.ipc * task.spec.classes > REAL_ROWS:
        return soft_random(task)
    if task.colour and whole_images(task):
        return idm(task)
    point = rfad(task) if whole_images(task) else ridge_grid(task)
    return point if task.preset == "paper" else replace(point, network=_network(task))


def rows_of_step(task: Task) -> int:
    """Forward passes of a step, roughly: real rows, and three for a synthetic row, six where its network is trained."""
    rows = task.ipc * task.spec.classes
    if whole_images(task):
        return 100 + 3 * rows
    return 100 + 3 * 4 * rows if room_for_scores(task, 2) is not None else 512 + 6 * rows


def whole_images(task: Task) -> bool:
    """Whether images could be shrunk into a grid with scores and do better without."""
    return task.ipc > GRID_IPC and room_for_scores(task, 2) is not None


def _network(task: Task) -> str:
    name = task.asked or default_network(task.spec.shape)
    if task.asked or not name.startswith("convnet"):
        return name
    for width in WIDTHS:
        wide = f"{name}-w{width}"
        flops = flops_forward(network(wide, task.spec.shape, task.spec.classes, 0), task.spec.shape)
        if task.seconds * task.speed() >= STEPS_WANTED * rows_of_step(task) * flops:
            return wide
    return f"{name}-w{WIDTHS[-1]}"
