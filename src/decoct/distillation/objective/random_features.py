"""`random-features`: kernel ridge regression on the features of random networks, whose real side is kept (RFAD)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from decoct.augment.siamese import Parameters, Siamese
from decoct.distillation.axes import Objective, ObjectiveState, Tensors
from decoct.distillation.checkpoint import prefixed, under
from decoct.distillation.objective.ridge import as_scores, fitting_piece, platt_loss, ridge_weights, squared_loss
from decoct.distillation.problem import Problem, RealSource, Synthetic
from decoct.networks.build import network
from decoct.networks.count import flops_forward
from decoct.settings import require_above, require_at_least
from decoct.streams import Streams, derive_seed
from decoct.training.fast import FastGradient
from decoct.training.fast_embed import FastEmbed
from decoct.training.optimise import trained


@dataclass(frozen=True)
class RandomFeatures(Objective):
    """`L = l(K_ts (K_ss + reg tr(K_ss)/m I)^-1 Y_s, y_t)`, `K = 1/N sum_i phi_i phi_i^T + b`, phi_i random networks.

    Paper: "Efficient Dataset Distillation using Random Feature Approximation" (RFAD), Loo, Hasani, Amini, Rus,
    NeurIPS 2022, https://arxiv.org/abs/2210.12067; code of the authors: https://github.com/yolky/RFAD.

    Features of each of N networks `[., d]` are flattened maps without the head; those of a group of N side by side,
    divided by sqrt(N), with a column `sqrt(b)` make `H` `[., N d + 1]`, and `K = H H^T`. `Y_s` `[m, C]` are centred or
    learned scores. `l` is half the squared error to centred one-hot labels, or the cross-entropy of the predictions
    times one learned positive scale (Platt). The solve is in float64, primal where m > N d + 1.

    `pool` = 0 draws a fresh group at every step, as the paper does: N real_batch forward passes. With `pool` > 0 the
    real features of each group are computed once and kept, `pool real_batch N d` floats, and one group is renewed
    every `renew_every` steps: a step then costs N m forward passes with a gradient for the images, a product of
    `real_batch N d m`, and `1 / renew_every` of the real side, which is most of the work otherwise. With `max_age` > 0
    each new network first learns the synthetic set for a random number of steps (squared error, Adam), so that the
    pool holds all ages, as FRePo's does. An augmentation is drawn with the group and kept with its features.

    Differs from the paper: the constant `b` is a share of the mean diagonal, so that it means the same for every
    network; networks as everywhere here instead of twice as wide ones without normalisation (ask for `-none` and a
    width); no learned linear map of the pixels, which a storage with shared bases does better; Adam in place of
    AdaBelief. Differs from the official code: any ipc is accepted, and a resume is exact.
    """

    label_space = "scores"
    real_batch: int = 1280
    """Real rows of a group, classes in equal shares."""
    networks: int = 8
    """Networks of a group."""
    pool: int = 0
    """Groups kept with their real features; 0 draws a fresh group at every step."""
    renew_every: int = 10
    """Steps after which the oldest group of a pool is drawn anew."""
    max_age: int = 0
    """A new network learns the synthetic set for 0 to this many steps; 0 leaves it random."""
    online_lr: float = 3e-4
    """Adam step size of that learning."""
    reg: float = 5e-3
    """Ridge added to the kernel, as a share of its mean diagonal."""
    bias: float = 0.01
    """Constant added to the kernel, as a share of the mean diagonal of the synthetic one."""
    loss: Literal["mse", "platt"] = "platt"
    """Squared error, or cross-entropy of scaled predictions."""
    augmented: bool = False
    """Apply the siamese augmentation of the problem: one draw for both sides of a group."""
    bfloat16: bool = True
    """Embed the real rows in bfloat16; the synthetic path stays float32, the solve float64."""

    def __post_init__(self) -> None:
        super().__post_init__()
        least = {"real_batch": 1, "networks": 1, "pool": 0, "renew_every": 1, "max_age": 0, "reg": 0, "bias": 0}
        require_at_least(self, "the objective 'random-features'", **least)
        require_above(self, "the objective 'random-features'", online_lr=0)

    def augments(self, families: tuple[str, ...]) -> tuple[str, ...]:
        return families if self.augmented else ()

    def init(self, problem: Problem, streams: Streams) -> ObjectiveState:
        return RandomFeaturesState(self, problem, streams)

    def flops(self, problem: Problem) -> float:
        probe = network(problem.network, problem.shape, problem.class_count, 0)
        rows = problem.class_count * problem.ipc
        share = 1.0 if self.pool == 0 else 1.0 / self.renew_every
        once = self.real_batch + 1.5 * self.max_age * rows
        return self.networks * (share * once + 3.0 * rows) * flops_forward(probe, problem.shape)


def joined(features: list[Float[Tensor, "n d"]]) -> Float[Tensor, "n k"]:
    """Features `H` with `H H^T` the mean of the kernels of all networks."""
    return features[0] if len(features) == 1 else torch.cat(features, dim=1) / math.sqrt(len(features))


def with_bias(features: Float[Tensor, "n d"], bias: Float[Tensor, ""]) -> Float[Tensor, "n k"]:
    """One more column, so that the kernel is `bias` larger everywhere."""
    return torch.cat([features, bias.sqrt().to(features.dtype).expand(len(features), 1)], dim=1)


@dataclass(eq=False)
class Group:
    """Networks with what is kept of the real data under them."""

    number: int
    modules: list[nn.Module]
    drawn: Parameters | None
    features: Float[Tensor, "n d"] | None = None
    labels: Int[Tensor, " n"] | None = None


class RandomFeaturesState(ObjectiveState):
    """The groups kept, how many were drawn, and the learned scale of the predictions.

    Rows, initial weights, ages and augmentation of a group are functions of the run's seed and its number; so its
    features are computed again after a resume instead of being stored.
    """

    def __init__(self, config: RandomFeatures, problem: Problem, streams: Streams) -> None:
        self._config, self._problem, self._streams = config, problem, streams
        self._drawn, self._step = 0, 0
        self._groups: list[Group] = []
        self._siamese = Siamese(problem.strategy) if config.augmented and problem.strategy else None
        self._scale = torch.zeros((), device=problem.device) if config.loss == "platt" else None
        carrier = self._network(0, 0)
        rows = int(problem.work / max(flops_forward(carrier, problem.shape), 1.0))
        real_type = torch.bfloat16 if config.bfloat16 else torch.float32
        self._real_embed = FastEmbed(carrier, dtype=real_type, planned_rows=rows)
        piece = fitting_piece(carrier, problem.shape, problem.class_count * problem.ipc, problem.device)
        self._embed = FastEmbed(self._network(0, 0), planned_rows=rows, piece=piece)
        self._gradient = FastGradient(self._network(0, 0), "mse", planned_flops=problem.work)

    @property
    def tensors(self) -> Tensors:
        return {} if self._scale is None else {"log_scale": self._scale}

    def _network(self, number: int, place: int) -> nn.Module:
        return self._problem.module(derive_seed(self._streams.seed, "random-features", number, place))

    def _generator(self, purpose: str, number: int) -> torch.Generator:
        generator = torch.Generator()
        generator.manual_seed(derive_seed(self._streams.seed, "random-features", purpose, number))
        return generator

    def _group(self, number: int) -> Group:
        """The group of this number with networks as initialised."""
        drawn = None
        if self._siamese is not None:
            drawn = self._siamese.draw(1, self._problem.shape, self._generator("augmentation", number))
        return Group(number, [self._network(number, place) for place in range(self._config.networks)], drawn)

    def _next(self, synthetic: Synthetic) -> Group:
        """The group of this step: a new one while the pool fills and when one is due, else any."""
        self._step += 1
        due = (self._step - 1) % self._config.renew_every == 0
        if len(self._groups) < self._config.pool or self._config.pool == 0 or due:
            group = self._group(self._drawn)
            self._drawn += 1
            self._grow_up(group, synthetic)
            self._groups = [*self._groups, group][-self._config.pool :] if self._config.pool else []
            return group
        return self._groups[int(torch.randint(len(self._groups), (1,), generator=self._streams("pool")))]

    def _grow_up(self, group: Group, synthetic: Synthetic) -> None:
        """Let each network of a new group learn the synthetic set for its number of steps."""
        if not self._config.max_age:
            return
        generator = self._generator("age", group.number)
        images, targets = synthetic.images.detach(), as_scores(synthetic.targets).detach()
        for module in group.modules:
            age = int(torch.randint(self._config.max_age + 1, (1,), generator=generator))
            optimizer = torch.optim.Adam(trained(module).values(), lr=self._config.online_lr)
            for _ in range(age):
                seen = images if self._siamese is None else self._siamese(images, generator)
                self._gradient(module, seen, targets)
                optimizer.step()

    def _real(self, group: Group, real: RealSource) -> tuple[Float[Tensor, "n d"], Int[Tensor, " n"]]:
        """Features and labels of the real rows of a group, computed once."""
        if group.features is None or group.labels is None:
            own = RealSource(real.data, real.device, self._generator("real", group.number))
            images, group.labels = own.batch(self._config.real_batch)
            if self._siamese is not None and group.drawn is not None:
                images = self._siamese.apply(images, group.drawn)
            group.features = joined([self._real_embed(images, module) for module in group.modules])
        return group.features, group.labels

    def loss(self, synthetic: Synthetic, real: RealSource) -> Float[Tensor, ""]:
        group = self._next(synthetic)
        test, labels = self._real(group, real)
        images = synthetic.images
        if self._siamese is not None and group.drawn is not None:
            images = self._siamese.apply(images, group.drawn)
        train = joined([self._embed.differentiable(images, module) for module in group.modules])
        targets = as_scores(synthetic.targets)
        if self._config.bias:
            bias = self._config.bias * train.square().sum() / len(train)
            head = ridge_weights(with_bias(train, bias), targets, self._config.reg)
            predicted = (test @ head[:-1].float()).double() + bias.sqrt() * head[-1]
        else:
            predicted = (test @ ridge_weights(train, targets, self._config.reg).float()).double()
        return squared_loss(predicted, labels) if self._scale is None else platt_loss(predicted, labels, self._scale)

    def state_dict(self) -> Tensors:
        found: Tensors = {"counts": torch.tensor([self._drawn, self._step, *(group.number for group in self._groups)])}
        if self._config.max_age:
            for group in self._groups:
                for place, module in enumerate(group.modules):
                    found |= prefixed(f"{group.number}.{place}", module.state_dict())
        return found

    def load_state_dict(self, state: Tensors) -> None:
        self._drawn, self._step, *numbers = (int(value) for value in state["counts"])
        self._groups = [self._group(number) for number in numbers]
        for group in self._groups if self._config.max_age else ():
            for place, module in enumerate(group.modules):
                module.load_state_dict(under(f"{group.number}.{place}", state))
