"""`trajectory`: training on the synthetic rows must lead where training on the real ones did (MTT, TESLA, DATM)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from decoct.augment.siamese import Siamese
from decoct.distillation.axes import Objective, ObjectiveState, Tensors
from decoct.distillation.objective.asked_experts import AskedExperts
from decoct.distillation.problem import Problem, RealSource, Synthetic
from decoct.networks.build import network
from decoct.networks.count import flops_forward
from decoct.settings import require_settings
from decoct.streams import Streams, derive_seed
from decoct.training.config import FitConfig
from decoct.training.flat import SGD, FlatNetwork
from decoct.training.trajectories import Course, Trajectories
from decoct.training.unroll import Mode, unroll

EXPERT = FitConfig(
    optimizer="sgd", lr=0.01, momentum=0.0, weight_decay=0.0, epochs=10, batch_size=256, schedule="constant"
)
"""Plain SGD, as the student's own steps are; the published experts train for 50 epochs."""
BEND = 10.0
"""The step size follows its parameter as it is, down to about this part of its start, and stays positive below."""


@dataclass(frozen=True)
class Trajectory(Objective):
    """`L = || theta_N(S) - theta*_{t+M} ||^2 / || theta*_t - theta*_{t+M} ||^2`, `theta_0 = theta*_t`,
    `theta_{i+1} = theta_i - alpha grad CE(theta_i; A_i s_i, q_i)`.

    Papers: "Dataset Distillation by Matching Training Trajectories" (MTT), Cazenavette, Wang, Torralba, Efros, Zhu,
    CVPR 2022, https://arxiv.org/abs/2203.11932, https://github.com/GeorgeCazenavette/mtt-distillation; "Scaling Up
    Dataset Distillation to ImageNet-1K with Constant Memory" (TESLA), Cui, Wang, Si, Hsieh, ICML 2023,
    https://arxiv.org/abs/2211.10586, https://github.com/justincui03/tesla; "Towards Lossless Dataset Distillation via
    Difficulty-Aligned Trajectory Matching" (DATM), Guo, Wang, Cazenavette, Li, Zhang, You, ICLR 2024,
    https://arxiv.org/abs/2310.05773, https://github.com/NUS-HPC-AI-Lab/DATM; flat experts after "Minimizing the
    Accumulated Trajectory Error" (FTD), Du, Jiang, Tan, Zhou, Li, CVPR 2023, https://arxiv.org/abs/2211.11004,
    https://github.com/AngusDujw/FTD-distillation.

    Experts `theta*` `[experts, epochs + 1, P]` are trained on the real split before the first step. A step draws one,
    and `t` from `[min_start_epoch, top)`, where `top` grows from `max_start_epoch_begin` to `max_start_epoch` over
    the first `grow_share` of the run (DATM: early epochs teach easy patterns). Rows `s_i` `[batch, ...]` with targets
    `q_i` `[batch, C]` come in shuffled passes over the synthetic set; every row of an inner step has its own
    augmentation of one family. `alpha` is learned with the images and stored with them.

    Cost of a step: `inner_steps * batch` rows, about 9 forward passes each under `full`, 12 otherwise. Memory: `full`
    keeps the activations of all inner steps, the others those of one and `(inner_steps + 1) P` weights.

    Differs from the papers: expert passes may be shorter than the training split; `alpha` is a softplus, so that it
    stays positive; a step with a large loss is not skipped and the images are not averaged over time (DATM, FTD);
    flat experts take the step of SAM or, as in the codes of FTD and DATM, that of adaptive SAM (there GSAM, whose
    surrogate gap term is left out). Differs from the official codes: experts are real copies on the CPU too;
    `recompute` gives MTT's exact gradient in constant memory and `first-order` TESLA's formula with the factor 2 that
    its code loses; soft targets work under every mode.
    """

    has_experts = True
    mode: Mode = "recompute"
    """full: one graph of all inner steps (MTT). recompute: the same gradient in constant memory. first-order: TESLA as
    published, each step's weights held constant."""
    inner_steps: int = 20
    """Steps of the student, N."""
    batch: int | None = None
    """Synthetic rows of an inner step; none means all."""
    expert_epochs: int = 2
    """Passes of the expert that the student has to match, M."""
    min_start_epoch: int = 0
    """First epoch where a student may start."""
    max_start_epoch: int = 5
    """End of the epochs where it may start, not included."""
    max_start_epoch_begin: int | None = None
    """That end at the beginning; none keeps it where it is."""
    grow_share: float | int = 0.1
    """Part of the run, of its steps or its clock, in which the end grows to max_start_epoch; in (0, 1]."""
    inner_lr: float = 0.01
    """Step size alpha of the student at the start; it is learned with the recipe's lr_objective."""
    augmented: bool = True
    """Augment what the student sees, with the strategy of the problem."""
    experts: int = 10
    """Networks trained on the real data."""
    expert: FitConfig = EXPERT
    """How they are trained; the last start and the passes after it must fit into its epochs."""
    expert_rows: int | None = None
    """Real rows of one pass of an expert, drawn anew each time, classes in equal shares; none means the whole split."""
    expert_augmented: bool = True
    """Augment what experts see, with the strategy of the problem, or that of `expert` where it names one."""
    experts_together: int | None = None
    """Experts trained at once as one stacked model, up to rounding the same ones; 1 trains them in turn. None: 1 on a
    processor, several on an accelerator (`training.trajectories`)."""
    sam_radius: float | int = 0.0
    """Above 0, flat experts: how far uphill they take their gradients, in the L2 norm of the weights (FTD: 0.01)."""
    sam_adaptive: bool = False
    """Measure that way in units of each weight, as adaptive SAM and the codes of FTD and DATM do."""
    stored: Literal["float16", "bfloat16", "float32"] = "float16"
    """Type in which the passes of an expert are kept."""

    def __post_init__(self) -> None:
        super().__post_init__()
        begin = self.max_start_epoch if self.max_start_epoch_begin is None else self.max_start_epoch_begin
        require_settings(
            self, "trajectory matching",
            ("inner_steps", self.inner_steps >= 1, "1 or more"),
            ("batch", self.batch is None or self.batch >= 1, "1 or more, or None for all rows"),
            ("expert_epochs", self.expert_epochs >= 1, "1 or more"),
            ("max_start_epoch", 0 <= self.min_start_epoch < self.max_start_epoch, "above min_start_epoch, from 0"),
            ("max_start_epoch_begin", self.min_start_epoch < begin <= self.max_start_epoch,
             f"above min_start_epoch, at most max_start_epoch {self.max_start_epoch}"),
            ("grow_share", 0 < self.grow_share <= 1, "a share of the run above 0, at most 1"),
            ("inner_lr", self.inner_lr > 0, "a positive number"),
            ("experts", self.experts >= 1, "1 or more"),
            ("experts_together", self.experts_together is None or self.experts_together >= 1, "1 or more, or None"),
            ("expert_rows", self.expert_rows is None or self.expert_rows >= 1, "1 or more, or None for all"),
            ("sam_radius", self.sam_radius >= 0, "0 or more"),
            ("expert", self.expert.epochs >= self.max_start_epoch - 1 + self.expert_epochs,
             f"at least {self.max_start_epoch - 1 + self.expert_epochs} epochs: the last start and the passes after"),
        )  # fmt: skip

    def augments(self, families: tuple[str, ...]) -> tuple[str, ...]:
        return families if self.augmented or (self.expert_augmented and not self.expert.augment) else ()

    def init(self, problem: Problem, streams: Streams) -> ObjectiveState:
        return TrajectoryState(self, problem, streams)

    def flops(self, problem: Problem) -> float:
        probe = network(problem.network, problem.shape, problem.class_count, 0)
        rows = self.inner_steps * (self.batch or problem.class_count * problem.ipc)
        return float(rows) * (9 if self.mode == "full" else 12) * flops_forward(probe, problem.shape)

    def rows_at_once(self, problem: Problem, rows: int) -> int:
        """Those of one inner step, or of all under `full`."""
        return min(self.batch or rows, rows) * (self.inner_steps if self.mode == "full" else 1)


