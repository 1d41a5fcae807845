"""The recipe of characteristic functions."""

from __future__ import annotations

from decoct.distillation.labels.hard import Hard
from decoct.distillation.objective.characteristic import Characteristic
from decoct.distillation.queue import QueueConfig
from decoct.distillation.recipe import ALL_ROWS, Recipe
from decoct.distillation.recipes.distribution import grid_of_four
from decoct.distillation.recipes.task import Task


def ncfm(task: Task) -> Recipe:
    """Multi-formation x characteristic x hard.

    `paper` has the settings of the official configuration for CIFAR-10: 1024 real images a class, 4096 frequencies, 20
    networks, 20,000 steps, Adam with a step of 0.001 in pixels between 0 and 1, which is 0.004 in inputs of unit
    deviation. It differs in five things: that configuration augments by colour, crop and cutout alone, where the usual
    six families of DSA stand here; it lowers the step size where the loss stays (`ReduceLROnPlateau`), here it is
    constant; it keeps pixels between 0 and 1, here they are free; it has AdamW with a weight decay of 0.01 for the
    images, here nothing decays; and one of its steps is a step of the optimiser for each class by the matching, then
    one for each class by the cross-entropy, here all of these are one. Published there (with students of 2000 passes):
    49.5, 71.8 and 77.4 % at 1, 10 and 50 images a class. `cpu` keeps a short queue whose real features are reused until
    a network is trained again.

    Expected of `cpu` after 3 minutes of one core, students of width 32: Fashion-MNIST 77.7 ± 0.9 % at 1 a class, 80.5 ±
    0.6 % at 10 a class; MNIST 94.7 ± 1.5 % at 1 a class; 10,000 images of CIFAR-10 33.6 ± 0.6 % at 1 a class, 45.0 ±
    1.1 % at 10 a class.
    """
    if task.preset == "paper":
        return Recipe(
            grid_of_four(task),
            Characteristic(),
            Hard(),
            optimizer="adam",
            lr=0.004,
            rows_per_step=ALL_ROWS,
            steps=20_000,
        )
    queue = QueueConfig(
        size=6, start=6, renew_every=200, trained_per_step=1, train_every=10, train_steps=10, warm_steps=60, batch=128
    )
    objective = Characteristic(real_per_class=128, frequencies=512, queue=queue, keep_real=True)
    return Recipe(
        grid_of_four(task), objective, Hard(),
        optimizer="adam", lr=0.02, schedule="cosine", steps=1000, network=task.network(cpu_width=32),
    )  # fmt: skip
