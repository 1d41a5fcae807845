"""`characteristic`: match the characteristic functions of real and synthetic features (NCFM)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from decoct.distillation.axes import Objective, ObjectiveState, Tensors
from decoct.distillation.checkpoint import prefixed, under
from decoct.distillation.objective.queued import QueuedState, class_means, queued_flops
from decoct.distillation.problem import Problem, RealSource, Synthetic
from decoct.distillation.queue import Member, QueueConfig
from decoct.distillation.strata import RealChoice
from decoct.errors import ConfigError
from decoct.networks.build import network
from decoct.networks.embedding import feature_width
from decoct.settings import require_at_least
from decoct.streams import Streams

FLOOR = 1e-6
"""Added in quadrature to every modulus and to the root of the loss, whose slopes are infinite at zero."""
TWENTY = QueueConfig(size=20, start=20, renew_every=1000, trained_per_step=1, train_steps=4, warm_steps=4000)
"""As many networks as the paper has; a network leaves after about twenty passes over 50,000 images."""


@dataclass(frozen=True)
class Characteristic(Objective):
    """`L = scale sum_c mean_t sqrt( alpha (|a|-|b|)^2 + 2 beta |a||b| (1 - cos(arg a - arg b)) )`.

    `a = mean_i exp(i t.phi(A_c x_i))` over the real rows of class c and `b = sum_j q_jc exp(i t.phi(A_c s_j)) / sum_j
    q_jc` over the synthetic ones are characteristic functions at random frequencies `t ~ N(0, sigma^2)`; `phi` are
    features of length 1 under a member of a queue of trained networks. They tell apart all distributions, not only
    those of different means. Added is `ce_weight` times the cross-entropy of the synthetic rows (`QueuedState`).

    Paper: "Dataset Distillation with Neural Characteristic Function: A Minmax Perspective", Wang et al., CVPR 2025,
    https://arxiv.org/abs/2502.20653; code of the authors: https://github.com/gszfwsb/NCFM.

    Real features `[C real_per_class, d]`, synthetic ones `[m, d]`, frequencies `[F, d]`, characteristic functions
    `[C, F]`; targets `[m, C]` as in `Distribution`. Cost of a step: `O((C real_per_class + m) F d)` beside the
    embeddings; with `keep_real` the real rows are embedded only after a network was trained, not in every step.

    The second term is computed as `beta |a - b|^2 - beta (|a|-|b|)^2`, which is the same without any angle: no wrap,
    and finite gradients where a modulus is zero, where the official code gives NaN.

    Differs from the paper and the official code: the networks are those of a queue, of all ages, instead of 20 fully
    trained ones mixed with random weights; the cross-entropy is taken under the same member, weighted by its training
    accuracy; matching and cross-entropy make one step, over all classes, which share the frequencies. Learned
    frequencies, which the shipped settings of the official code turn off, are `t_k = sigma n_k exp(tanh s_k)` for noise
    `n` and one `s` `[d]` for each network, moved up the loss by the gradient of the same backward pass; a network
    makes them there, for all feature extractors although their features have no common order.
    """

    real_per_class: int = 1024
    """Real images of each class behind one characteristic function; smaller classes give all they have."""
    real_choice: RealChoice = "random"
    """Real images of a class at random, or spread over its k-means clusters (`Strata`), which lets fewer of them do."""
    frequencies: int = 4096
    """Frequencies drawn for every step."""
    sigma: float | int = 1.0
    """Standard deviation of the frequencies, for features of length 1."""
    alpha: float | int = 0.5
    """Weight of the difference of amplitudes (diversity)."""
    beta: float | int = 0.5
    """Weight of the difference of phases (realism)."""
    scale: float | int = 300.0
    """Weight of the matching loss beside the cross-entropy."""
    ce_weight: float | int = 1.0
    """Weight of the cross-entropy of the synthetic images, times the network's accuracy (a fraction)."""
    learned_frequencies: bool = False
    """Move the spread of the frequencies along each feature so that the loss grows: the min-max form."""
    frequency_rate: float | int = 0.05
    """Step of that ascent, as the root mean square change of `s`."""
    queue: QueueConfig = TWENTY
    """The queue of trained networks."""
    keep_real: bool = False
    """Keep the real features under a network until it is trained again; else they are new every step."""
    bfloat16: bool = True
    """Embed the real images in bfloat16; the synthetic path stays float32."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frequencies < 1 or min(self.alpha, self.beta) < 0 or not self.sigma > 0:
            raise ConfigError(
                "setting up characteristic functions",
                received=f"frequencies={self.frequencies}, sigma={self.sigma}, alpha={self.alpha}, beta={self.beta}",
                expected="1 or more frequencies, sigma above 0, alpha and beta not below 0",
                remedy="keep the defaults, or give other values",
            )
        least = {"real_per_class": 1, "scale": 0, "ce_weight": 0, "frequency_rate": 0}
        require_at_least(self, "the objective 'characteristic'", **least)

    def init(self, problem: Problem, streams: Streams) -> ObjectiveState:
        return CharacteristicState(self, problem, streams)

    def flops(self, problem: Problem) -> float:
        probe = network(problem.network, problem.shape, problem.class_count, 0)
        per_row = 2.0 * self.frequencies * feature_width(probe, problem.shape)
        return queued_flops(problem, self.queue, self.real_per_class, self.keep_real, per_row)


def characteristic_functions(
    features: Float[Tensor, "n d"], weights: Float[Tensor, "n classes"], frequencies: Float[Tensor, "f d"]
) -> tuple[Float[Tensor, "classes f"], Float[Tensor, "classes f"]]:
    """Real and imaginary part of the weighted mean of `exp(i t.phi)` for each class and frequency."""
    angle = features @ frequencies.T
    return class_means(angle.cos(), weights), class_means(angle.sin(), weights)


def discrepancy(
    real: tuple[Float[Tensor, "classes f"], Float[Tensor, "classes f"]],
    synthetic: tuple[Float[Tensor, "classes f"], Float[Tensor, "classes f"]],
    alpha: float | int,
    beta: float | int,
) -> Float[Tensor, ""]:
    """Sum over classes of the mean over frequencies of the distance of two characteristic functions; 0 if equal."""
    (across, up), (other_across, other_up) = real, synthetic
    inside = beta * ((across - other_across).square() + (up - other_up).square())
    if alpha != beta:
        # The floor keeps |a| - |b| no larger than |a - b|, so that what stands under the root is never negative.
        gap = _modulus(across, up) - _modulus(other_across, other_up)
        inside = (inside + (alpha - beta) * gap.square()).clamp_min(0)
    return ((inside + FLOOR**2).sqrt() - FLOOR).mean(1).sum()


def normals(count: int, width: int, generator: torch.Generator, device: torch.device) -> Float[Tensor, "count width"]:
    """Standard normal draws on `device`. A GPU makes its own, from a seed that `generator` draws: those of a processor
    take longer than the rest of a step, and to get there."""
    if device.type != "cuda":
        return torch.randn(count, width, generator=generator).to(device)
    seed = int(torch.randint(2**62, (1,), generator=generator))
    return torch.randn(count, width, generator=torch.Generator(device).manual_seed(seed), device=device)


def _modulus(across: Tensor, up: Tensor) -> Tensor:
    return (across.square() + up.square() + FLOOR**2).sqrt()


class CharacteristicState(QueuedState):
    """Characteristic functions under the members of a queue, and the learned spreads of the frequencies."""

    def __init__(self, config: Characteristic, problem: Problem, streams: Streams) -> None:
        super().__init__(
            problem, streams, config.queue,
            real_per_class=config.real_per_class, real_choice=config.real_choice, ce_weight=config.ce_weight,
            keep_real=config.keep_real, bfloat16=config.bfloat16,
        )  # fmt: skip
        self._config = config
        self._spreads: dict[int, Tensor] = {}
        self._current: int | None = None

    def summary(self, features: Float[Tensor, "n d"], classes: Int[Tensor, " n"]) -> Tensors:
        return {"features": F.normalize(features, dim=1), "classes": classes}

    def discrepancy(
        self, kept: Tensors, features: Float[Tensor, "m d"], weights: Float[Tensor, "m classes"], member: Member
    ) -> Float[Tensor, ""]:
        config = self._config
        frequencies = self._frequencies(member.number, features)
        real = characteristic_functions(kept["features"], self.one_hot(kept["classes"]), frequencies)
        synthetic = characteristic_functions(F.normalize(features, dim=1), weights, frequencies)
        return config.scale * discrepancy(real, synthetic, config.alpha, config.beta)

    def _frequencies(self, number: int, features: Float[Tensor, "m d"]) -> Float[Tensor, "f d"]:
        width = features.shape[1]
        noise = normals(self._config.frequencies, width, self.streams("frequencies"), features.device)
        noise = self._config.sigma * noise
        if not self._config.learned_frequencies:
            return noise
        self._current = number
        spread = self._spreads.setdefault(number, features.new_zeros(width)).requires_grad_(True)
        spread.grad = None
        return noise * spread.tanh().exp()

    def advance(self, synthetic: Synthetic, real: RealSource) -> None:
        if self._current is not None:
            self._ascend(self._spreads[self._current])
        super().advance(synthetic, real)
        living = {member.number for member in self.queue.members}
        self._spreads = {number: spread for number, spread in self._spreads.items() if number in living}

    @torch.no_grad()
    def _ascend(self, spread: Tensor) -> None:
        """Move up the gradient that the backward pass of this step left."""
        if spread.grad is not None:
            size = spread.grad.square().mean().sqrt().clamp_min(1e-12)
            spread.add_(self._config.frequency_rate * spread.grad / size)
            spread.grad = None

    def state_dict(self) -> Tensors:
        spreads = {str(number): spread.detach() for number, spread in self._spreads.items()}
        return {**super().state_dict(), **prefixed("spreads", spreads)}

    def load_state_dict(self, state: Tensors) -> None:
        super().load_state_dict(state)
        found = under("spreads", state)
        self._spreads = {int(number): value.to(self.problem.device).clone() for number, value in found.items()}
