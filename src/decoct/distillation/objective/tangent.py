"""`tangent`: kernel ridge regression with the neural tangent kernel of a wide fully connected network (KIP)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from decoct.augment.siamese import Siamese
from decoct.distillation.axes import Objective, ObjectiveState, Tensors
from decoct.distillation.objective.ridge import as_scores, kernel_predict, squared_loss
from decoct.distillation.problem import Problem, RealSource, Synthetic
from decoct.errors import ConfigError
from decoct.settings import require_at_least
from decoct.streams import Streams

CLOSEST = 1e-14
"""`1 - cos` of the angle below which two inputs count as one: float64 cannot tell them apart, and the kernel, which
has a cone there, is given the gradient of its axis."""


@dataclass(frozen=True)
class Tangent(Objective):
    """`L = 1/2 mean_i || K_ts (K_ss + reg tr(K_ss)/m I)^-1 Y_s - Y_t ||^2`, K the neural tangent kernel.

    Paper: "Dataset Meta-Learning from Kernel Ridge-Regression" (KIP), Nguyen, Chen, Lee, ICLR 2021,
    https://arxiv.org/abs/2011.00050; code of the authors:
    https://github.com/google-research/google-research/tree/master/kip. The recursion is that of "Neural Tangent
    Kernel", Jacot, Gabriel, Hongler, NeurIPS 2018, https://arxiv.org/abs/1806.07572, with the arc-cosine expectations
    of "Kernel Methods for Deep Learning", Cho, Saul, NeurIPS 2009.

    Network: `depth` hidden layers of ReLU and a linear head, NTK parametrisation. `S_0 = T_0 = w^2 x.x'/d + b^2`; with
    t the angle of `S_l` and q, q' its diagonal entries, `S_{l+1} = w^2 sqrt(q q') (sin t + (pi - t) cos t) / (2 pi)
    + b^2` and `T_{l+1} = S_{l+1} + w^2 T_l (pi - t) / (2 pi)`; `K = T_depth`.

    Synthetic rows, flattened, `[m, d]` with labels `Y_s` `[m, C]`, real rows `[n, d]`; `K_ts` `[n, m]` and `K_ss`
    `[m, m]` in float64; `Y_t` centred one-hot. The network of the recipe is not used: the kernel sees pixels, or a
    table of features as it is. Nothing moves but images and labels, so there is nothing to checkpoint.

    Cost of a step: O(n m (d + depth)) and a solve of O(m^3).

    Differs from the paper: no convolutional kernels, which need a large machine (`random-features` is their affordable
    relative), labels learned by gradient together with the images and not by closed form; with `augmented`, the siamese
    augmentation of the field is an addition, since the kernel alone finds images that a network under augmentation
    learns little from. Differs from common code: the recursion carries `1 - cos t` in place of `cos t`, so that its
    gradient stays right for inputs that nearly coincide and zero, not NaN, where a synthetic row still is the real one
    it started from.
    """

    label_space = "scores"
    real_batch: int = 2000
    """Real rows of a step, classes in equal shares."""
    depth: int = 1
    """Hidden layers of the network."""
    sigma_w: float = math.sqrt(2)
    """Standard deviation of the weights, before division by the root of the fan-in."""
    sigma_b: float = 0.1
    """Standard deviation of the biases."""
    reg: float = 1e-6
    """Ridge added to the kernel, as a share of its mean diagonal."""
    augmented: bool = False
    """Apply the siamese augmentation of the problem: one draw for both sides of a step."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.depth < 1 or not self.sigma_w > 0 or self.sigma_b < 0:
            raise ConfigError(
                "setting up the objective 'tangent'",
                received=f"depth={self.depth}, sigma_w={self.sigma_w}, sigma_b={self.sigma_b}",
                expected="depth of at least 1, sigma_w above 0, sigma_b of at least 0",
                remedy="choose them in that range",
            )
        require_at_least(self, "the objective 'tangent'", real_batch=1, reg=0)

    def augments(self, families: tuple[str, ...]) -> tuple[str, ...]:
        return families if self.augmented else ()

    def init(self, problem: Problem, streams: Streams) -> ObjectiveState:
        return TangentState(self, problem, streams)

    def flops(self, problem: Problem) -> float:
        rows = problem.class_count * problem.ipc
        return 6.0 * (self.real_batch + rows) * rows * (math.prod(problem.shape) + 20 * self.depth)


def tangent_kernel(
    left: Float[Tensor, "n d"], right: Float[Tensor, "m d"], depth: int, sigma_w: float | int, sigma_b: float | int
) -> Float[Tensor, "n m"]:
    """The neural tangent kernel of every pair of rows, float64, differentiable in both."""
    return _recursion(left.double(), right.double(), depth, float(sigma_w) ** 2, float(sigma_b) ** 2)


def own_kernel(
    rows: Float[Tensor, "m d"], depth: int, sigma_w: float | int, sigma_b: float | int
) -> Float[Tensor, "m m"]:
    """The kernel of a set with itself, with the closed form of equal inputs on the diagonal."""
    whole = tangent_kernel(rows, rows, depth, sigma_w, sigma_b)
    w2, b2 = float(sigma_w) ** 2, float(sigma_b) ** 2
    covariance = tangent = w2 * rows.double().square().mean(1) + b2
    for _ in range(depth):
        covariance = w2 * covariance / 2 + b2
        tangent = covariance + w2 * tangent / 2
    eye = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    return torch.where(eye, tangent.diag(), whole)


def _recursion(left: Tensor, right: Tensor, depth: int, w2: float, b2: float) -> Float[Tensor, "n m"]:
    width = left.shape[1]
    mine, theirs = (w2 * rows.square().mean(1) + b2 for rows in (left, right))
    covariance = tangent = w2 * (left @ right.T) / width + b2
    gap = 1 - covariance / _product(mine, theirs)
    for _ in range(depth):
        gap = _bounded(gap)
        angle = 2 * (gap / 2).sqrt().asin()
        half = w2 * _product(mine, theirs) / 2
        # 1 - (sin t + (pi - t) cos t) / pi, without the difference of two numbers near 1.
        lost = gap + (angle * (1 - gap) - angle.sin()) / math.pi
        covariance = half * (1 - lost) + b2
        tangent = covariance + w2 * tangent * (math.pi - angle) / (2 * math.pi)
        uneven = w2 / 2 * b2 * (_root(mine)[:, None] - _root(theirs)[None, :]).square()
        mine, theirs = (w2 * diagonal / 2 + b2 for diagonal in (mine, theirs))
        outer = _product(mine, theirs)
        gap = (uneven / (outer + half + b2) + half * lost) / outer
    return tangent


def _bounded(gap: Float[Tensor, "n m"]) -> Float[Tensor, "n m"]:
    """`1 - cos t` where the root and the arcsine have a finite gradient; none passes beyond."""
    return gap.clamp(CLOSEST, 2 - CLOSEST)


def _root(diagonal: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    return diagonal.clamp_min(1e-300).sqrt()


def _product(mine: Float[Tensor, " n"], theirs: Float[Tensor, " m"]) -> Float[Tensor, "n m"]:
    return _root(mine)[:, None] * _root(theirs)[None, :]


class TangentState(ObjectiveState):
    """Nothing but the settings: the kernel has no weights."""

    def __init__(self, config: Tangent, problem: Problem, streams: Streams) -> None:
        self._config, self._shape, self._streams = config, problem.shape, streams
        self._siamese = Siamese(problem.strategy) if config.augmented and problem.strategy else None

    def loss(self, synthetic: Synthetic, real: RealSource) -> Float[Tensor, ""]:
        config = self._config
        images, labels = real.batch(config.real_batch)
        made = synthetic.images
        if self._siamese is not None:
            drawn = self._siamese.draw(1, self._shape, self._streams("augmentation"))
            images, made = self._siamese.apply(images, drawn), self._siamese.apply(made, drawn)
        rows = made.flatten(1)
        cross = tangent_kernel(images.flatten(1), rows, config.depth, config.sigma_w, config.sigma_b)
        own = own_kernel(rows, config.depth, config.sigma_w, config.sigma_b)
        return squared_loss(kernel_predict(cross, own, as_scores(synthetic.targets), config.reg), labels)

    def state_dict(self) -> Tensors:
        return {}

    def load_state_dict(self, state: Tensors) -> None:
        pass
