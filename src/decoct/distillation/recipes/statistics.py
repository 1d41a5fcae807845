"""The recipes that recover images from the statistics of trained networks, and label them by the same networks.

The network that is asked for is the one that real data are squeezed into and that labels, with batch normalisation:
a family that has it as an option gets it (`convnet3` becomes `convnet3-bn`). `paper` stores labels of 300 augmented
views at temperature 20, `cpu` those of the images alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from decoct.distillation.labels.teacher import Teacher
from decoct.distillation.layer_statistics import Which, batchnorms
from decoct.distillation.objective.statistics import Statistics, with_batchnorm
from decoct.distillation.recipe import Recipe
from decoct.distillation.recipes.task import Task
from decoct.distillation.storage.pixels import Pixels
from decoct.errors import ConfigError
from decoct.networks.build import network

SMALL, LARGE = 64, 128
"""Shorter sides from which the papers' settings for 64 x 64 and for 224 x 224 images are taken."""


def sre2l(task: Task) -> Recipe:
    """Pixels from noise x statistics x labels of the squeezed network.

    `paper`: ResNet-18, Adam (0.5, 0.9) down a cosine; 224 pixels: step size 0.25, weight 0.01, 4000 steps, crops of 8 %
    and more, shifts of 32 pixels; 64 pixels: 0.1, 1 and 4 pixels; below: 0.25, 0.01, 1000 steps, shifts alone
    (https://github.com/VILA-Lab/SRe2L). From 64 pixels on a step holds 100 rows, one of each of 100 classes drawn anew
    where there are more, and there are as many steps as give every row its 4000 visits. Labels: 300 views, a random
    resized crop of 8 % and more, a flip where there are colours, CutMix, temperature 20; below 64 pixels 400 views,
    mixup, temperature 30. They weigh two bytes a class, row and view, which is more than the images. Below 64 pixels
    two things differ from the authors' code: a row of a view is shifted or flipped, one of the two by chance, where
    theirs are both, and shares of mixup are drawn from Beta(1, 1), theirs from Beta(0.8, 0.8). `cpu`: a ConvNet of
    width 32 with batch normalisation, milder crops and weight 1, labels of the images alone.

    Expect less than from random images with a teacher's labels (`soft-random`) where images are few and small: on
    validation rows steps from those made them worse, and without crops or at a smaller weight images from noise were
    worse still. Published for CIFAR-10 at 10 a class with ResNet-18: 27.2 %.

    Of a time budget the teacher takes about half at most: on a slow machine it does fewer passes.
    `cpu` has no views because bytes count: the labels of 30 views weigh as much as several times the images, and in a
    small trial on digits more images without views did better in the same bytes.

    Expected of `cpu` after 3 minutes of one core, students of width 32: Fashion-MNIST 50.8 ± 4.3 % at 1 a class on a
    slower processor, 62.4 ± 3.0 % at 10 a class.
    """
    if task.preset == "cpu":
        return _narrow(task, Statistics(**_short(task, CPU_EPOCHS, _squeezed(task))), steps=400)
    side, backbones = _side(task), (_squeezed(task),)
    if side >= SMALL:
        lr, weight = (0.25, 0.01) if side >= LARGE else (0.1, 1.0)
        objective = Statistics(backbones=backbones, epochs=PAPER_EPOCHS, bn_weight=weight, roll=_roll(task))
        return _published(task, objective, lr=lr, steps=4000)
    objective = Statistics(backbones=backbones, epochs=PAPER_EPOCHS, crop=(1.0, 1.0), roll=_roll(task))
    recipe = _published(task, objective, lr=0.25, steps=1000, augment="crop")
    if not task.spec.is_image:
        return recipe
    strategy = "crop_flip" if task.colour else "crop"
    return replace(recipe, labels=_taught(objective, views=400, strategy=strategy, mix="mixup", temperature=30.0))


def cda(task: Task) -> Recipe:
    """SRe2L whose crops are whole images at first and grow smaller along a cosine over the whole run.

    `paper`: 224 pixels: step size 0.25, weight 0.01; 64 pixels and below: 0.4 and 0.05; 4000 steps
    (https://github.com/VILA-Lab/SRe2L, folder CDA; the authors have no setting below 64 pixels). Labels as `sre2l` has
    them from 64 pixels on.

    Expected of `cpu` after 3 minutes of one core, students of width 32: Fashion-MNIST 41.8 ± 8.5 % at 1 a class on a
    slower processor, 56.4 ± 6.5 % at 10 a class.
    """
    if task.preset == "cpu":
        return _narrow(task, Statistics(curriculum=1.0, **_short(task, CPU_EPOCHS, _squeezed(task))), steps=400)
    lr, weight = (0.25, 0.01) if _side(task) >= LARGE else (0.4, 0.05)
    objective = Statistics(
        backbones=(_squeezed(task),), epochs=PAPER_EPOCHS, bn_weight=weight, curriculum=1.0, roll=_roll(task)
    )
    return _published(task, objective, lr=lr, steps=4000)


