"""`ridge`: synthetic rows must make kernel ridge regression predict the real labels (KIP, FRePo)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from decoct.augment.siamese import Siamese
from decoct.distillation.axes import Objective, ObjectiveState, Tensors
from decoct.distillation.pool import Pool
from decoct.distillation.problem import Problem, RealSource, Synthetic
from decoct.errors import ConfigError, DivergenceError
from decoct.networks.build import network
from decoct.networks.count import flops_forward
from decoct.networks.probe import blank_inputs, undisturbed
from decoct.settings import require_above, require_at_least
from decoct.streams import Streams
from decoct.training.fast_embed import FastEmbed
from decoct.training.graphs import best_piece, measure


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
    one with BatchNorm, thousands of steps instead of half a million. Differs from the official code: any ipc is
    accepted; the pool learns from all synthetic rows, with their mirror images where there are any, instead of at most
    1000 of them without; the pool, its optimisers and all random streams are checkpointed.
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
    margin: float = 0.0
    """Weight of the label margin: the loss falls with the mean over learned labels of `min(top1 - top2, 1/C)`."""
    flip: bool = False
    """Add the mirror image of every synthetic row with the same labels, in the regression and for the pool."""
    running_statistics: bool = False
    """Embed both sides with the running statistics of BatchNorm, which the pool's steps on the synthetic rows gather
    (FRePo), instead of those of each side's own rows; without BatchNorm it changes nothing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, "the objective 'ridge'", real_batch=1, pool=1, max_age=1, reg=0, margin=0)
        require_above(self, "the objective 'ridge'", online_lr=0)

    def augments(self, families: tuple[str, ...]) -> tuple[str, ...]:
        return families if self.augmented else ()

    def init(self, problem: Problem, streams: Streams) -> ObjectiveState:
        if self.flip and not problem.spec.is_image:
            raise ConfigError(
                "starting the objective 'ridge' with flip=True",
                received=f"rows of shape {problem.shape}, a table of features",
                expected="images of shape (channels, height, width), which have a mirror image",
                remedy="use flip=False",
            )
        return RidgeState(self, problem, streams)

    def flops(self, problem: Problem) -> float:
        probe = network(problem.network, problem.shape, problem.class_count, 0)
        rows = self.real_batch + (12 if self.flip else 6) * problem.class_count * problem.ipc
        return float(rows) * flops_forward(probe, problem.shape)


def ridge_predict(
    test: Float[Tensor, "n d"], train: Float[Tensor, "m d"], labels: Float[Tensor, "m c"], reg: float
) -> Float[Tensor, "n c"]:
    """Kernel ridge regression with the linear kernel, in float64: `K_ts (K_ss + reg tr(K_ss)/m I)^-1 Y`."""
    return test.double() @ ridge_weights(train, labels, reg)


def ridge_weights(train: Float[Tensor, "m d"], labels: Float[Tensor, "m c"], reg: float) -> Float[Tensor, "d c"]:
    """The linear head that predicts so, float64: `H^T (H H^T + reg tr(H H^T)/m I)^-1 Y`.

    Solved as `[m, m]`, or in the equal primal form `[d, d]` where m > d. While the factorisation fails
    the ridge grows tenfold, from 1e-12 of the mean diagonal at least, up to six times; then `DivergenceError`.
    """
    train, labels = train.double(), labels.double()
    rows, width = train.shape
    dual = rows <= width
    gram = train @ train.T if dual else train.T @ train
    diagonal = train.square().sum() / rows
    right = labels if dual else train.T @ labels
    solved = torch.cholesky_solve(right, _factor(gram, diagonal, reg, f"features of shape {tuple(train.shape)}"))
    return train.T @ solved if dual else solved


def kernel_predict(
    cross: Float[Tensor, "n m"], kernel: Float[Tensor, "m m"], labels: Float[Tensor, "m c"], reg: float
) -> Float[Tensor, "n c"]:
    """The same for any kernel: `K_ts (K_ss + reg tr(K_ss)/m I)^-1 Y` from `cross` = K_ts and `kernel` = K_ss."""
    kernel = kernel.double()
    factor = _factor(kernel, kernel.diagonal().mean(), reg, f"a kernel of shape {tuple(kernel.shape)}")
    return cross.double() @ torch.cholesky_solve(labels.double(), factor)


