"""The recipes that differentiate through training."""

from __future__ import annotations

import math

from decoct.distillation.labels.hard import Hard
from decoct.distillation.objective.unroll import Unroll
from decoct.distillation.recipe import ALL_ROWS, Recipe
from decoct.distillation.recipes.task import Task
from decoct.distillation.storage.bases import Bases
from decoct.distillation.storage.pixels import Pixels

BASES, FEW_CLASSES = 16, 10
"""Bases of `rtp` for every image a class, and classes below which so many would leave too little room."""
LONG = {"few": (60, 200), "many": (100, 300), "many, one image": (90, 130)}
"""Window and inner steps of `rat-bptt`: the authors' README for CIFAR-10, for CIFAR-100 and Tiny ImageNet, and for
CIFAR-100 at one image a class."""


def dd(task: Task) -> Recipe:
    """Pixels x unroll x hard, with one learned step size for each inner step.

    Each step trains on its own images, one of each class, in the order of the set: `ipc` steps, three times over.
    `paper`: plain SGD from a step size of 0.02, random initialisations, images from noise, outer Adam 0.01 with betas
    (0.5, 0.999), halved after every tenth of the run (40 of 400 epochs), real batch 1024 (the defaults of the official
    code). The network is the field's ConvNet; the official ones are LeNet for MNIST and a small AlexNet
    (`AlexCifarNet`) for CIFAR. `cpu`: real images to start with, twenty times over for `ipc` 1, for a set of one step
    has nothing to differentiate through.

    Expected of `cpu` after 3 minutes of one core, students of width 32: Fashion-MNIST 69.9 ± 4.0 % at 1 a class, 80.8 ±
    0.5 % at 10 a class.
    """
    paper = task.preset == "paper"
    steps = 3 * task.ipc if paper else max(20, 3 * task.ipc)
    objective = Unroll(
        inner_steps=steps, momentum=0.0, inner_lr=0.02, learn_lr="each", ordered=True,
        real_batch=1024 if paper else 256, augment="no",
    )  # fmt: skip
    return Recipe(
        Pixels(init_from="noise" if paper else "real"), objective, Hard(),
        optimizer="adam", lr=0.01, lr_objective=0.01, betas=(0.5, 0.999), schedule="halved" if paper else "constant",
        rows_per_step=ALL_ROWS, steps=20_000 if paper else 300, augment="", network=task.network(cpu_width=32),
    )  # fmt: skip


def rtp(task: Task) -> Recipe:
    """Bases x unroll x hard.

    `paper`: the command of the official README, which is for one image a class: 16 bases at half resolution, 150 inner
    steps of SGD with momentum 0.9 and step size 0.01 on 32 images a class, one flip or rotation for a whole outer step,
    64 real images a class; outer SGD 0.1 with momentum 0.5, gradient norm at most 2, noise to start with, 500,000
    steps. The README has no command for more images a class: there are 16 bases here for every image a class, so that
    bases and coefficients share the bytes as they do at one (about 114 rows a class of CIFAR-10, 122 at 50), but never
    more bases than a base has values; the rows of a class have no bound. Tables, and data of fewer than 10 classes,
    where 16 leave too little room, have half of the bytes in bases. `cpu`: 30 larger inner steps of a network of width
    16 on two images a class, bases from the principal axes of the data, and large steps of outer Adam.

    Expected of `cpu` after 3 minutes of one core, students of width 32: Fashion-MNIST 75.6 ± 2.0 % at 1 a class
    (published 88.5), 76.9 ± 0.7 % at 10 a class (published 90.0); MNIST 88.4 ± 7.3 % at 1 a class (published 98.7);
    10,000 images of CIFAR-10 30.9 ± 2.3 % at 1 a class.
    """
    if task.preset == "paper":
        objective = Unroll(inner_steps=150, batch_per_class=32, real_batch=64 * task.spec.classes)
        storage = Bases(count=_bases(task), downsample=2, init_from="noise", l2=1e-4, max_per_class=ALL_ROWS)
        return Recipe(
            storage, objective, Hard(),
            optimizer="sgd", lr=0.1, momentum=0.5, clip_norm=2.0, rows_per_step=ALL_ROWS, steps=500_000,
            augment=_turned(task), network=task.network(cpu_width=32),
        )  # fmt: skip
    objective = Unroll(inner_steps=30, inner_lr=0.02, batch_per_class=2, real_batch=256)
    return Recipe(
        Bases(), objective, Hard(),
        optimizer="adam", lr=0.02, clip_ema=2.0, schedule="cosine",
        steps=500, augment=_turned(task), network=task.network(cpu_width=16),
    )  # fmt: skip