def gvbsm(task: Task) -> Recipe:
    """SRe2L with several backbones, statistics of convolutions beside those of BatchNorm, and densification.

    `paper`: step size 0.05, weight 0.01, densification 1, momentum 0.8, each convolution left out of 0.4 of the steps,
    4000 steps, shifts of a whole side (https://github.com/shaoshitong/G_VBSM_Dataset_Condensation, CIFAR-10); backbones
    are this package's own; rows are cropped to half their area and more, where the authors shift by 4 pixels. Labels
    are in `paper` the mean logits of all backbones for 300 views with crops as in recovery and CutMix, which students
    fit by squared error beside 0.1 of the cross-entropy of the class, as the authors' do; in `cpu` the mean
    probabilities, which can stand beside hard labels. A network that is asked for is the first of the backbones. Where
    a time budget is too short for a pass of each, `cpu` has fewer.

    Expected of `cpu` after 3 minutes of one core, students of width 32: Fashion-MNIST 50.8 ± 2.1 % at 1 a class, 67.7 ±
    2.0 % at 10 a class.
    """
    own = with_batchnorm(task.network(32), task.spec.shape, task.spec.classes)
    several = task.spec.is_image and own != "mlp"
    if task.preset == "cpu":
        others = (f"{own}-leaky", f"{own}-max") if several else ()
        squeezed = _short(task, SHARED_EPOCHS, *task.fitting(*_first(task, *others)))
        objective = Statistics(statistics_of=_both(own), densify=0.1, momentum=0.8, **squeezed)
        return _narrow(task, objective, steps=400)
    others = (own, "resnet10", "vgg11") if several else ()
    objective = Statistics(
        backbones=_first(task, *others), epochs=PAPER_EPOCHS, statistics_of=_both(own), crop=(0.5, 1.0),
        roll=_side(task) - 1, densify=1.0, momentum=0.8, drop=0.4,
    )  # fmt: skip
    recipe = _published(task, objective, lr=0.05, steps=4000)
    labels = replace(recipe.labels, mean="logits", class_weight=0.1, temperature=1.0)  # pyright: ignore
    return replace(recipe, labels=labels)


PAPER_EPOCHS = 50
"""Passes to train a teacher; the authors take 200 at most, or networks that others trained."""
CPU_EPOCHS = 5
SHARED_EPOCHS = 2
"""The same for each of three backbones, which would take all of a few minutes otherwise."""


def _short(task: Task, passes: int, *backbones: str) -> dict[str, Any]:
    """What the `cpu` presets share: these backbones, trained for so many passes or as many as the time allows."""
    return {"backbones": backbones, "epochs": task.passes(passes, *backbones), "bn_weight": 1.0, "crop": (0.5, 1.0)}


def _side(task: Task) -> int:
    return min(task.spec.shape[1:], default=1)


def _roll(task: Task) -> int:
    return 32 if _side(task) >= LARGE else 4


def _both(network: str) -> Which:
    return "auto" if network == "mlp" else "both"


def _squeezed(task: Task) -> str:
    """The network asked for, else ResNet-18 for `paper` and the field's ConvNet for `cpu`; with batch normalisation.

    Features, and images too small for a ConvNet, get an MLP, whose linear layers are measured instead. Raises
    `ConfigError` for a network asked for that has no batch normalisation and no option to get it.
    """
    shape, classes, usual = task.spec.shape, task.spec.classes, task.network(cpu_width=32)
    ours = "resnet18" if task.preset == "paper" and usual != "mlp" else usual
    name = with_batchnorm(task.asked or ours, shape, classes)
    if usual != "mlp" and not batchnorms(network(name, shape, classes, 0)):
        raise ConfigError(
            f"squeezing the real data into the network {name!r}",
            received="a network without batch normalisation",
            expected="layers that keep the running mean and variance of what they are fed, or a family that has them "
            "as an option",
            remedy="name a network with -bn, such as 'convnet3-bn' or 'resnet18', or leave the network out",
        )
    return name


def _first(task: Task, *others: str) -> tuple[str, ...]:
    """The network to squeeze into and the others, each once."""
    return tuple(dict.fromkeys((_squeezed(task), *others)))


def _steps(task: Task, steps: int) -> int:
    """So many visits of every row, in the mean where a step holds rows of some classes."""
    rows, classes = _rows_per_step(task), task.spec.classes
    seen = rows if rows < classes else rows - rows % classes
    return steps * -(-task.ipc * classes // seen)


def _rows_per_step(task: Task) -> int:
    return 100 if _side(task) >= SMALL else 2000


def _published(task: Task, objective: Statistics, *, lr: float, steps: int, augment: str = "auto") -> Recipe:
    strategy = "flip" if task.colour else ""
    crop, mix = (objective.crop[0], "cutmix") if task.spec.is_image else (1.0, "mixup")
    labels = _taught(objective, views=300, crop=crop, strategy=strategy, mix=mix, temperature=20.0)
    return Recipe(
        Pixels(init_from="noise", clamp=True), objective, labels,
        lr=lr, betas=(0.5, 0.9), schedule="cosine", steps=_steps(task, steps), rows_per_step=_rows_per_step(task),
        augment=augment, network=objective.backbones[0],
    )  # fmt: skip


def _taught(objective: Statistics, **settings: Any) -> Teacher:
    """Labels of the squeezed networks."""
    first, *others = objective.backbones
    return Teacher(network=first, others=tuple(others), epochs=objective.epochs, **settings)


def _narrow(task: Task, objective: Statistics, *, steps: int) -> Recipe:
    return Recipe(
        Pixels(init_from="noise", clamp=True), objective, _taught(objective),
        lr=0.1, betas=(0.5, 0.9), schedule="cosine", steps=steps, network=task.network(cpu_width=32),
    )  # fmt: skip
