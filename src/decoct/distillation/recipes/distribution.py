"""The recipes of distribution matching."""

from __future__ import annotations

from decoct.distillation.axes import Storage
from decoct.distillation.labels.hard import Hard
from decoct.distillation.objective.distribution import Distribution
from decoct.distillation.queue import QueueConfig
from decoct.distillation.recipe import ALL_ROWS, Recipe
from decoct.distillation.recipes.task import Task
from decoct.distillation.storage.multiformation import Multiformation
from decoct.distillation.storage.pixels import Pixels


def dm(task: Task) -> Recipe:
    """Pixels x distribution x hard.

    The paper's step size (1.0, 10 from 100 images per class on; momentum 0.5) and 256 real images per class. `paper`
    draws a fresh network at each of 20,000 steps; `cpu` renews a pool of networks of width 64 whose class means are
    kept, which is what makes minutes on two cores enough.

    Expected of `cpu` after 3 minutes of one core, students of width 32: Fashion-MNIST 71.3 ± 2.0 % at 1 a class
    (published 70.7), 80.6 ± 0.5 % at 10 a class (published 83.5); MNIST 96.1 ± 0.3 % at 10 a class (published 97.5) on
    a slower processor; 10,000 images of CIFAR-10 41.9 ± 0.7 % at 10 a class.
    """
    lr = 1.0 if task.ipc < 100 else 10.0
    if task.preset == "paper":
        return Recipe(Pixels(), Distribution(), Hard(), optimizer="sgd", lr=lr, rows_per_step=ALL_ROWS, steps=20_000)
    return Recipe(
        Pixels(), Distribution(pool=20, renew_every=4), Hard(),
        optimizer="sgd", lr=lr, steps=2000, network=task.network(cpu_width=64),
    )  # fmt: skip


def idm(task: Task) -> Recipe:
    """Multi-formation x distribution under a queue of trained networks x hard.

    `paper` has the settings of the official commands for CIFAR: SGD with step 0.2 and momentum 0.5, 20,000 steps, 256
    real images a class (5000 at one image a class), a queue of up to 100 networks, a fresh one every 30 steps (5), two
    of them trained at every step for 10 of SGD (50 at 10 images a class of 100 classes), and a cross-entropy weight of
    0.5 (0.1 from 50 images a class on, or 10 of 100 classes), which there multiplies an accuracy in percent and so is
    50 (10) here. Published: 45.6, 58.6 and 67.5 % at 1, 10 and 50 images a class of CIFAR-10. `cpu` keeps a short queue
    whose class means are reused until a network is trained again. From two images a class on it takes Adam and a tenth
    of the cross-entropy, which do better on validation rows: each image moves a class mean by so much less, while the
    cross-entropy moves it as much as ever, away from what teaches others.

    Expected of `cpu` after 3 minutes of one core, students of width 32: Fashion-MNIST 76.3 ± 0.9 % at 1 a class, 78.5 ±
    0.5 % at 10 a class; MNIST 91.6 ± 1.2 % at 1 a class; 10,000 images of CIFAR-10 40.2 ± 0.8 % at 1 a class, 47.9 ±
    0.3 % at 10 a class.
    """
    few = task.ipc == 1
    light = task.ipc >= 50 or (task.ipc >= 10 and task.spec.classes >= 100)
    weight = 10.0 if light else 50.0
    if task.preset == "paper":
        longer = task.spec.classes >= 100 and 10 <= task.ipc < 50
        queue = QueueConfig(renew_every=5 if few else 30, train_steps=50 if longer else 10)
        objective = Distribution(networks="queue", real_per_class=5000 if few else 256, queue=queue, ce_weight=weight)
        return Recipe(
            grid_of_four(task), objective, Hard(), optimizer="sgd", lr=0.2, rows_per_step=ALL_ROWS, steps=20_000
        )
    queue = QueueConfig(
        size=6, start=6, renew_every=200, trained_per_step=1, train_every=10, train_steps=10, warm_steps=60, batch=128
    )
    weight = weight if few else weight / 10
    objective = Distribution(networks="queue", queue=queue, ce_weight=weight, keep_real=True)
    return Recipe(
        grid_of_four(task), objective, Hard(),
        optimizer="sgd" if few else "adam", lr=0.2 if few else 0.02, schedule="cosine", steps=1500,
        network=task.network(cpu_width=32),
    )  # fmt: skip


def grid_of_four(task: Task) -> Storage:
    """Four half-size images in every stored one; tables, and images below 16 pixels, are stored as they are."""
    fits = task.spec.is_image and min(task.spec.shape[1:]) >= 16
    return Multiformation(2) if fits else Pixels()