def _factor(gram: Float[Tensor, "k k"], diagonal: Float[Tensor, ""], reg: float, what: str) -> Float[Tensor, "k k"]:
    """The Cholesky factor of `gram + reg diagonal I`, with a larger ridge where it fails."""
    eye = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    shift = reg * diagonal
    for _ in range(7):
        factor, failed = torch.linalg.cholesky_ex(gram + shift * eye)
        if not failed.any():
            return factor
        shift = torch.maximum(shift * 10, 1e-12 * diagonal)
    raise DivergenceError(
        "solving the ridge regression",
        received=f"{what} whose kernel is not positive definite at reg {reg:g}",
        expected="finite features",
        remedy="lower the learning rate of the recipe, or raise reg",
    )


def fitting_piece(module: nn.Module, shape: tuple[int, ...], rows: int, device: str) -> int:
    """Rows of a piece that wastes little where `module` always runs on `rows` rows of `shape`."""
    with undisturbed(module):
        cost = measure(module, blank_inputs(module, shape, 2))
    return best_piece(rows, cost, device)


def squared_loss(predicted: Float[Tensor, "n c"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
    """`1/2 mean_i || predicted_i - (e_yi - 1/C) ||^2`."""
    count = predicted.shape[1]
    wanted = F.one_hot(labels, count).double() - 1 / count
    return 0.5 * (predicted - wanted).square().sum(1).mean().float()


def platt_loss(
    predicted: Float[Tensor, "n c"], labels: Int[Tensor, " n"], log_scale: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """Cross-entropy, in nats, of the predictions times a learned scale `e^log_scale`."""
    return F.cross_entropy(predicted * log_scale.double().exp(), labels).float()


def label_margin(targets: Float[Tensor, "m classes"]) -> Float[Tensor, ""]:
    """The mean over rows of `min(top1 - top2, 1/C)`: what FRePo wants large, so that labels keep their class."""
    top = targets.topk(2, dim=1).values
    return (top[:, 0] - top[:, 1]).clamp(max=1 / targets.shape[1]).mean()


def flipped(images: Float[Tensor, "m c h w"]) -> Float[Tensor, "k c h w"]:
    """The images, then their mirror images."""
    return torch.cat([images, images.flip(3)])


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
        self._real_embed = FastEmbed(self._carrier(), dtype=real_type, planned_rows=rows)
        self._embed = FastEmbed(self._carrier(), planned_rows=rows)

    def _carrier(self) -> nn.Module:
        """A network in the mode in which those of the pool embed."""
        module = self._problem.module(0)
        return module.eval() if self._config.running_statistics else module

    def loss(self, synthetic: Synthetic, real: RealSource) -> Float[Tensor, ""]:
        self._current = self._pool.pick()
        module = self._pool.modules[self._current]
        images, labels = real.batch(self._config.real_batch)
        synthetic_images, targets = self._mirrored(synthetic)
        if self._siamese is not None:
            drawn = self._siamese.draw(1, self._problem.shape, self._streams("augmentation"))
            images = self._siamese.apply(images, drawn)
            synthetic_images = self._siamese.apply(synthetic_images, drawn)
        test = self._real_embed(images, module)
        train = self._embed.differentiable(synthetic_images, module)
        loss = squared_loss(ridge_predict(test, train, targets, self._config.reg), labels)
        if self._config.margin and synthetic.targets.requires_grad:
            loss = loss - self._config.margin * label_margin(synthetic.targets)
        return loss

    def _mirrored(self, synthetic: Synthetic) -> tuple[Float[Tensor, "k ..."], Float[Tensor, "k classes"]]:
        """Images and regression targets of the step, with their mirror images where those are asked for."""
        targets = as_scores(synthetic.targets)
        if not self._config.flip:
            return synthetic.images, targets
        return flipped(synthetic.images), torch.cat([targets, targets])

    def advance(self, synthetic: Synthetic, real: RealSource) -> None:
        images, targets = (tensor.detach() for tensor in self._mirrored(synthetic))
        if self._siamese is not None:
            images = self._siamese(images, self._streams("augmentation"))
        self._pool.train(self._current, images, targets)

    def state_dict(self) -> Tensors:
        return self._pool.state_dict()

    def load_state_dict(self, state: Tensors) -> None:
        self._pool.load_state_dict(state)
