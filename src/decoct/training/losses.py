"""The loss of every row, for hard and soft targets."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from decoct.training.config import Loss

RowLosses = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Float[Tensor, "n classes"], targets: Shaped[Tensor, "n ..."]) -> Float[Tensor, " n"]:
    """`-sum_c p_c log softmax(z)_c` in nats; `targets` are int64 classes `[n]` or probabilities `[n, C]`."""
    return F.cross_entropy(logits, targets, reduction="none")


def soft_cross_entropy(
    logits: Float[Tensor, "n classes"], targets: Shaped[Tensor, "n ..."], temperature: float = 1.0
) -> Float[Tensor, " n"]:
    """`-T^2 sum_c p_c log softmax(z / T)_c`: T^2 times the KL divergence from `p`, up to the entropy of `p`.

    Hinton, Vinyals & Dean, "Distilling the Knowledge in a Neural Network" (2015, https://arxiv.org/abs/1503.02531):
    the factor T^2 keeps the size of the gradients independent of T. `p` is what the teacher said at T.
    """
    return temperature**2 * F.cross_entropy(logits / temperature, targets, reduction="none")


def cross_entropy_at_own(
    logits: Float[Tensor, "n classes"], told: Float[Tensor, "n classes_and_one"]
) -> Float[Tensor, " n"]:
    """`soft_cross_entropy` where each row has a temperature of its own, told in the column after its probabilities."""
    own = told[:, -1]
    return own**2 * F.cross_entropy(logits / own[:, None], told[:, :-1], reduction="none")


def squared_error(logits: Float[Tensor, "n classes"], targets: Shaped[Tensor, "n ..."]) -> Float[Tensor, " n"]:
    """`mean_c (z_c - t_c)^2`; hard classes stand for one-hot rows."""
    if targets.ndim == 1:
        targets = F.one_hot(targets, logits.shape[1]).to(logits.dtype)
    return (logits - targets).square().mean(1)


def with_classes(scores: Float[Tensor, "n classes"], classes: Int[Tensor, " n"]) -> Float[Tensor, "n twice_classes"]:
    """The scores of each row, and beside them the one-hot row of its class: targets of `squared_error_and_class`."""
    return torch.cat([scores, F.one_hot(classes.to(scores.device), scores.shape[1]).to(scores.dtype)], 1)


def squared_error_and_class(
    logits: Float[Tensor, "n classes"], told: Float[Tensor, "n twice_classes"], weight: float
) -> Float[Tensor, " n"]:
    """`mean_c (z_c - t_c)^2 - w sum_c p_c log softmax(z)_c`, with `told` the scores t and then the class p of each row.

    What students of G-VBSM minimise, with w = 0.1 (Shao et al., CVPR 2024, https://arxiv.org/abs/2311.17950).
    """
    scores, classes = told.chunk(2, 1)
    return squared_error(logits, scores) + weight * F.cross_entropy(logits, classes, reduction="none")


def row_losses(loss: Loss, temperature: float = 1.0) -> RowLosses:
    """The function (logits `[n, C]`, targets) -> losses `[n]` of that name ("auto" must be resolved before)."""
    if loss == "kl":
        return lambda logits, targets: soft_cross_entropy(logits, targets, temperature)
    return squared_error if loss == "mse" else cross_entropy
