"""The recipes of kernel ridge regression."""

from __future__ import annotations

from decoct.distillation.labels.hard import Hard
from decoct.distillation.labels.learned import Learned
from decoct.distillation.objective.implicit import Implicit
from decoct.distillation.objective.random_features import RandomFeatures
from decoct.distillation.objective.ridge import Ridge
from decoct.distillation.objective.tangent import Tangent
from decoct.distillation.recipe import ALL_ROWS, SAMPLED_ROWS, Recipe
from decoct.distillation.recipes.task import Task
from decoct.distillation.storage.multiformation import Multiformation
from decoct.distillation.storage.pixels import Pixels

ROWS_LEARNED = 4000
"""Synthetic rows that a new network of `ridge-grid` sees before it is used, so that this is not most of the work."""


def ridge(task: Task) -> Recipe:
    """The ridge regression of FRePo with the student's own network; for one image a class, made cheap for two cores.

    From two images a class on, and in `paper`, pixels x ridge x learned with siamese augmentation. For one image a
    class `cpu` is pixels x random-features x learned: a kept pool of networks of all ages with the features of 2000
    real rows each, one renewed every 20 steps, with the cross-entropy and the ridge of RFAD and without augmentation,
    since students augment by themselves.

    The settings were chosen on validation rows of MNIST with one image a class, one seed: what made the difference is
    the step size of 0.03 in place of 0.01, at which `ridge` without augmentation was within the noise of one run.

    Expected of `cpu` after 3 minutes of one core, students of width 32: Fashion-MNIST 72.1 ± 3.1 % at 1 a class
    (published 75.6), 83.2 ± 0.4 % at 10 a class (published 86.2); MNIST 96.8 ± 0.5 % at 10 a class (published 98.6) on
    a slower processor; 10,000 images of CIFAR-10 39.6 ± 1.4 % at 10 a class.
    """
    if task.preset == "cpu" and task.ipc == 1:
        objective = RandomFeatures(real_batch=2000, networks=1, pool=20, renew_every=20, max_age=100, reg=1e-3)
        return Recipe(
            Pixels(), objective, Learned(),
            lr=0.03, lr_labels=0.01, schedule="cosine", steps=5000, network=task.network(cpu_width=32),
        )  # fmt: skip
    return Recipe(
        Pixels(), Ridge(), Learned(),
        lr=0.01, lr_labels=0.01, schedule="cosine", steps=2000 if task.preset == "cpu" else 100_000,
        rows_per_step=_rows_per_step(task), network=task.network(cpu_width=64),
    )  # fmt: skip


def _rows_per_step(task: Task) -> int:
    return ALL_ROWS if task.preset == "paper" else SAMPLED_ROWS


