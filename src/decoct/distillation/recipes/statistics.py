"""The recipes that recover images from the statistics of trained networks."""

from __future__ import annotations

from decoct.distillation.labels.teacher import Teacher
from decoct.distillation.layer_statistics import Which
from decoct.distillation.objective.statistics import Statistics, with_batchnorm
from decoct.distillation.recipe import Recipe
from decoct.distillation.recipes.task import Task
from decoct.distillation.storage.pixels import Pixels

SMALL, LARGE = 64, 128
"""Shorter sides from which the papers' settings for 64 x 64 and for 224 x 224 images are taken."""


def sre2l(task: Task) -> Recipe:
    """Pixels from noise x statistics x labels of the squeezed network.

    `paper`: ResNet-18, Adam (0.5, 0.9) down a cosine; 224 pixels: step size 0.25, weight 0.01, 4000 steps, crops of 8 %
    and more, shifts of 32 pixels; 64 pixels: 0.1, 1 and 4 pixels; below: 0.25, 0.01, 1000 steps, shifts alone
    (https://github.com/VILA-Lab/SRe2L). `cpu`: a ConvNet of width 32 with batch normalisation, milder
    crops and weight 1.

    Expect less than from random images where images are few and small. Fashion-MNIST at 10 a class, one short student
    on the validation split: 59 % after 150 `cpu` steps from noise (47 % without crops, or at weight 0.1); 79 % on
    random images with the same teacher's labels, 75 % where 150 smaller steps began from those. Published for
    CIFAR-10 at 10 a class with ResNet-18: 27.2 %.
    """
    if task.preset == "cpu":
        return _narrow(task, Statistics(backbones=_backbones(task), **CPU), steps=400)
    side = _side(task)
    if side >= SMALL:
        lr, weight = (0.25, 0.01) if side >= LARGE else (0.1, 1.0)
        objective = Statistics(backbones=_backbones(task), epochs=PAPER_EPOCHS, bn_weight=weight, roll=_roll(task))
        return _published(task, objective, lr=lr, steps=4000)
    objective = Statistics(backbones=_backbones(task), epochs=PAPER_EPOCHS, crop=(1.0, 1.0), roll=_roll(task))
    return _published(task, objective, lr=0.25, steps=1000, augment="crop")


def cda(task: Task) -> Recipe:
    """SRe2L whose crops are whole images at first and grow smaller along a cosine over the whole run.

    `paper`: 224 pixels: step size 0.25, weight 0.01; 64 pixels and below: 0.4 and 0.05; 4000 steps
    (https://github.com/VILA-Lab/SRe2L, folder CDA; the authors have no setting below 64 pixels).
    """
    if task.preset == "cpu":
        return _narrow(task, Statistics(backbones=_backbones(task), curriculum=400, **CPU), steps=400)
    lr, weight = (0.25, 0.01) if _side(task) >= LARGE else (0.4, 0.05)
    steps = _steps(task, 4000)
    objective = Statistics(
        backbones=_backbones(task), epochs=PAPER_EPOCHS, bn_weight=weight, curriculum=steps, roll=_roll(task)
    )
    return _published(task, objective, lr=lr, steps=4000)


def gvbsm(task: Task) -> Recipe:
    """SRe2L with several backbones, statistics of convolutions beside those of BatchNorm, and densification.

    `paper`: step size 0.05, weight 0.01, densification 1, momentum 0.8, 4000 steps, shifts of a whole side
    (https://github.com/shaoshitong/G_VBSM_Dataset_Condensation, CIFAR-10); backbones are this package's own, labels
    come from the first of them where the authors average all.
    """
    main = _backbones(task)[0]
    if task.preset == "cpu":
        others = (f"{main}-leaky", f"{main}-max") if task.spec.is_image and main != "mlp" else ()
        squeezed = {**CPU, "epochs": SHARED_EPOCHS}
        objective = Statistics(
            backbones=(main, *others), statistics_of=_both(main), densify=0.1, momentum=0.8, **squeezed
        )
        return _narrow(task, objective, steps=400)
    own = with_batchnorm(task.network(32), task.spec.shape, task.spec.classes)
    others = (own, "resnet10", "vgg11") if task.spec.is_image and main != "mlp" else ()
    objective = Statistics(
        backbones=(main, *others), epochs=PAPER_EPOCHS, statistics_of=_both(main), crop=(0.5, 1.0),
        roll=_side(task) - 1, densify=1.0, momentum=0.8,
    )  # fmt: skip
    return _published(task, objective, lr=0.05, steps=4000)


PAPER_EPOCHS = 50
"""Passes to train a teacher; the authors take 200 at most, or networks that others trained."""
CPU_EPOCHS = 5
SHARED_EPOCHS = 2
"""The same for each of three backbones, which would take all of a few minutes otherwise."""
CPU = {"epochs": CPU_EPOCHS, "bn_weight": 1.0, "crop": (0.5, 1.0)}


def _side(task: Task) -> int:
    return min(task.spec.shape[1:], default=1)


def _roll(task: Task) -> int:
    return 32 if _side(task) >= LARGE else 4


def _both(network: str) -> Which:
    return "auto" if network == "mlp" else "both"


def _backbones(task: Task) -> tuple[str]:
    """ResNet-18 for `paper`, else the field's ConvNet with batch normalisation; features get an MLP."""
    name = task.network(cpu_width=32)
    if task.preset == "paper" and name != "mlp":
        name = "resnet18"
    return (with_batchnorm(name, task.spec.shape, task.spec.classes),)


def _steps(task: Task, steps: int) -> int:
    """So many steps for every row, where a step holds a sample of them."""
    share = max(1, _rows_per_step(task) // task.spec.classes)
    return steps * -(-task.ipc // share)


def _rows_per_step(task: Task) -> int:
    return 100 if _side(task) >= SMALL else 2000


def _published(task: Task, objective: Statistics, *, lr: float, steps: int, augment: str = "auto") -> Recipe:
    labels = Teacher(network=objective.backbones[0], epochs=objective.epochs)
    return Recipe(
        Pixels(init_from="noise", clamp=True), objective, labels,
        lr=lr, betas=(0.5, 0.9), schedule="cosine", steps=_steps(task, steps), rows_per_step=_rows_per_step(task),
        augment=augment, network=objective.backbones[0],
    )  # fmt: skip


def _narrow(task: Task, objective: Statistics, *, steps: int) -> Recipe:
    labels = Teacher(network=objective.backbones[0], epochs=objective.epochs)
    return Recipe(
        Pixels(init_from="noise", clamp=True), objective, labels,
        lr=0.1, betas=(0.5, 0.9), schedule="cosine", steps=steps, network=task.network(cpu_width=32),
    )  # fmt: skip
