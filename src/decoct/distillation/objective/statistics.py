"""`statistics`: images that a trained network classifies rightly and that have the statistics of its layers (SRe2L)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from decoct.augment.resized_crop import draw_boxes, resized_crop
from decoct.data.sample_weights import draw
from decoct.distillation.axes import Objective, ObjectiveState, Tensors
from decoct.distillation.checkpoint import prefixed, under
from decoct.distillation.labels.teacher import expert_of
from decoct.distillation.layer_statistics import Moments, WatchedNetwork, Which, batchnorms, distance
from decoct.distillation.problem import Problem, RealSource, Synthetic
from decoct.errors import ConfigError
from decoct.networks.build import network
from decoct.networks.count import flops_forward
from decoct.networks.identity import foreign_identities
from decoct.settings import require_at_least, require_settings, require_share
from decoct.streams import Streams, derive_seed

NORMALISATIONS = ("bn", "in", "ln", "gn", "none")
TEMPERATURE = 4.0
"""Divides the eigenvalues that densification aims at."""


@dataclass(frozen=True)
class Statistics(Objective):
    """`L = CE(f(A x), y) + bn_weight sum_l w_l (||mean_l(A x) - m_l|| + ||var_l(A x) - v_l||)`, f trained on real data.

    Papers: "Squeeze, Recover and Relabel: Dataset Condensation at ImageNet Scale From A New Perspective" (SRe2L), Yin,
    Xing, Shen, NeurIPS 2023, https://arxiv.org/abs/2306.13092; "Dataset Distillation via Curriculum Data Synthesis in
    Large Data Era" (CDA), Yin, Shen, TMLR 2024, https://arxiv.org/abs/2311.18838; code of both:
    https://github.com/VILA-Lab/SRe2L. "Generalized Large-Scale Data Condensation via Various Backbone and Statistical
    Matching" (G-VBSM), Shao et al., CVPR 2024, https://arxiv.org/abs/2311.17950, code:
    https://github.com/shaoshitong/G_VBSM_Dataset_Condensation.

    Synthetic rows x `[m, ...]`, all rows of the step in one batch whatever their classes; y their classes, or the
    targets `[m, C]` where they are learned. `A` is one random resized crop, flip and roll for each row: crop and roll
    where the recipe's augmentation has `crop`, the flip where it has `flip`; its other families do nothing. `m_l`
    and `v_l` `[c_l]` are the running mean and variance of BatchNorm layer l, compared with mean and (biased) variance
    of what the layer is fed; `w_l` is `first_multiplier` for the layer that runs first and 1 for the others. Layers
    without BatchNorm are measured once on real rows instead, by channel and by patch of 4 x 4 values, as G-VBSM does
    for convolutions. With several backbones, whose first weights are drawn apart, one is drawn at each step.

    Cost of a step: m forward passes and m backward for the images alone. Before: `epochs` passes over the real data
    for each backbone, read from the problem's cache where it was trained before.

    Differs from the papers: a batch holds every row of the step, of any number of classes, and where a step sees a part
    of the set, the rows are drawn anew each time, so that Adam's moments fade between the visits to a row; theirs are
    100 rows after another, each for all its steps; G-VBSM's backbones come by chance, not in turn. Differs from the
    official code: the network stays in evaluation mode and is never written to; the mean of synthetic statistics starts
    from the first batch, not from zero; the last batch may have any size; densification takes symmetric eigenvalues.
    """

    of_some_classes = True
    backbones: tuple[str, ...] = ()
    """Networks to squeeze the real data into; by default the problem's own with batch normalisation if it can."""
    epochs: int = 5
    """Passes over the real training split to train each backbone."""
    bn_weight: float | int = 0.01
    """Weight of the statistics beside the cross-entropy; 0.01 to 1 in the papers."""
    first_multiplier: float | int = 10.0
    """Extra weight of the first layer, the one nearest to the pixels."""
    statistics_of: Which = "auto"
    """BatchNorm layers; inputs of convolutions (of linear layers where there are none); auto: the first if any."""
    crop: tuple[float, float] = (0.08, 1.0)
    """Smallest and largest part of the image's area that a random crop keeps, in (0, 1]; (1, 1) never crops."""
    curriculum: float | int = 0.0
    """Share of the run over which the smallest part falls from the largest to its value, along half a cosine (CDA), in
    [0, 1]; 0: none."""
    roll: int = 0
    """Largest circular shift in pixels along each side; the same for all rows of a step."""
    momentum: float | int = 0.0
    """Share of their own running mean in the synthetic statistics, in [0, 1) (G-VBSM: 0.8); gradients see the batch."""
    drop: float | int = 0.0
    """How often a layer without BatchNorm is left out of a step, in [0, 1), each by a draw of its own (G-VBSM: 0.4)."""
    densify: float | int = 0.0
    """Weight of G-VBSM's data densification, which keeps the images of a class from being alike."""
    real_rows: int = 4096
    """Real training rows measured at most where there is no BatchNorm."""

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = self.crop
        where = "the objective 'statistics'"
        require_settings(
            self, where,
            ("crop", 0 < low <= high <= 1, "two shares of the area, 0 < smallest <= largest <= 1"),
            ("curriculum", 0 <= self.curriculum <= 1, "a share of the run, from 0 to 1"),
            ("backbones", len(set(self.backbones)) == len(self.backbones), "each network once"),
        )  # fmt: skip
        require_share(self, where, "momentum", "drop")
        require_at_least(self, where, epochs=1, real_rows=1, bn_weight=0, first_multiplier=0, roll=0, densify=0)

    def augments(self, families: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(family for family in families if family in ("crop", "flip"))

    def network_identities(self, problem: Problem) -> dict[str, str]:
        return foreign_identities(self.backbones, problem.shape, problem.class_count)

    def init(self, problem: Problem, streams: Streams) -> ObjectiveState:
        return StatisticsState(self, problem, streams)

    def names(self, problem: Problem) -> tuple[str, ...]:
        """The backbones for this problem; raises `ConfigError` where one has no BatchNorm and it is insisted on."""
        names = self.backbones or (with_batchnorm(problem.network, problem.shape, problem.class_count),)
        for name in names:
            probe = network(name, problem.shape, problem.class_count, 0)
            insists = self.statistics_of in ("batchnorm", "both")
            if (insists and not batchnorms(probe)) or not WatchedNetwork(probe, self.statistics_of).layers:
                raise ConfigError(
                    f"taking the statistics of the network {name!r}",
                    received="a network without BatchNorm" if insists else "a network without a layer to watch",
                    expected="batch normalisation that keeps a running mean and variance"
                    + ("" if insists else ", a convolution or a linear layer"),
                    remedy="name a network with -bn, such as 'convnet3-bn' or 'resnet18', or set "
                    "statistics_of='convolution' to measure its layers on real data",
                )
        return names

    def flops(self, problem: Problem) -> float:
        names = self.names(problem)
        probes = [network(name, problem.shape, problem.class_count, 0) for name in names]
        forward = sum(flops_forward(probe, problem.shape) for probe in probes) / len(names)
        return 2.0 * problem.class_count * problem.ipc * forward


def with_batchnorm(name: str, shape: tuple[int, ...], classes: int) -> str:
    """`name` if that network has BatchNorm, else its relative with -bn; `name` where its family has none."""
    if ":" in name or batchnorms(network(name, shape, classes, 0)):
        return name
    plain = "-".join(part for part in name.split("-") if part not in NORMALISATIONS)
    try:
        network(f"{plain}-bn", shape, classes, 0)
    except ConfigError:
        return name
    return f"{plain}-bn"


def densification(images: Float[Tensor, "m ..."], classes: Int[Tensor, " m"]) -> Float[Tensor, ""]:
    """`sum_c KL(softmax(e_c / 4) || softmax(e_c))`, `e_c` the eigenvalues of the Gram matrix of the images of class c.

    Least where the eigenvalues of a class are equal: its images are as different as they are large.
    """
    terms = []
    for label in classes.unique():
        rows = images[classes == label].flatten(1)
        values = torch.linalg.eigvalsh(rows @ rows.T)
        wanted = (values.detach() / TEMPERATURE).softmax(0)
        terms.append(F.kl_div(values.log_softmax(0), wanted, reduction="sum"))
    return torch.stack(terms).sum()


class StatisticsState(ObjectiveState):
    """The trained backbones, the share of the run and, with momentum, the running synthetic statistics."""

    def __init__(self, config: Statistics, problem: Problem, streams: Streams) -> None:
        self._config, self._problem, self._streams = config, problem, streams
        self._names = config.names(problem)
        self.backbones: list[WatchedNetwork] = []
        self._share = 0.0
        self._running: Tensors = {}

    def prepare(self, real: RealSource) -> None:
        """Squeeze: train every backbone or read it from the cache; measure what has no running statistics."""
        if self.backbones:
            return
        problem, config = self._problem, self._config
        generator = torch.Generator().manual_seed(derive_seed(self._streams.seed, "measured"))
        count, weights = min(config.real_rows, len(problem.data.train)), problem.data.train.weight()
        if weights is None:
            rows = torch.randperm(len(problem.data.train), generator=generator)[:count]
        else:
            rows = draw(weights, count, generator)
        for place, name in enumerate(self._names):
            expert = expert_of(problem, name, config.epochs, self._streams, other=place > 0)
            # A copy: teacher labels may share the expert.
            backbone = WatchedNetwork(expert.module_at(expert.epoch), config.statistics_of)
            backbone.measure(problem.data, rows, problem.device)
            self.backbones.append(backbone)

    def smallest_crop(self) -> float:
        """The smallest area of a crop at this share of the run."""
        low, high = self._config.crop
        share = min(1.0, self._share / self._config.curriculum) if self._config.curriculum else 1.0
        return low + (high - low) * 0.5 * (1 + math.cos(math.pi * share))

    def _augmented(self, images: Float[Tensor, "m ..."]) -> Float[Tensor, "m ..."]:
        config, families = self._config, self._config.augments(tuple(self._problem.strategy.split("_")))
        if not families or images.ndim != 4:
            return images
        generator, crops = self._streams("augmentation"), "crop" in families
        area = (self.smallest_crop(), config.crop[1]) if crops else (1.0, 1.0)
        boxes = draw_boxes(len(images), area, generator)
        flips = torch.rand(len(images), generator=generator) < (0.5 if "flip" in families else 0.0)
        images = resized_crop(images, boxes, flips)
        if config.roll and crops:
            down, right = torch.randint(config.roll + 1, (2,), generator=generator).tolist()
            images = images.roll((down, right), (2, 3))
        return images

    def _smoothed(self, key: str, part: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
        """The running mean of a statistic in value, the batch's own in gradient."""
        share, now = self._config.momentum, part.detach()
        if not share:
            return part
        self._running[key] = share * self._running.get(key, now) + (1 - share) * now
        return self._running[key] + part - now

    def mismatch(self, place: int, seen: list[tuple[str, Moments]]) -> Float[Tensor, ""]:
        """`sum_l w_l (||mean_l - m_l|| + ||var_l - v_l||)` of what the layers of the backbone at `place` were fed."""
        terms, drop = [], self._config.drop
        for order, (name, moments) in enumerate(seen):
            if drop and name.startswith("plain.") and torch.rand((), generator=self._streams("drop")) < drop:
                continue
            smooth = tuple(self._smoothed(f"{place}.{order}.{number}", part) for number, part in enumerate(moments))
            weight = 1.0 if order else self._config.first_multiplier
            terms.append(weight * distance(smooth, self.backbones[place].wanted[name]))
        return torch.stack(terms).sum() if terms else seen[0][1][0].new_zeros(())

    def loss(self, synthetic: Synthetic, real: RealSource) -> Float[Tensor, ""]:
        self.prepare(real)
        place = int(torch.randint(len(self.backbones), (1,), generator=self._streams("backbone")))
        backbone = self.backbones[place]
        images = self._augmented(synthetic.images)
        with backbone.watched() as seen:
            logits = backbone.module(images)
        learned = synthetic.targets.requires_grad
        targets = synthetic.targets if learned else synthetic.classes.to(logits.device)
        loss = F.cross_entropy(logits, targets) + self._config.bn_weight * self.mismatch(place, seen)
        if self._config.densify:
            loss = loss + self._config.densify * densification(images, synthetic.classes.to(images.device))
        return loss

    def schedule(self, share: float) -> None:
        self._share = share

    def state_dict(self) -> Tensors:
        return prefixed("running", self._running)

    def load_state_dict(self, state: Tensors) -> None:
        self._running = {name: value.to(self._problem.device) for name, value in under("running", state).items()}
