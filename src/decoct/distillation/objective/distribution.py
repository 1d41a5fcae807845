"""`distribution`: match the class means of real and synthetic images in random or trained embeddings (DM, IDM)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from decoct.augment.siamese import Parameters
from decoct.distillation.axes import Objective, ObjectiveState, Tensors
from decoct.distillation.checkpoint import prefixed, under
from decoct.distillation.objective.queued import ClassAugmentation, QueuedState, class_means, queued_flops, real_rows
from decoct.distillation.problem import Problem, RealSource, Synthetic
from decoct.distillation.queue import Member, QueueConfig
from decoct.distillation.strata import RealChoice, Strata
from decoct.networks.build import network
from decoct.networks.count import flops_forward
from decoct.settings import out_of_range, require_at_least
from decoct.streams import Streams, derive_seed
from decoct.training.fast_embed import FastEmbed

__all__ = ["Distribution", "class_means", "matching_loss"]


@dataclass(frozen=True)
class Distribution(Objective):
    """`L = sum_c || mean_i phi(A_c x_i^c) - sum_j q_jc phi(A_c s_j) / sum_j q_jc ||^2`, phi a random network.

    Paper: "Dataset Condensation with Distribution Matching", Zhao and Bilen, WACV 2023,
    https://arxiv.org/abs/2110.04181; code of the authors: https://github.com/VICO-UoE/DatasetCondensation. With
    `networks="queue"` that of "Improved Distribution Matching for Dataset Condensation" (IDM), Zhao et al., CVPR 2023,
    https://arxiv.org/abs/2307.09742; code of the authors: https://github.com/uitrbn/IDM.

    Real rows `[C real_per_class, ...]`, synthetic rows `[m, ...]`, embeddings `[., d]`, class means `[C, d]`; the
    targets `q` `[m, C]`: one-hot ones pick the class (the paper), learned ones weigh the mean, which is how labels
    get a gradient here. `A_c` is one siamese augmentation for each class and network, the same for both sides.

    Cost of a step: `C real_per_class` forward passes without and `m` with a gradient for the images only. All classes
    go through one forward pass and are averaged by segment sums, where the official code loops over classes; networks
    with batch statistics therefore see all classes together, as the paper asks for them. With `pool` > 0 the class
    means of each pooled network under its augmentation are computed once and kept, and one network is renewed every
    `renew_every` steps: the real data then cost `1 / renew_every` of a step.

    IDM draws phi from a queue of networks trained on real data and adds `ce_weight a sum_c mean_{j in c} CE(f(s_j))`,
    `a` the network's running training accuracy. Differs from its official code: `a` is a fraction, in percent there,
    so weights are a hundred times the published ones; test data are never read, where the official code measures every
    network of the queue on them for its log; one step for all classes; BatchNorm uses the statistics of the batch; the
    queue is part of every checkpoint. Its embedding that is named after channel averages returns all features, and so
    does this one.
    """

    networks: Literal["random", "queue"] = "random"
    """Embed with random networks (DM), or with a queue of networks that are trained on the real data (IDM)."""

    real_per_class: int = 256
    """Real images of each class behind one class mean; smaller classes give all they have."""
    pool: int = 0
    """Random networks kept with their class means; 0 draws a fresh one at every step, as in the paper, and stands for
    a queue, which keeps its own."""
    renew_every: int = 4
    """Steps after which the oldest network of a pool is drawn anew; a queue has a `renew_every` of its own."""
    real_choice: RealChoice = "random"
    """Real images of a class at random, or spread over its k-means clusters (`Strata`), which lets fewer of them do."""
    bfloat16: bool = True
    """Embed the real images in bfloat16; the synthetic path stays float32."""
    queue: QueueConfig = field(default_factory=QueueConfig)
    """The queue of trained networks; unused with random ones."""
    ce_weight: float | int = 0.0
    """With a queue: weight of the cross-entropy of the synthetic images, times the network's accuracy (a fraction)."""
    keep_real: bool = False
    """With a queue: keep the class means under a network until it is trained again; else they are new every step."""

    def __post_init__(self) -> None:
        super().__post_init__()
        least = {"real_per_class": 1, "pool": 0, "renew_every": 1, "ce_weight": 0}
        where = "the objective 'distribution'"
        require_at_least(self, where, **least)
        if self.pool and self.networks == "queue":
            raise out_of_range(self, "pool", where, "0 with networks='queue', which keeps networks of its own")

    def init(self, problem: Problem, streams: Streams) -> ObjectiveState:
        state = DistributionState if self.networks == "random" else QueuedDistribution
        return state(self, problem, streams)

    def flops(self, problem: Problem) -> float:
        if self.networks == "queue":
            return queued_flops(problem, self.queue, self.real_per_class, self.keep_real)
        probe = network(problem.network, problem.shape, problem.class_count, 0)
        share = 1.0 if self.pool == 0 else 1.0 / self.renew_every
        rows = problem.class_count * (share * self.real_per_class + 3 * problem.ipc)
        return rows * flops_forward(probe, problem.shape)