def ridge_grid(task: Task) -> Recipe:
    """Multiformation x random-features x learned: four half-size images in the bytes of one, each with its own scores.

    Not published: the storage of IDC, the regression of RFAD on a kept pool of networks that learned the set for 0 to
    100 steps as in FRePo (fewer where sets are large), learned scores. What the scores weigh is taken from the images,
    which are stored a few pixels smaller (`shrink`). Tables, images below 16 pixels and so many classes that scores
    would weigh more than half get `ridge`. `paper` renews its networks more often, draws them as wide as the student,
    and takes more steps; it was never run.

    Expected of `cpu` after 3 minutes of one core, students of width 32: Fashion-MNIST 78.9 ± 1.5 % at 1 a class, 81.0 ±
    2.7 % at 10 a class; MNIST 94.5 ± 6.3 % at 1 a class, 96.4 ± 0.8 % at 10 a class on a slower processor; 10,000
    images of CIFAR-10 40.0 ± 0.8 % at 1 a class, 45.6 ± 2.0 % at 10 a class.
    """
    shrink = room_for_scores(task, 2)
    if shrink is None:
        return ridge(task)
    storage = Multiformation(factor=2, shrink=shrink)
    if task.preset == "paper":
        objective = RandomFeatures(real_batch=5000, networks=2, pool=40, renew_every=5, max_age=100, reg=1e-3)
        steps = 100_000
    else:
        age = min(100, ROWS_LEARNED // (4 * task.ipc * task.spec.classes))
        objective = RandomFeatures(real_batch=2000, networks=1, pool=20, renew_every=50, max_age=age, reg=1e-3)
        steps = 5000
    return Recipe(
        storage, objective, Learned(), lr=0.03, lr_labels=0.01, schedule="cosine", steps=steps, augment="",
        rows_per_step=_rows_per_step(task), network=task.network(cpu_width=32),
    )  # fmt: skip


def room_for_scores(task: Task, factor: int) -> int | None:
    """Pixels to shrink stored images by, so that they and scores of two bytes weigh what as many real images do.

    None where there are no images large enough for a grid, or where more than half of the bytes would be scores.
    """
    if not task.spec.is_image or min(task.spec.shape[1:]) < 16:
        return None
    channels, height, width = task.spec.shape
    images = task.ipc * task.spec.classes
    scores = 2 * images * factor**2 * task.spec.classes
    scales = 8 * channels
    left = images * (task.spec.row_bytes + 1) - scores - scales
    fitting = (
        shrink for shrink in range(min(height, width) - 2 * factor)
        if images * channels * (height - shrink) * (width - shrink) <= left
    )  # fmt: skip
    return next(fitting, None) if 2 * scores <= images * task.spec.row_bytes else None


def kip(task: Task) -> Recipe:
    """Pixels x tangent: the kernel of a wide fully connected network.

    `paper` has the settings of the authors' notebook: Adam with 0.04, 5000 real rows a step, one hidden layer, reg
    1e-6, and learned labels, which are optional there; the published figures are those of convolutional kernels, and
    the number of steps is our own choice. Images made for this kernel with so small a ridge, and scores with them,
    teach a convolutional network less than random images do, and less the longer they are made. `cpu` is what did
    best on validation rows among one, three and more layers, ridges of 1e-6 to 1, step sizes, both kinds of labels,
    with and without augmentation: hard labels, three layers, a ridge as large as the mean of the kernel's diagonal,
    siamese augmentation, and a small step (0.003: better than 0.01 and 0.001 at 10 a class, as good at 1).

    Expected of `cpu` after 3 minutes of one core, students of width 32: Fashion-MNIST 64.1 ± 2.4 % at 1 a class
    (published 73.5), 77.3 ± 2.2 % at 10 a class (published 86.8).
    """
    if task.preset == "paper":
        return Recipe(
            Pixels(), Tangent(real_batch=5000), Learned(), lr=0.04, lr_labels=0.04, augment="", rows_per_step=ALL_ROWS,
            steps=2000,
        )  # fmt: skip
    objective = Tangent(real_batch=1000, depth=3, reg=1.0, augmented=True)
    return Recipe(Pixels(), objective, Hard(), lr=0.003, schedule="cosine", steps=1000)


def frepo(task: Task) -> Recipe:
    """Pixels x ridge x learned labels as published: label margin, mirror images of colour images, no augmentation.

    The authors' code has 10 networks of at most 100 steps (Adam, 3e-4), 1024 real rows a step, reg 1e-6, and 500,000
    steps of LAMB with 3e-4 and a cosine; Adam stands in its place here, with 0.003. Its networks widen from 128 to 512
    and have BatchNorm, by whose running statistics rows are embedded; `paper` has the student's ConvNet with BatchNorm
    used so, `cpu` a narrow one with its own normalisation. As theirs, `paper` has no mirror images from 10 a class of
    100 classes on, and for 1000 classes. Their pool learns from at most 1000 rows at a step, drawn anew and never
    mirrored; here it sees what the regression sees. Their figures of colour images have ZCA (reg 0.1), which wants data
    opened with `whiten=True`.

    On MNIST with one image a class labels without the margin end so far ahead that the margin would have no gradient.

    Expected of `cpu` after 3 minutes of one core, students of width 32: Fashion-MNIST 73.2 ± 1.4 % at 1 a class
    (published 75.6), 83.9 ± 1.5 % at 10 a class (published 86.2); MNIST 97.0 ± 0.5 % at 10 a class (published 98.6) on
    a slower processor; 10,000 images of CIFAR-10 38.5 ± 1.6 % at 10 a class.
    """
    if task.preset == "paper":
        name = task.network(cpu_width=32)
        mirrored = task.colour and task.spec.classes < 1000 and (task.spec.classes < 100 or task.ipc < 10)
        objective = Ridge(real_batch=1024, augmented=False, margin=1.0, flip=mirrored, running_statistics=True)
        return Recipe(
            Pixels(), objective, Learned(), lr=0.003, lr_labels=0.003, schedule="cosine", steps=500_000,
            rows_per_step=ALL_ROWS, network=f"{name}-bn" if name.startswith("convnet") else name,
        )  # fmt: skip
    objective = Ridge(augmented=False, margin=1.0, flip=task.colour)
    return Recipe(
        Pixels(), objective, Learned(),
        lr=0.03, lr_labels=0.01, schedule="cosine", steps=2000, network=task.network(cpu_width=64),
    )  # fmt: skip


def rfad(task: Task) -> Recipe:
    """Pixels x random-features x learned labels.

    `paper` has the authors' settings: 8 fresh networks without normalisation and of twice the width at every step, 5120
    real rows, ridge 5e-3, cross-entropy with a learned scale (its step size 0.01), step size 1e-3 for images and labels
    (Adam in place of AdaBelief), at most 100,000 steps. Their figures of colour images have ZCA (reg 0.1), which wants
    data opened with `whiten=True`. `cpu` keeps the real features of 20 networks of the student's kind and renews one
    every 20 steps.

    Expected of `cpu` after 3 minutes of one core, students of width 32: Fashion-MNIST 75.4 ± 3.7 % at 1 a class
    (published 78.6), 84.1 ± 0.0 % at 10 a class (published 87.0); MNIST 98.1 ± 0.3 % at 10 a class (published 98.5) on
    a slower processor; 10,000 images of CIFAR-10 45.3 ± 2.1 % at 10 a class.
    """
    if task.preset == "paper":
        name = task.network(cpu_width=32, paper_width=256)
        return Recipe(
            Pixels(), RandomFeatures(real_batch=5120), Learned(), lr=1e-3, lr_labels=1e-3, lr_objective=0.01,
            rows_per_step=ALL_ROWS, steps=100_000, network=f"{name}-none" if name.startswith("convnet") else name,
        )  # fmt: skip
    objective = RandomFeatures(real_batch=2000, networks=1, pool=20, renew_every=20, reg=1e-3)
    return Recipe(
        Pixels(), objective, Learned(),
        lr=0.03, lr_labels=0.01, schedule="cosine", steps=2000, network=task.network(cpu_width=32),
    )  # fmt: skip


def rcig(task: Task) -> Recipe:
    """Pixels x implicit x learned labels.

    `paper` has settings of the authors' configurations: a pool of 30 networks (5e-5, at most 100 steps) without
    normalisation and, below 48 pixels, with softplus in place of ReLU, 20 inner and 20 inverse steps, l2 5e-4 a row,
    step size 0.003 for images and labels and 0.03 for the scale of the predictions (Adam in place of AdaBelief), 10,000
    steps. Left out of them: 1 to 15 steps of the pool's network at a visit (here one), mirror images of colour ones
    (but for 50 a class of 100 classes and large images), networks that widen from 128 to 512, what the network itself
    predicts, to which their regression adds, a label margin of 1/(2C), a bound of the implicit gradient by the norm of
    the direct one, and a running mean of images and labels as the result; the ridge there is 5e-4 a row, here a share
    of the mean diagonal. Their figures of colour images have ZCA (reg 0.1), which wants data opened with `whiten=True`.
    `cpu` has 5 and 5 steps on a narrow network with ReLU, whose kinks the linear inner problem never sees.

    Expected of `cpu` after 3 minutes of one core, students of width 32: Fashion-MNIST 63.2 ± 4.3 % at 1 a class
    (published 79.8), 80.2 ± 0.5 % at 10 a class (published 88.5).
    """
    name = task.network(cpu_width=32)
    if task.preset == "paper":
        return Recipe(
            Pixels(), Implicit(online_lr=5e-5, real_batch=1024), Learned(), lr=0.003, lr_labels=0.003,
            lr_objective=0.03, rows_per_step=ALL_ROWS, steps=10_000, network=_smooth(name),
        )  # fmt: skip
    objective = Implicit(real_batch=256, pool=10, inner_steps=5, hvp_steps=5)
    return Recipe(Pixels(), objective, Learned(), lr=0.03, lr_labels=0.01, schedule="cosine", steps=500, network=name)


def _smooth(name: str) -> str:
    """The networks of the published `rcig`: without normalisation, with softplus up to a depth of 3."""
    if ":" in name:
        return name
    if not name.startswith("convnet"):
        return f"{name}-softplus"
    return f"{name}-none-softplus" if name.startswith(("convnet2", "convnet3")) else f"{name}-none"
