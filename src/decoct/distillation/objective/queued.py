"""What objectives share that compare real and synthetic features under a network of a queue."""

from __future__ import annotations

from abc import abstractmethod

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from decoct.augment.siamese import Parameters, Siamese, expand
from decoct.distillation.axes import ObjectiveState, Tensors
from decoct.distillation.checkpoint import prefixed, under
from decoct.distillation.problem import Problem, RealSource, Synthetic
from decoct.distillation.queue import Member, Queue, QueueConfig
from decoct.distillation.strata import RealChoice, Strata
from decoct.networks.build import network
from decoct.networks.count import flops_forward
from decoct.networks.embedding import embed_and_classify
from decoct.streams import Streams, derive_seed
from decoct.training.fast_embed import FastEmbed
from decoct.training.losses import cross_entropy


def class_means(features: Float[Tensor, "n d"], weights: Float[Tensor, "n classes"]) -> Float[Tensor, "classes d"]:
    """Weighted mean of the features for each class; a class without weight has mean 0."""
    return (weights.T @ features) / weights.sum(0).clamp_min(1e-12)[:, None]


def real_rows(real: RealSource, strata: Strata | None, count: int) -> tuple[Float[Tensor, "n ..."], Int[Tensor, " n"]]:
    """`count` real rows of every class: at random, or spread over the clusters of the class."""
    return real.per_class(count) if strata is None else strata.per_class(real, count)


class ClassAugmentation:
    """One siamese augmentation for each class, the same for its real and synthetic images; replayed by its number."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self._problem, self._seed = problem, seed
        self._siamese = Siamese(problem.strategy, per_sample=True) if problem.strategy else None

    def draw(self, number: int) -> Parameters | None:
        """The parameters of this number, one row a class; none where the problem has no augmentation."""
        if self._siamese is None:
            return None
        generator = torch.Generator()
        generator.manual_seed(derive_seed(self._seed, "augmentation", number))
        return self._siamese.draw(self._problem.class_count, self._problem.shape, generator)

    def apply(
        self, images: Float[Tensor, "n ..."], classes: Int[Tensor, " n"], parameters: Parameters | None
    ) -> Float[Tensor, "n ..."]:
        """`images` changed each as its class is."""
        if self._siamese is None or parameters is None:
            return images
        return self._siamese.apply(images, expand(parameters, classes.cpu()))


class QueuedState(ObjectiveState):
    """A queue of trained networks; each step compares real and synthetic features under one of them.

    The loss is `discrepancy + ce_weight a sum_c mean_{j in c} CE(f(A_c s_j), q_j)`, `f` the member of this step with
    running training accuracy `a` (a fraction), `q` the targets. Features and logits of the synthetic rows come from
    one forward pass. What `summary` makes of the real rows is kept with the member where `keep_real`, together with
    the augmentation they were seen under, until the member is trained again.
    """

    def __init__(
        self, problem: Problem, streams: Streams, queue: QueueConfig, *,
        real_per_class: int, real_choice: RealChoice, ce_weight: float | int, keep_real: bool, bfloat16: bool,
    ) -> None:  # fmt: skip
        self.problem, self.streams = problem, streams
        self.queue = Queue(problem, streams, queue)
        self._real_per_class, self._ce_weight, self._keep_real = real_per_class, ce_weight, keep_real
        self._augmentation = ClassAugmentation(problem, streams.seed)
        self._strata = Strata(problem, streams.seed) if real_choice == "clustered" else None
        self._draws = 0
        carrier = problem.module(0)
        rows = int(problem.work / max(flops_forward(carrier, problem.shape), 1.0))
        self._real_embed = FastEmbed(carrier, dtype=torch.bfloat16 if bfloat16 else torch.float32, planned_rows=rows)
        self._embed = FastEmbed(problem.module(0), _features_and_logits, planned_rows=rows)

    @abstractmethod
    def summary(self, features: Float[Tensor, "n d"], classes: Int[Tensor, " n"]) -> Tensors:
        """What the discrepancy needs of the real features."""

    @abstractmethod
    def discrepancy(
        self, kept: Tensors, features: Float[Tensor, "m d"], weights: Float[Tensor, "m classes"], member: Member
    ) -> Float[Tensor, ""]:
        """How far the synthetic features, weighted by class, are from what was kept of the real ones."""

    def one_hot(self, classes: Int[Tensor, " n"]) -> Float[Tensor, "n classes"]:
        """Each row's class as a row of zeros and one 1."""
        return F.one_hot(classes, self.problem.class_count).float()

    def prepare(self, real: RealSource) -> None:
        self.queue.warm(real)

    def loss(self, synthetic: Synthetic, real: RealSource) -> Float[Tensor, ""]:
        member = self.queue.pick()
        kept = self._kept(member, real)
        drawn = self._augmentation.draw(int(kept["draw"]))
        images = self._augmentation.apply(synthetic.images, synthetic.classes, drawn)
        both = self._embed.differentiable(images, member.module)
        features, logits = both.split([both.shape[1] - self.problem.class_count, self.problem.class_count], 1)
        nominal = self.one_hot(synthetic.classes).to(features.device)
        weights = synthetic.targets if synthetic.targets.requires_grad else nominal
        total = self.discrepancy(kept, features, weights, member)
        scale = self._ce_weight * member.accuracy
        if scale == 0:
            return total
        return total + scale * class_means(cross_entropy(logits, synthetic.targets)[:, None], nominal).sum()

    def _kept(self, member: Member, real: RealSource) -> Tensors:
        """The real side under this member, drawn anew unless it was kept."""
        if not (self._keep_real and member.kept):
            number = self._draws
            self._draws += 1
            images, classes = real_rows(real, self._strata, self._real_per_class)
            seen = self._augmentation.apply(images, classes, self._augmentation.draw(number))
            found = self.summary(self._real_embed(seen, member.module), classes)
            kept = {**found, "draw": torch.tensor(number)}
            if not self._keep_real:
                return kept
            member.kept = kept
        return member.kept

    def advance(self, synthetic: Synthetic, real: RealSource) -> None:
        self.queue.step(real)

    def state_dict(self) -> Tensors:
        strata = self._strata.state_dict() if self._strata else {}
        counts = {"draws": torch.tensor(self._draws)}
        return {**prefixed("queue", self.queue.state_dict()), **prefixed("strata", strata), **counts}

    def load_state_dict(self, state: Tensors) -> None:
        self.queue.load_state_dict(under("queue", state))
        if self._strata is not None:
            self._strata.load_state_dict(under("strata", state))
        self._draws = int(state["draws"])


def _features_and_logits(module: nn.Module, inputs: Tensor) -> Tensor:
    return torch.cat(embed_and_classify(module, inputs), 1)


def queued_flops(
    problem: Problem, queue: QueueConfig, real_per_class: int, keep_real: bool, per_row: float | int = 0.0
) -> float:
    """Floating-point operations of one step under a queue, roughly; `per_row` is what a row costs beside embedding."""
    probe = network(problem.network, problem.shape, problem.class_count, 0)
    share = min(1.0, queue.trained_per_step / queue.train_every) if keep_real else 1.0
    row = flops_forward(probe, problem.shape)
    real = problem.class_count * real_per_class * (share * row + per_row)
    return real + 3.0 * problem.class_count * problem.ipc * (row + per_row) + queue.flops(problem)