def rat_bptt(task: Task) -> Recipe:
    """Pixels x unroll x hard, with a random window.

    `paper`: the official README. Up to 50 classes as CIFAR-10 at 10 images a class: the last 60 of up to 200 inner
    steps of Adam 1e-3 on 10 images a class, real batch 5000, outer Adam 1e-3. More classes as CIFAR-100: the last 100
    of up to 300, or at one image a class 90 of up to 130 with outer steps of 3e-4, on one image a class; from 151
    classes on, as Tiny ImageNet, outer steps of 3e-4 and real batch 2000. Gradient norms above twice their running mean
    are clipped. Images start as noise of L2 norm 1 each, so that a step of Adam weighs what it does there; 600,000
    steps stand for the 60,000 epochs there, which are passes of ten real batches over CIFAR-10. All colour figures of
    the paper have ZCA, which wants data opened with `whiten=True`. Left out: learned labels for many classes
    (`labels="learned"` has them, as softmax), the window that starts at one fixed step (CIFAR-100 at one image a
    class), 50 classes a step (Tiny ImageNet). Two things differ: that mean takes in norms as they were clipped, there
    as they were before; each row is turned or mirrored, one of the two by chance, there all rows of a batch the same.
    `cpu`: the last 10 of up to 20 larger steps (3e-3) and outer steps of 0.03, from real images.

    Expected of `cpu` after 3 minutes of one core, students of width 32: Fashion-MNIST 73.9 ± 1.4 % at 1 a class, 77.9 ±
    0.4 % at 10 a class.
    """
    if task.preset == "paper":
        classes = task.spec.classes
        many = classes > 50
        window, steps = LONG["few" if not many else "many, one image" if task.ipc == 1 else "many"]
        objective = Unroll(
            inner_steps=steps, window=window, optimizer="adam", inner_lr=1e-3, batch_per_class=1 if many else 10,
            real_batch=2000 if classes > 150 else 5000, augment="independent",
        )  # fmt: skip
        return Recipe(
            Pixels(init_from="unit-noise"), objective, Hard(), optimizer="adam",
            lr=3e-4 if classes > 150 or (many and task.ipc == 1) else 1e-3, clip_ema=2.0, rows_per_step=ALL_ROWS,
            steps=600_000, augment=_turned(task), network=task.network(cpu_width=32),
        )  # fmt: skip
    objective = Unroll(
        inner_steps=20, window=10, optimizer="adam", inner_lr=3e-3, batch_per_class=min(task.ipc, 2),
        real_batch=256, augment="independent",
    )  # fmt: skip
    return Recipe(
        Pixels(), objective, Hard(),
        optimizer="adam", lr=0.03, clip_ema=2.0, schedule="cosine",
        steps=500, augment=_turned(task), network=task.network(cpu_width=32),
    )  # fmt: skip


def _bases(task: Task) -> int | None:
    """Bases of the published `rtp` at half resolution; none leaves their number to the storage."""
    if not task.spec.is_image or task.spec.classes < FEW_CLASSES:
        return None
    channels, *sides = task.spec.shape
    return min(BASES * task.ipc, channels * math.prod(-(-side // 2) for side in sides))


def _turned(task: Task) -> str:
    """The augmentation of RTP and RaT-BPTT: images are turned, those in colour mirrored too."""
    if not task.spec.is_image:
        return ""
    return "flip_rotate" if task.colour else "rotate"
