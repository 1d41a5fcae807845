"""`ridge`: synthetic rows must make kernel ridge regression predict the real labels (KIP, FRePo)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from decoct.augment.siamese import Siamese
from decoct.distillation.axes import Objective, ObjectiveState, Tensors
from decoct.distillation.pool import Pool
from decoct.distillation.problem import Problem, RealSource, Synthetic
from decoct.errors import DivergenceError
from decoct.networks.build import network
from decoct.networks.count import flops_forward
from decoct.streams import Streams
from decoct.training.fast import FastEmbed


@dataclass(frozen=True)
class Ridge(Objective):
    """`L = 1/2 mean_i || H_t H_s^T (H_s H_s^T + reg tr(H_s H_s^T)/m I)^-1 Y_s - Y_t ||^2`, `H = phi(X)`.

    Papers: "Dataset Distillation using Neural Feature Regression" (FRePo), Zhou, Nezhadarya, Ba, NeurIPS 2022,
    https://arxiv.org/abs/2206.00719, code of the authors: https://github.com/yongchaoz/FRePo; the regression itself is
    that of "Dataset Meta-Learning from Kernel Ridge-Regression" (KIP), Nguyen, Chen, Lee, ICLR 2021,
    https://arxiv.org/abs/2011.00050, here with the finite network `phi` of a pool in place of an infinite one.

    Synthetic features `H_s` `[m, d]` with labels `Y_s` `[m, C]`, real features `H_t` `[n, d]` (no gradient), centred
    one-hot labels `Y_t = e_y - 1/C`. The pool holds `pool` networks of different ages; each step uses one, then
    trains that one for a step on the synthetic set (squared error, Adam), and starts it anew at age `max_age`.

    Cost of a step: n forward passes, m forward and backward for the images, m for the weights, and a solve of
    O(min(m, d)^3) in float64 (the m x m dual form, or the d x d primal one where m > d).

    Differs from the paper: siamese augmentation while distilling, the student's own architecture instead of a wider
    one with BatchNorm, any ipc, thousands of steps instead of half a million. Differs from the official code: the
    pool, its optimisers and all random streams are checkpointed.
    """

    label_space = "scores"
    real_batch: int = 512
    """Real rows of a step, classes in equal shares."""
    pool: int = 10
    """Networks kept."""
    max_age: int = 100
    """Training steps after which a network is drawn anew; ages are staggered at the start."""
    reg: float = 1e-6
    """Ridge added to the kernel, as a share of its mean diagonal."""
    online_lr: float = 3e-4
    """Adam step size of the pooled networks."""
    bfloat16: bool = True
    """Embed the real rows in bfloat16; the synthetic path stays float32, the solve float64."""
    augmented: bool = True
    """Apply the siamese augmentation of the problem: one draw for both sides of a step, another for the pool's step."""

    def init(self, problem: Problem, streams: Streams) -> ObjectiveState:
        return RidgeState(self, problem, streams)

    def flops(self, problem: Problem) -> float:
        probe = network(problem.network, problem.shape, problem.class_count, 0)
        rows = self.real_batch + 6 * problem.class_count * problem.ipc
        return float(rows) * flops_forward(probe, problem.shape)


def ridge_predict(
    test: Float[Tensor, "n d"], train: Float[Tensor, "m d"], labels: Float[Tensor, "m c"], reg: float
) -> Float[Tensor, "n c"]:
    """Kernel ridge regression with the linear kernel, in float64: `K_ts (K_ss + reg tr(K_ss)/m I)^-1 Y`.

    Solved as `[m, m]`, or in the equal primal form `[d, d]` where m > d. While the factorisation fails
    the ridge grows tenfold, from 1e-12 of the mean diagonal at least, up to six times; then `DivergenceError`.
    """
    test, train, labels = test.double(), train.double(), labels.double()
    rows, width = train.shape
    dual = rows <= width
    gram = train @ train.T if dual else train.T @ train
    eye = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    diagonal = train.square().sum() / rows
    shift = reg * diagonal
    for _ in range(7):
        factor, failed = torch.linalg.cholesky_ex(gram + shift * eye)
        if not failed.any():
            right = labels if dual else train.T @ labels
            solved = torch.cholesky_solve(right, factor)
            return test @ (train.T @ solved if dual else solved)
        shift = torch.maximum(shift * 10, 1e-12 * diagonal)
    raise DivergenceError(
        "solving the ridge regression",
        received=f"features of shape {tuple(train.shape)} whose kernel is not positive definite at reg {reg:g}",
        expected="finite features",
        remedy="lower the learning rate of the recipe, or raise reg",
    )


def as_scores(targets: Float[Tensor, "m classes"]) -> Float[Tensor, "m classes"]:
    """Regression targets: learned ones are scores already, one-hot and teacher probabilities are centred by row."""
    return targets if targets.requires_grad else targets - targets.mean(1, keepdim=True)


class RidgeState(ObjectiveState):
    """The pool and the embedders."""

    def __init__(self, config: Ridge, problem: Problem, streams: Streams) -> None:
        self._config, self._problem, self._streams = config, problem, streams
        self._pool = Pool(problem, streams, config.pool, config.max_age, config.online_lr)
        self._current = 0
        self._siamese = Siamese(problem.strategy) if config.augmented and problem.strategy else None
        carrier = self._pool.modules[0]
        rows = int(problem.work / max(flops_forward(carrier, problem.shape), 1.0))
        real_type = torch.bfloat16 if config.bfloat16 else torch.float32
        self._real_embed = FastEmbed(self._copy(), dtype=real_type, planned_rows=rows)
        self._embed = FastEmbed(self._copy(), planned_rows=rows)

    def _copy(self) -> nn.Module:
        problem = self._problem
        return network(problem.network, problem.shape, problem.class_count, 0).to(problem.device)

    def loss(self, synthetic: Synthetic, real: RealSource) -> Float[Tensor, ""]:
        self._current = self._pool.pick()
        module = self._pool.modules[self._current]
        images, labels = real.batch(self._config.real_batch)
        synthetic_images = synthetic.images
        if self._siamese is not None:
            drawn = self._siamese.draw(1, self._problem.shape, self._streams("augmentation"))
            images = self._siamese.apply(images, drawn)
            synthetic_images = self._siamese.apply(synthetic_images, drawn)
        test = self._real_embed(images, module)
        train = self._embed.differentiable(synthetic_images, module)
        wanted = F.one_hot(labels, self._problem.class_count).double() - 1 / self._problem.class_count
        predicted = ridge_predict(test, train, as_scores(synthetic.targets), self._config.reg)
        return 0.5 * (predicted - wanted).square().sum(1).mean().float()

    def advance(self, synthetic: Synthetic, real: RealSource) -> None:
        images = synthetic.images.detach()
        if self._siamese is not None:
            images = self._siamese(images, self._streams("augmentation"))
        self._pool.train(self._current, images, as_scores(synthetic.targets).detach())

    def state_dict(self) -> Tensors:
        return self._pool.state_dict()

    def load_state_dict(self, state: Tensors) -> None:
        self._pool.load_state_dict(state)
