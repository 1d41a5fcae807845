"""The recipes that keep real pixels and let a teacher do the rest."""

from __future__ import annotations

from decoct.distillation.labels.teacher import Teacher
from decoct.distillation.objective.nothing import Nothing
from decoct.distillation.recipe import Recipe
from decoct.distillation.recipes.task import Task
from decoct.distillation.storage.patches import Patches
from decoct.distillation.storage.pixels import Pixels

CPU_EPOCHS = 8
"""Passes of a teacher on a CPU, or fewer where the time of the run does not allow so many."""


def soft_random(task: Task) -> Recipe:
    """Pixels x none x teacher: random real images with labels of the expert that teaches a student best.

    The paper picks the expert's epoch for every number of images (CIFAR-10: epoch 20, 44, 128 and 164 for 1, 10, 50 and
    100 images a class, https://github.com/sunnytqin/no-distillation) on test data; here a short student picks it on
    the validation split, out of 8 between the first and the 200th in `paper`, out of 5 up to the 8th
    in `cpu`, or up to an earlier one where a time budget is short for the machine.

    Expected of `cpu` after 3 minutes of one core, students of width 32: Fashion-MNIST 56.0 ± 1.1 % at 1 a class, 80.2 ±
    0.7 % at 10 a class.
    """
    name = task.network(32)
    if task.preset == "cpu":
        teacher = Teacher(epochs=task.passes(CPU_EPOCHS, task.asked or name, share=1.0), epoch="student")
    else:
        teacher = Teacher(200, epoch="student", candidates=8)
    return Recipe(Pixels(), Nothing(), teacher, network=name)


def rded(task: Task) -> Recipe:
    """Patches x none x teacher: the crops an expert is surest of, with its labels.

    300 images a class and 5 crops of each, whole crops below 128 pixels and grids of 2 x 2 from there on, as in the
    authors' scripts (https://github.com/LINs-lab/RDED/tree/main/scripts). They keep the expert beside the student for
    300 epochs of crops of one patch and more, flips and CutMix at temperature 20; `paper` stores its labels of as many
    such views instead (patches are not shuffled in them), `cpu` those of the crops alone.

    Expected of `cpu` after 3 minutes of one core, students of width 32: Fashion-MNIST 68.1 ± 1.5 % at 1 a class, 77.7 ±
    1.3 % at 10 a class.
    """
    factor = 1 if max(task.spec.shape[1:], default=0) < 128 else 2
    if task.preset == "cpu":
        name = task.network(32)
        passes = task.passes(CPU_EPOCHS, task.asked or name, share=1.0)
        patches = Patches(factor=factor, epochs=passes)
        return Recipe(patches, Nothing(), Teacher(epochs=passes, epoch="student"), network=name)
    teacher = Teacher(
        epochs=200, temperature=20.0, views=300, crop=1 / factor, strategy="flip" if task.colour else "", mix="cutmix"
    )
    return Recipe(Patches(factor=factor, epochs=200), Nothing(), teacher, network=task.network(32))