def matching_loss(real: Float[Tensor, "classes d"], synthetic: Float[Tensor, "classes d"]) -> Float[Tensor, ""]:
    """Sum over classes of the squared distance of the means."""
    return (real - synthetic).square().sum()


class DistributionState(ObjectiveState):
    """The number of networks drawn so far, and for a pool the seeds and class means of its members."""

    def __init__(self, config: Distribution, problem: Problem, streams: Streams) -> None:
        self._config, self._problem, self._streams = config, problem, streams
        self._drawn = 0
        self._step = 0
        self._members: list[int] = []
        self._means: list[Tensor] = []
        self._modules: dict[int, nn.Module] = {}
        self._augmentation = ClassAugmentation(problem, streams.seed)
        self._strata = Strata(problem, streams.seed) if config.real_choice == "clustered" else None
        carrier = self._network(0)
        rows = int(problem.work / max(flops_forward(carrier, problem.shape), 1.0))
        real_type = torch.bfloat16 if config.bfloat16 else torch.float32
        self._real_embed = FastEmbed(carrier, dtype=real_type, planned_rows=rows)
        self._embed = FastEmbed(self._network(0), planned_rows=rows)

    def _network(self, number: int) -> nn.Module:
        """The random network of this number: a function of the run's seed and nothing else."""
        return self._problem.module(derive_seed(self._streams.seed, "distribution", number))

    def _real_means(
        self, module: nn.Module, parameters: Parameters | None, real: RealSource
    ) -> Float[Tensor, "classes d"]:
        images, labels = real_rows(real, self._strata, self._config.real_per_class)
        features = self._real_embed(self._augmentation.apply(images, labels, parameters), module)
        return class_means(features, self._one_hot(labels))

    def _one_hot(self, classes: Int[Tensor, " n"]) -> Float[Tensor, "n classes"]:
        return nn.functional.one_hot(classes, self._problem.class_count).float()

    def _next(self, real: RealSource) -> tuple[int, nn.Module, Tensor]:
        """Number, network and real class means for this step."""
        if self._config.pool == 0 or len(self._members) < self._config.pool:
            return self._draw(real)
        if self._step % self._config.renew_every == 0:
            self._modules.pop(self._members.pop(0), None)
            self._means.pop(0)
            return self._draw(real)
        place = int(torch.randint(len(self._members), (1,), generator=self._streams("pool")))
        number = self._members[place]
        if number not in self._modules:
            self._modules[number] = self._network(number)
        return number, self._modules[number], self._means[place]

    def _draw(self, real: RealSource) -> tuple[int, nn.Module, Tensor]:
        number = self._drawn
        self._drawn += 1
        module = self._network(number)
        means = self._real_means(module, self._augmentation.draw(number), real)
        if self._config.pool:
            self._members.append(number)
            self._means.append(means)
            self._modules[number] = module
        return number, module, means

    def loss(self, synthetic: Synthetic, real: RealSource) -> Float[Tensor, ""]:
        number, module, means = self._next(real)
        self._step += 1
        drawn = self._augmentation.draw(number)
        images = self._augmentation.apply(synthetic.images, synthetic.classes, drawn)
        features = self._embed.differentiable(images, module)
        learned = synthetic.targets.requires_grad
        weights = synthetic.targets if learned else self._one_hot(synthetic.classes).to(features.device)
        return matching_loss(means, class_means(features, weights))

    def state_dict(self) -> Tensors:
        means = {f"means.{number}": value for number, value in zip(self._members, self._means, strict=True)}
        strata = prefixed("strata", self._strata.state_dict()) if self._strata else {}
        return {**means, **strata, "counts": torch.tensor([self._drawn, self._step, *self._members])}

    def load_state_dict(self, state: Tensors) -> None:
        self._drawn, self._step, *self._members = (int(value) for value in state["counts"])
        self._means = [state[f"means.{number}"].to(self._problem.device) for number in self._members]
        self._modules = {}
        if self._strata is not None:
            self._strata.load_state_dict(under("strata", state))


class QueuedDistribution(QueuedState):
    """Class means under the members of a queue of trained networks."""

    def __init__(self, config: Distribution, problem: Problem, streams: Streams) -> None:
        super().__init__(
            problem, streams, config.queue,
            real_per_class=config.real_per_class, real_choice=config.real_choice, ce_weight=config.ce_weight,
            keep_real=config.keep_real, bfloat16=config.bfloat16,
        )  # fmt: skip

    def summary(self, features: Float[Tensor, "n d"], classes: Int[Tensor, " n"]) -> Tensors:
        return {"means": class_means(features, self.one_hot(classes))}

    def discrepancy(
        self, kept: Tensors, features: Float[Tensor, "m d"], weights: Float[Tensor, "m classes"], member: Member
    ) -> Float[Tensor, ""]:
        return matching_loss(kept["means"], class_means(features, weights))
