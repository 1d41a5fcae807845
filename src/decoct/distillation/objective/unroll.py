"""`unroll`: train a network on the synthetic set and differentiate its loss on real data through the training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from decoct.augment.siamese import Siamese
from decoct.distillation.axes import Objective, ObjectiveState, Tensors
from decoct.distillation.problem import Problem, RealSource, Synthetic
from decoct.networks.build import network
from decoct.networks.count import flops_forward
from decoct.settings import out_of_range, require_above, require_at_least, require_share
from decoct.streams import Streams, derive_seed
from decoct.training.compiled_steps import CompiledSteps
from decoct.training.fast import FastGradient
from decoct.training.flat import SGD, Adam, FlatNetwork, InnerOptimizer
from decoct.training.unroll import Mode, unroll


@dataclass(frozen=True)
class Unroll(Objective):
    """`L = CE(f(theta_T; X_real), y_real)`, `theta_T` the weights after T training steps on the synthetic set.

    Papers: "Dataset Distillation" (DD), Wang, Zhu, Torralba, Efros, 2018, https://arxiv.org/abs/1811.10959, code:
    https://github.com/ssnl/dataset-distillation; "Remember the Past: Distilling Datasets into Addressable Memories for
    Neural Networks" (RTP), Deng and Russakovsky, NeurIPS 2022, https://arxiv.org/abs/2206.02916, code:
    https://github.com/princetonvisualai/RememberThePast-DatasetDistillation; "Embarrassingly Simple Dataset
    Distillation" (RaT-BPTT), Feng, Vedantam, Kempe, ICLR 2024, https://arxiv.org/abs/2311.07025, code:
    https://github.com/fengyzpku/Simple_Dataset_Distillation.

    Every outer step trains a fresh network, weights `[P]`, on rows of `images` `[m, ...]` with targets `[m, C]`. With
    a `window` W, N steps drawn from 0..T-W come first without a graph and W with one follow (RaT-BPTT); else all T
    have one (DD, RTP). Images, learned labels and, with `learn_lr`, the step sizes themselves get gradients.

    Cost of a step: about `3 N + 12 W` forward passes of an inner batch and 3 of the real one; `(W + 1)(1 + S) P`
    numbers for the weights and the S vectors of optimiser state, and one inner step's activations, whatever W is.

    Differs from the papers: classes in equal shares of the real batch; with BatchNorm, inner and real batches are
    normalised with their own statistics (DD evaluates in eval mode). Differs from the official codes: one engine and
    one gradient, exact, for SGD with momentum and Adam; the window is drawn anew at every step (RaT-BPTT: once an
    epoch unless asked); a regulariser of the storage is a term of the outer loss (RTP adds it to the inner loss, whose
    gradient for the weights it cannot change); initialisations follow from the seed of the run, not from the clock; of
    the augmentation of RaT-BPTT each row has a family of its own, there all rows of a batch have one family, each with
    its own strength.
    """

    inner_steps: int = 40
    """Training steps on the synthetic set, T, 1 or more."""
    window: int | None = None
    """Last steps that have a graph, W, 1 to T, after a random number of steps without; none gives all T a graph."""
    optimizer: Literal["sgd", "adam"] = "sgd"
    """Inner optimiser."""
    momentum: float = 0.9
    """Momentum of inner SGD, [0, 1); without it early steps hardly count."""
    inner_lr: float = 0.01
    """Inner step size, above 0; where step sizes are learned, their start."""
    learn_lr: Literal["no", "one", "each"] = "no"
    """Learn one step size for all inner steps, or one for each (DD): `softplus(raw)`, stored with the set."""
    batch_per_class: int | None = None
    """Synthetic rows of each class in an inner step, drawn without repeats; none takes all."""
    ordered: bool = False
    """Inner step t takes the rows `t b .. t b + b - 1` of each class, in turn (DD, b = `batch_per_class` or 1); an
    outer step then has to see the whole set."""
    real_batch: int = 512
    """Real rows of a step, classes in equal shares."""
    augment: Literal["pair", "independent", "no"] = "pair"
    """One draw for everything in an outer step (RTP), or one for each row of every batch (RaT-BPTT), or none."""
    mode: Mode = "recompute"
    """Exact with memory for one step ("recompute") or for all ("full"), or no gradient through time ("first-order")."""

    def __post_init__(self) -> None:
        super().__post_init__()
        where = "the objective 'unroll'"
        require_at_least(self, where, inner_steps=1, window=1, batch_per_class=1, real_batch=1)
        if self.window is not None and self.window > self.inner_steps:
            raise out_of_range(self, "window", where, f"at most inner_steps, {self.inner_steps}")
        require_above(self, where, inner_lr=0)
        require_share(self, where, "momentum")

    def augments(self, families: tuple[str, ...]) -> tuple[str, ...]:
        return families if self.augment != "no" else ()

    def init(self, problem: Problem, streams: Streams) -> ObjectiveState:
        return UnrollState(self, problem, streams)

    def flops(self, problem: Problem) -> float:
        probe = network(problem.network, problem.shape, problem.class_count, 0)
        return (self.inner_rows(problem) + 3 * self.real_batch) * flops_forward(probe, problem.shape)

    def rows_at_once(self, problem: Problem, rows: int) -> int:
        """Those of one inner step, or of all that have a graph; and on a GPU the real ones, which go whole there."""
        per_class = self.batch_per_class or (1 if self.ordered else rows)
        inner = min(rows, per_class * problem.class_count)
        real = 0 if problem.device == "cpu" else self.real_batch
        return inner * (self.window or self.inner_steps) + real if self.mode == "full" else max(inner, real)

    def inner_rows(self, problem: Problem) -> float:
        """Forward passes of one row that the inner steps of an outer step amount to."""
        window = self.window or self.inner_steps
        per_class = self.batch_per_class or (1 if self.ordered else problem.ipc)
        return (12 * window + 3 * (self.inner_steps - window) / 2) * per_class * problem.class_count

    @property
    def in_order(self) -> bool:
        """Whether rows mean what they do by their place in the set, so that a sample of them would not do."""
        return self.ordered

    def inner(self) -> InnerOptimizer:
        """The inner optimiser as a pure function."""
        return Adam() if self.optimizer == "adam" else SGD(momentum=self.momentum)


def random_rows(
    classes: Int[Tensor, " m"], per_class: int | None, steps: int, generator: torch.Generator
) -> list[Int[Tensor, " b"]]:
    """For each step `per_class` rows of every class, drawn without repeats (all rows where none is given)."""
    if per_class is None:
        return [torch.arange(len(classes))] * steps
    counts = torch.bincount(classes)
    first = (counts.cumsum(0) - counts)[classes.sort(stable=True).values]
    keep = torch.arange(len(classes)) - first < per_class
    return [(classes + torch.rand(len(classes), generator=generator, dtype=torch.float64)).argsort()[keep]
            for _ in range(steps)]  # fmt: skip


def ordered_rows(classes: Int[Tensor, " m"], per_class: int, steps: int) -> list[Int[Tensor, " b"]]:
    """For step t the rows `t per_class ..` of every class in their order, from the first again after the last."""
    members = [torch.nonzero(classes == label).flatten() for label in classes.unique()]
    places = torch.arange(per_class)
    return [torch.cat([own[(step * per_class + places) % len(own)] for own in members]) for step in range(steps)]


class UnrollState(ObjectiveState):
    """How many networks were drawn, and the learned step sizes."""

    def __init__(self, config: Unroll, problem: Problem, streams: Streams) -> None:
        self._config, self._problem, self._streams = config, problem, streams
        self._drawn = 0
        self._net = FlatNetwork(self._module())
        share = 3 * config.real_batch / (3 * config.real_batch + config.inner_rows(problem))
        self._compiled = CompiledSteps((1 - share) * problem.work)
        self._outer = FastGradient(self._net.module, planned_flops=share * problem.work, rows=config.real_batch)
        siamese = Siamese(problem.strategy, per_sample=config.augment == "independent")
        self._siamese = siamese if siamese.families and config.augment != "no" else None
        self._tensors: Tensors = {}
        if config.learn_lr != "no":
            raw = torch.tensor(math.log(math.expm1(config.inner_lr)), device=problem.device)
            self._tensors = {"raw_lr": raw if config.learn_lr == "one" else raw.repeat(config.inner_steps)}

    @property
    def tensors(self) -> Tensors:
        return self._tensors

    def learned(self) -> dict[str, float | list[float]]:
        if not self._tensors:
            return {}
        config, rates = self._config, self._rates().tolist()
        # A training that readers of the set can repeat step by step says how.
        repeatable = config.ordered and config.optimizer == "sgd" and self._siamese is None
        order = {"ordered": config.batch_per_class or 1, "momentum": config.momentum} if repeatable else {}
        return {"lrs" if isinstance(rates, list) else "lr": rates, "inner_steps": config.inner_steps, **order}

    def _rates(self) -> Float[Tensor, "*T"]:
        if self._tensors:
            return F.softplus(self._tensors["raw_lr"])
        return torch.tensor(self._config.inner_lr, device=self._problem.device)

    def _module(self) -> torch.nn.Module:
        """The network of this number: a function of the run's seed and nothing else."""
        problem = self._problem
        seed = derive_seed(self._streams.seed, "unroll", self._drawn)
        return network(problem.network, problem.shape, problem.class_count, seed).to(problem.device)

    def _burn_in(self) -> int:
        config = self._config
        free = config.inner_steps - (config.window or config.inner_steps)
        return int(torch.randint(free + 1, (1,), generator=self._streams("window"))) if free else 0

    def _batches(self, classes: Int[Tensor, " m"], steps: int) -> list[Int[Tensor, " b"]]:
        classes, per_class = classes.cpu(), self._config.batch_per_class
        if self._config.ordered:
            return ordered_rows(classes, per_class or 1, steps)
        return random_rows(classes, per_class, steps, self._streams("inner"))

    def _augmentations(self, sizes: list[int], real: int) -> tuple[Callable[[Tensor, int], Tensor] | None, ...]:
        """(what is done to the rows of an inner step, what is done to the real rows), both drawn beforehand."""
        siamese = self._siamese
        if siamese is None:
            return None, None
        generator, shape = self._streams("augmentation"), self._problem.shape
        if self._config.augment == "pair":
            shared = siamese.draw(1, shape, generator)
            return (lambda rows, _: siamese.apply(rows, shared),) * 2
        drawn = [siamese.draw(size, shape, generator) for size in sizes]
        other = siamese.draw(real, shape, generator)
        return (lambda rows, step: siamese.apply(rows, drawn[step])), (lambda rows, _: siamese.apply(rows, other))

    def loss(self, synthetic: Synthetic, real: RealSource) -> Float[Tensor, ""]:
        config = self._config
        burn_in = self._burn_in()
        steps = burn_in + (config.window or config.inner_steps)
        batches = self._batches(synthetic.classes, steps)
        inputs, labels = real.batch(config.real_batch)
        inner, outer = self._augmentations([len(rows) for rows in batches], len(inputs))
        rates = self._rates()
        theta = unroll(
            self._net, self._net.flatten(self._module()), synthetic.images, synthetic.targets,
            batches=batches, lr=rates[:steps] if rates.ndim else rates, optimizer=config.inner(), mode=config.mode,
            start=burn_in, augment=inner, compiled=self._compiled,
        )  # fmt: skip
        self._drawn += 1
        return self._real_loss(theta, inputs if outer is None else outer(inputs, 0), labels)

    def _real_loss(
        self, theta: Float[Tensor, " P"], inputs: Float[Tensor, "n ..."], labels: Int[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        """The loss on real rows, its gradient for `theta` found in pieces that fit the cache."""
        module = self._net.module
        weights = dict(module.named_parameters())
        with torch.no_grad():
            for name, value in self._net.unflatten(theta.detach()).items():
                weights[name].copy_(value)
        value = self._outer(module, inputs, labels)
        found = {name: weight.grad for name, weight in weights.items() if weight.requires_grad}
        slope = torch.cat([grad.flatten() for grad in found.values() if grad is not None])
        return value + (slope * (theta - theta.detach())).sum()

    def state_dict(self) -> Tensors:
        return {"drawn": torch.tensor(self._drawn)}

    def load_state_dict(self, state: Tensors) -> None:
        self._drawn = int(state["drawn"])
