"""The recipes of gradient matching."""

from __future__ import annotations

from dataclasses import replace

from decoct.data.transform import Standardise
from decoct.distillation.apprentice import loops
from decoct.distillation.labels.hard import Hard
from decoct.distillation.objective.gradient import Gradient
from decoct.distillation.recipe import ALL_ROWS, Recipe
from decoct.distillation.recipes.task import Task
from decoct.distillation.storage.multiformation import Multiformation
from decoct.distillation.storage.pixels import Pixels

NETWORKS = 1000
"""Networks of a published run of DC and DSA; IDC takes twice as many."""
MANY_CLASSES = 50
"""Classes in one step of a `cpu` preset at most; more are drawn in turn."""
GRAY_WHOLE = 50
"""Images a class from which `idc` stores gray ones whole."""
ROWS_PER_CLASS = 10
"""Decoded rows of a class in one step of a `cpu` preset at most."""


def dc(task: Task) -> Recipe:
    """Pixels x gradient x hard, without augmentation.

    `paper`: from noise, step size 0.1, momentum 0.5, 256 real images per class, 1000 networks with the authors' loops
    by ipc; CIFAR-10 28.3 / 44.9 / 53.9 %, Fashion-MNIST 70.5 / 82.3 / 83.6 % (README of the authors). `cpu`: as `dsa`.

    Expected of `cpu` after 3 minutes of one core, students of width 32: Fashion-MNIST 71.0 ± 1.9 % at 1 a class
    (published 70.5), 80.7 ± 1.5 % at 10 a class (published 82.3).
    """
    if task.preset == "paper":
        return _published(task, Pixels(init_from="noise"), augment="")
    return _small(task, augment="")


def dsa(task: Task) -> Recipe:
    """Pixels x gradient x hard, with one augmentation for each class, shared by its real and its synthetic images.

    `paper`: from real images, else as `dc`; CIFAR-10 28.8 / 52.1 / 60.6 %, Fashion-MNIST 70.6 / 84.6 / 88.7 % (README
    of the authors). `cpu`: a network of width 32, 64 real images per class, a pool of 10 networks of which one is
    renewed every 4 steps, 5 epochs of training between networks, larger steps; about 1000 steps in 3 minutes on one
    core at ipc 1, 400 at ipc 10.

    Expected of `cpu` after 3 minutes of one core, students of width 32: Fashion-MNIST 70.9 ± 1.4 % at 1 a class
    (published 70.6), 80.3 ± 1.7 % at 10 a class (published 84.6).
    """
    if task.preset == "paper":
        return _published(task, Pixels(), augment="auto")
    return _small(task, augment="auto")


def _published(task: Task, storage: Pixels, augment: str) -> Recipe:
    outer, _ = loops(task.ipc)
    return Recipe(
        storage, Gradient(), Hard(),
        optimizer="sgd", lr=0.1, momentum=0.5, rows_per_step=ALL_ROWS, steps=NETWORKS * outer, augment=augment,
        network=task.network(32),
    )  # fmt: skip


def _small(task: Task, augment: str) -> Recipe:
    objective = Gradient(
        real_per_class=64, pool=10, renew_every=4, outer_loops=min(10, loops(task.ipc)[0]), inner_epochs=5, net_lr=0.02,
        net_momentum=0.9, classes_per_step=min(MANY_CLASSES, task.spec.classes),
    )  # fmt: skip
    return Recipe(
        Pixels(), objective, Hard(),
        optimizer="sgd", lr=5.0 if task.ipc < 10 else 1.0, momentum=0.5, schedule="cosine", steps=1000,
        rows_per_step=ROWS_PER_CLASS * task.spec.classes, augment=augment, network=task.network(32),
    )  # fmt: skip


def idc(task: Task) -> Recipe:
    """Multiformation (2 x 2) x gradient x hard: networks trained on real images, distance of plain differences.

    `paper`: 2000 networks, each trained for 100 image steps on 2000 (colour) or 500 (gray) real images a step, batches
    of 64 with CutMix half of the time; squared (colour) or absolute (gray) differences of the gradients of
    convolutions; step size 5e-3 or 1e-4 times ipc / 10 in units of pixels in [0, 1], here divided by the square of
    the data's standard deviation; 64 real images per class (the authors' `--reproduce`). CIFAR-10 50.6 / 67.5 /
    74.5 %, Fashion-MNIST 81.0 / 86.0 / 86.2 % (README of the authors), whose grid helps there at 1 and 10 images a
    class (70.7 / 85.3 % without it) and hurts at 50 (89.1 %): gray images are stored whole from 50 a class on, though
    MNIST would gain 0.3 there, and `storage="multiformation"` keeps the grid. Their code brings pixels back into [0, 1]
    before each fresh network; here they are free. `cpu`: width 32, 10 image steps a network on 512 real images each,
    the pool of `dsa`, Adam, whose step does not hang on the size of the distance; about 800 steps in 3 minutes on one
    core. Features, which have no parts, are stored as they are.

    Expected of `cpu` after 3 minutes of one core, students of width 32: Fashion-MNIST 76.4 ± 2.5 % at 1 a class
    (published 81.0), 77.7 ± 1.1 % at 10 a class (published 86.0); MNIST 94.3 ± 0.1 % at 1 a class (published 94.2);
    10,000 images of CIFAR-10 34.6 ± 1.5 % at 1 a class.
    """
    images, small = task.spec.is_image, task.preset == "cpu"
    grid = images and (task.colour or task.ipc < GRAY_WHOLE)
    objective = Gradient(
        metric="mse" if task.colour else "l1", real_per_class=64, train_on="real", net_momentum=0.9,
        net_weight_decay=5e-4, net_batch=64, cutmix=0.5 if images else 0.0, every_family=True, match_linear=False,
        outer_loops=100, inner_rows=2000 if task.colour else 500,
    )  # fmt: skip
    if small:
        few = min(MANY_CLASSES, task.spec.classes)
        objective = replace(objective, outer_loops=10, inner_rows=512, pool=10, renew_every=4, classes_per_step=few)
    scale = 5e-3 if task.colour else 1e-4
    return Recipe(
        Multiformation() if grid else Pixels(), objective, Hard(),
        optimizer="adam" if small else "sgd", momentum=0.5, schedule="cosine" if small else "constant",
        lr=0.03 if small else scale * task.ipc / 10 / _spread(task) ** 2,
        steps=800 if small else 2 * NETWORKS * 100,
        rows_per_step=(ROWS_PER_CLASS if small else 128) * task.spec.classes,
        augment="color_crop_cutout" if images else "", network=task.network(32),
    )  # fmt: skip


def _spread(task: Task) -> float:
    """The standard deviation of a pixel in [0, 1], or 1 where inputs are not pixels on a scale."""
    transform = task.spec.transform
    return float(transform.std.mean()) if isinstance(transform, Standardise) and task.spec.is_image else 1.0