def trajectory_loss(
    reached: Float[Tensor, " p"], start: Float[Tensor, " p"], target: Float[Tensor, " p"]
) -> Float[Tensor, ""]:
    """What is left of the squared distance from `start` to `target`: 1 for a student that stayed, 0 on the target."""
    apart = (start - target).square().sum().clamp_min(torch.finfo(start.dtype).tiny)
    return (reached - target).square().sum() / apart


class TrajectoryState(ObjectiveState):
    """Experts, the step size of the student, and which share of the run is done."""

    def __init__(self, config: Trajectory, problem: Problem, streams: Streams) -> None:
        self._config, self._problem, self._streams = config, problem, streams
        self._flat = FlatNetwork(network(problem.network, problem.shape, problem.class_count, 0).to(problem.device))
        strategy = config.expert.augment or (problem.strategy if config.expert_augmented else "")
        course = Course(
            problem.network, replace(config.expert, augment=strategy), config.expert_rows,
            float(config.sam_radius), config.sam_adaptive, config.stored,
        )  # fmt: skip
        seeds = [derive_seed(streams.seed, "expert", number) for number in range(config.experts)]
        self.experts = Trajectories(problem.data, course, seeds, problem.device, problem.cache, config.experts_together)
        self._asked = AskedExperts(problem, self._flat, self.experts, streams.seed)
        self._siamese = Siamese(problem.strategy, per_sample=True, one_family=True) if config.augmented else None
        self._share = 0.0
        self._lr = {"lr": torch.tensor(config.inner_lr * math.log(math.expm1(BEND)) / BEND, device=problem.device)}

    @property
    def tensors(self) -> Tensors:
        return self._lr

    @property
    def lr(self) -> Float[Tensor, ""]:
        """The student's step size `s softplus(u / s)`, `s = inner_lr / 10`: u itself where that is well above 0."""
        bend = self._config.inner_lr / BEND
        return bend * F.softplus(self._lr["lr"] / bend)

    def learned(self) -> dict[str, float | list[float]]:
        return {"lr": self.lr.item(), "inner_steps": float(self._config.inner_steps)}

    def prepare(self, real: RealSource) -> None:
        self.experts.train()

    def said_by_experts(self, images: Float[Tensor, "n ..."]) -> Iterator[Float[Tensor, "n classes"]]:
        return self._asked(images)

    def schedule(self, share: float) -> None:
        self._share = share

    def top(self) -> int:
        """The end of the start epochs at this share of the run, not included."""
        config = self._config
        begin = config.max_start_epoch if config.max_start_epoch_begin is None else config.max_start_epoch_begin
        grown = int((config.max_start_epoch - begin) * self._share / config.grow_share)
        return min(config.max_start_epoch, begin + grown)

    def loss(self, synthetic: Synthetic, real: RealSource) -> Float[Tensor, ""]:
        config, generator = self._config, self._streams("trajectory")
        expert = int(torch.randint(len(self.experts), (1,), generator=generator))
        epoch = int(torch.randint(config.min_start_epoch, self.top(), (1,), generator=generator))
        start = self.experts.at(expert, epoch).to(synthetic.images)
        target = self.experts.at(expert, epoch + config.expert_epochs).to(synthetic.images)
        batches = self._batches(len(synthetic.images))
        reached = unroll(
            self._flat, start, synthetic.images, synthetic.targets,
            batches=batches, lr=self.lr.to(synthetic.images), optimizer=SGD(), mode=config.mode,
            augment=self._augmentation([len(rows) for rows in batches]),
        )  # fmt: skip
        return trajectory_loss(reached, start, target)

    def _batches(self, count: int) -> list[Int[Tensor, " b"]]:
        """Rows of every inner step: shuffled passes, each cut into batches."""
        size = min(self._config.batch or count, count)
        if size == count:
            return [torch.arange(count)] * self._config.inner_steps
        found: list[Tensor] = []
        while len(found) < self._config.inner_steps:
            found += torch.randperm(count, generator=self._streams("batches")).split(size)
        return found[: self._config.inner_steps]

    def _augmentation(self, sizes: list[int]) -> Callable[[Tensor, int], Tensor] | None:
        """A function that gives the rows of an inner step the same picture changes whenever it is asked."""
        siamese = self._siamese
        if siamese is None or not self._problem.strategy:
            return None
        shape = self._problem.shape
        drawn = [siamese.draw(size, shape, self._streams("augmentation")) for size in sizes]
        return lambda images, step: siamese.apply(images, drawn[step])

    def state_dict(self) -> Tensors:
        return {}

    def load_state_dict(self, state: Tensors) -> None:
        """Everything follows from the seed, the streams and the share of the run."""
