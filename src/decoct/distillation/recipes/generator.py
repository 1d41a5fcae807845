"""The recipe of distillation into the latents of a generator."""

from __future__ import annotations

from decoct.distillation.labels.hard import Hard
from decoct.distillation.objective.distribution import Distribution
from decoct.distillation.recipe import ALL_ROWS, Recipe
from decoct.distillation.recipes.task import Task
from decoct.distillation.storage.generator import Generator


def glad(task: Task) -> Recipe:
    """Generator x distribution x hard.

    GLaD moves the latents of a pre-trained StyleGAN-XL with gradient, distribution or trajectory matching; this is the
    one with distribution matching. The generator here is a small one, trained as an autoencoder on the data before the
    first step; give `storage=Generator(decoder="package.module:factory")` for one of your own. `paper` has the 1000
    iterations of the authors' code, 256 real images per class and a fresh network at every step; step sizes do not
    carry over from StyleGAN's latents to others, so Adam with 0.01 stands in both presets.

    Expected of `cpu` after 3 minutes of one core, students of width 32: Fashion-MNIST 75.3 ± 3.7 % at 1 a class, 77.1 ±
    2.2 % at 10 a class.
    """
    if task.preset == "paper":
        storage = Generator(decoder="small-decoder-w64", train_steps=5000)
        return Recipe(storage, Distribution(), Hard(), optimizer="adam", lr=0.01, rows_per_step=ALL_ROWS, steps=1000)
    objective = Distribution(pool=20, renew_every=4)
    return Recipe(
        Generator(), objective, Hard(), optimizer="adam", lr=0.01, steps=500, network=task.network(cpu_width=32)
    )
