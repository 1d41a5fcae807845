"""`gradient`: synthetic rows must give a network the gradients that real rows of their class give it (DC, DSA, IDC)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from decoct.augment.siamese import Parameters, Siamese, expand
from decoct.distillation.apprentice import Apprentice, loops
from decoct.distillation.axes import Objective, ObjectiveState, Tensors
from decoct.distillation.checkpoint import prefixed, under
from decoct.distillation.class_gradients import (
    TOGETHER_ELSEWHERE,
    TOGETHER_ROWS,
    ClassGradients,
    Metric,
    rows_of_classes,
    settle_statistics,
    with_gradient,
)
from decoct.distillation.lessons import Lesson, lessons_of, tensors_of
from decoct.distillation.problem import Problem, RealSource, Synthetic
from decoct.networks.build import network
from decoct.networks.count import flops_forward
from decoct.settings import require_above, require_at_least, require_share
from decoct.streams import Streams, derive_seed
from decoct.training.config import FitConfig
from decoct.training.fast import FastGradient

STATISTICS_ROWS = 16
"""Real rows of each class of a step behind the statistics of BatchNorm layers."""


@dataclass(frozen=True)
class Gradient(Objective):
    """`L = sum_c D(grad CE(theta; A_c X_c), grad CE(theta; A_c S_c))`, `D = sum over layers and rows of 1 - cos`.

    Papers: "Dataset Condensation with Gradient Matching" (DC), Zhao, Mopuri, Bilen, ICLR 2021,
    https://arxiv.org/abs/2006.05929; "Dataset Condensation with Differentiable Siamese Augmentation" (DSA), Zhao,
    Bilen, ICML 2021, https://arxiv.org/abs/2102.08259, code of the authors of both:
    https://github.com/VICO-UoE/DatasetCondensation; "Dataset Condensation via Efficient Synthetic-Data
    Parameterization" (IDC), Kim et al., ICML 2022, https://arxiv.org/abs/2205.14959, code of the authors:
    https://github.com/snu-mllab/Efficient-Dataset-Condensation.

    Real rows `X_c` `[real_per_class, ...]`, synthetic rows `S_c` `[ipc, ...]` with targets `[m, C]`, which get a
    gradient where they are learned; gradients by layer `[k, out, ...]` for k classes. Biases and normalisation count
    for nothing. A step moves the images once; after it the network is trained, on the synthetic rows (DC, DSA) or on
    real ones (IDC), and after `outer_loops` steps a fresh one is drawn. `A_c` is one augmentation for each class and
    step, the same for both sides.

    Cost of a step in forward passes of a row: 3 for a real row, about 9 for a synthetic one, 3 for each row trained on.
    Classes go one at a time or in one vectorised pass, whichever is faster (`class_gradients.py`); memory is that of
    one class and of the k gradients.

    Differs from the papers: with `renew_every` > 1 a pool of networks is kept with their augmentations and real
    gradients, and real rows are seen, and networks trained, only every so many steps. IDC moves the images of one
    class after the other, here all move at once. Differs from the official code: any ipc; no generator is seeded from
    the clock, so that networks and augmentations are independent of each other and of the time; BatchNorm layers use
    the exact statistics of real rows of the classes of a step, which are all unless `classes_per_step` is smaller
    (there of all classes, a tenth of the way from their start), and dropout is off while gradients are matched; the
    network is trained on the rows as they were before the step.
    """

    metric: Metric = "cosine"
    """Distance of gradients: cosine by output row (DC, DSA), or the sum of squared (mse) or absolute (l1) differences
    (IDC)."""
    real_per_class: int = 256
    """Real rows of each class behind its gradient, 1 or more; smaller classes give all they have."""
    outer_loops: int | None = None
    """Image steps of a network before a fresh one is drawn (with `renew_every` so many times as many); none takes the
    authors' table by ipc."""
    inner_epochs: int | None = None
    """Epochs on the synthetic rows between two of them; none takes the table by ipc."""
    train_on: Literal["synthetic", "real"] = "synthetic"
    """What the network is trained on between image steps: synthetic rows (DC, DSA) or real ones (IDC)."""
    inner_rows: int = 500
    """Real rows trained on between image steps, with `train_on="real"`."""
    early_rows: int = 0
    """Real rows that a fresh network is trained on before its first use."""
    net_lr: float | int = 0.01
    """Step size of the network (SGD)."""
    net_momentum: float | int = 0.0
    """Momentum of the network's SGD, in [0, 1)."""
    net_weight_decay: float | int = 0.0
    """Weight decay of the network's SGD."""
    net_batch: int = 256
    """Rows of one training step of the network."""
    cutmix: float | int = 0.0
    """How often a batch that the network is trained on is mixed by CutMix (images only); cutout is then left out."""
    every_family: bool = False
    """Apply every family of the augmentation strategy, one after another (IDC), instead of one drawn at random."""
    match_linear: bool = True
    """Compare linear layers too (IDC does not); they count in any case where nothing else is there."""
    classes_per_step: int | None = None
    """Classes drawn for each set of real gradients, and for the statistics of BatchNorm layers under it, so that many
    classes stay affordable; none takes all."""
    pool: int = 1
    """Networks kept with their real gradients, where `renew_every` is above 1."""
    renew_every: int = 1
    """Image steps between two sets of real gradients; 1 is the papers' way."""

    def __post_init__(self) -> None:
        super().__post_init__()
        where, ones = "the gradient objective", ("real_per_class", "outer_loops", "inner_rows", "net_batch")
        least = dict.fromkeys((*ones, "classes_per_step", "pool", "renew_every"), 1)
        require_at_least(self, where, **least, inner_epochs=0, early_rows=0, net_weight_decay=0)
        require_above(self, where, net_lr=0)
        require_share(self, where, "net_momentum")
        require_share(self, where, "cutmix", whole=True)

    def init(self, problem: Problem, streams: Streams) -> ObjectiveState:
        return GradientState(self, problem, streams)

    def schedule(self, ipc: int) -> tuple[int, int]:
        """Outer loops and inner epochs."""
        outer, inner = loops(ipc)
        return self.outer_loops or outer, inner if self.inner_epochs is None else self.inner_epochs

    def work(self, problem: Problem) -> tuple[float, float, float]:
        """Floating-point operations of a step: real gradients, synthetic gradients, training of the network."""
        probe = network(problem.network, problem.shape, problem.class_count, 0)
        row = float(flops_forward(probe, problem.shape))
        classes = min(self.classes_per_step or problem.class_count, problem.class_count)
        outer, epochs = self.schedule(problem.ipc)
        trained = self.inner_rows if self.train_on == "real" else epochs * problem.class_count * problem.ipc
        trained = trained * (outer - 1) / outer + self.early_rows / outer
        real = classes * self.real_per_class
        return 3 * row * real / self.renew_every, 9 * row * classes * problem.ipc, 3 * row * trained / self.renew_every

    def flops(self, problem: Problem) -> float:
        return sum(self.work(problem))

    def rows_at_once(self, problem: Problem, rows: int) -> int:
        """Classes go one after another, those of few rows all together."""
        each = -(-rows // problem.class_count)
        return rows if each <= TOGETHER_ROWS.get(problem.device, TOGETHER_ELSEWHERE) else each


class GradientState(ObjectiveState):
    """The network in training, the lessons that are kept, the number of steps and lessons so far."""

    def __init__(self, config: Gradient, problem: Problem, streams: Streams) -> None:
        self._config, self._problem, self._streams = config, problem, streams
        self._step, self._given = 0, 0
        self._lessons: list[Lesson] = []
        self._outer, self._epochs = config.schedule(problem.ipc)
        families = problem.strategy.split("_") if config.every_family else [problem.strategy]
        self._siamese = [Siamese(family, per_sample=True) for family in families if family]
        shares = config.work(problem)
        self._apprentice = self._new_apprentice(problem.work * shares[2] / sum(shares))
        probe = network(problem.network, problem.shape, problem.class_count, 0).to(problem.device).eval()
        work = problem.work * shares[0] / sum(shares)
        fast = FastGradient(probe, "ce", planned_flops=work, rows=config.real_per_class)
        self._matcher = ClassGradients(probe, config.metric, fast, config.match_linear)

    def _new_apprentice(self, work: float) -> Apprentice:
        config, problem = self._config, self._problem
        rows = config.inner_rows if config.train_on == "real" else problem.class_count * problem.ipc
        fit = FitConfig(
            lr=float(config.net_lr), momentum=float(config.net_momentum), weight_decay=float(config.net_weight_decay),
            batch_size=min(config.net_batch, rows),
        )  # fmt: skip
        families = [f for f in problem.strategy.split("_") if f and not (config.cutmix and f == "cutout")]
        chosen = families if config.every_family else ["_".join(families)] if families else []
        siamese = [Siamese(strategy, per_sample=True, one_family=True) for strategy in chosen]
        return Apprentice(problem, self._streams, fit, siamese, float(config.cutmix), work)

    def loss(self, synthetic: Synthetic, real: RealSource) -> Float[Tensor, ""]:
        lesson = self._lesson(real)
        self._step += 1
        self._matcher.module.load_state_dict(lesson.weights)
        images = self._augment(synthetic.images, synthetic.classes, lesson.number)
        groups = rows_of_classes(synthetic.classes, lesson.classes)
        values, for_images, for_targets = self._matcher.distances(lesson.gradients, images, synthetic.targets, groups)
        loss = with_gradient(values.sum(), images, for_images)
        return with_gradient(loss, synthetic.targets, for_targets) if synthetic.targets.requires_grad else loss

    @property
    def _renews(self) -> bool:
        """Whether this step needs a lesson of its own."""
        return self._step % self._config.renew_every == 0 or len(self._lessons) < self._config.pool

    def _lesson(self, real: RealSource) -> Lesson:
        if not self._renews:
            place = int(torch.randint(len(self._lessons), (1,), generator=self._streams("lessons")))
            return self._lessons[place]
        lesson = self._new_lesson(real)
        if self._config.renew_every > 1:
            self._lessons = [*self._lessons, lesson][-self._config.pool :]
        return lesson

    def _new_lesson(self, real: RealSource) -> Lesson:
        if self._apprentice.age == 0 and self._config.early_rows:
            self._apprentice.warm_up(real, self._config.early_rows)
        number, count = self._given, self._problem.class_count
        self._given += 1
        asked = torch.arange(count)
        if self._config.classes_per_step is not None and self._config.classes_per_step < count:
            asked = torch.randperm(count, generator=self._streams("classes"))[: self._config.classes_per_step]
        images, labels = real.per_class(self._config.real_per_class, asked.tolist())
        module = self._matcher.module
        module.load_state_dict(self._apprentice.module.state_dict())
        groups = rows_of_classes(labels, asked)
        settle_statistics(module, images[torch.cat([rows[:STATISTICS_ROWS] for rows in groups])])
        weights = {name: value.detach().clone() for name, value in module.state_dict().items()}
        targets = F.one_hot(labels, count).to(images.dtype)
        return Lesson(
            number, weights, asked, self._matcher.real(self._augment(images, labels, number), targets, groups)
        )

    def _augment(
        self, images: Float[Tensor, "n ..."], classes: Int[Tensor, " n"], number: int
    ) -> Float[Tensor, "n ..."]:
        for place, siamese in enumerate(self._siamese):
            generator = torch.Generator()
            generator.manual_seed(derive_seed(self._streams.seed, "class-augmentation", number, place))
            drawn: Parameters = siamese.draw(self._problem.class_count, self._problem.shape, generator)
            images = siamese.apply(images, expand(drawn, classes.cpu()))
        return images

    def advance(self, synthetic: Synthetic, real: RealSource) -> None:
        if not self._renews:
            return
        if self._apprentice.age + 1 >= self._outer:
            self._apprentice.renew()
        elif self._config.train_on == "real":
            self._apprentice.study(real, self._config.inner_rows)
        else:
            self._apprentice.learn(synthetic.images.detach(), synthetic.targets.detach(), self._epochs)

    def state_dict(self) -> Tensors:
        counts = torch.tensor([self._step, self._given])
        return {**prefixed("apprentice", self._apprentice.state_dict()), "counts": counts, **tensors_of(self._lessons)}

    def load_state_dict(self, state: Tensors) -> None:
        self._apprentice.load_state_dict(under("apprentice", state))
        self._step, self._given = (int(value) for value in state["counts"])
        self._lessons = lessons_of(state, self._problem.device)
