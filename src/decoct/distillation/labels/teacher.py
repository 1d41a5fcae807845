"""`teacher`: a network trained on the real data labels the synthetic rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from decoct.compact.soft_labels import keep_largest
from decoct.compact.views import Views
from decoct.distillation.axes import Labels, LabelState, Objective, Storage, Tensors
from decoct.distillation.checkpoint import under
from decoct.distillation.problem import Problem
from decoct.distillation.validate import student_accuracy
from decoct.networks.build import network
from decoct.networks.identity import foreign_identities
from decoct.progress import progress
from decoct.settings import require_settings
from decoct.streams import Streams, derive_seed
from decoct.training.accuracy import predict
from decoct.training.expert import Expert, train_expert

JSON_SEED_BITS = 53
"""Bits of an integer that every JSON reader keeps."""


@dataclass(frozen=True)
class Teacher(Labels):
    """Soft targets `softmax(f_e(x) / temperature)` of an expert `f` after `e` passes over the real training split.

    With `others` they are the mean of this over several experts (the labels of "Generalized Large-Scale Data
    Condensation via Various Backbone and Statistical Matching" (G-VBSM), Shao et al., CVPR 2024,
    https://arxiv.org/abs/2311.17950, code: https://github.com/shaoshitong/G_VBSM_Dataset_Condensation). With
    `mean="logits"` labels are scores instead, the mean of the experts' logits `mean_k f_k(x)`, and students minimise
    `mean_c (z_c - t_c)^2 - class_weight log softmax(z)_y` for a row of scores t and class y, which stays the row's own
    where it is mixed with another, as theirs do with a `class_weight` of 0.1. The objective still sees `softmax(t)`.

    Paper: "A Label is Worth a Thousand Images in Dataset Distillation", Qin, Deng, Alvarez-Melis, NeurIPS 2024,
    https://arxiv.org/abs/2406.10485; code of the authors: https://github.com/sunnytqin/no-distillation. With `views`,
    labels of augmented images as in SRe2L ("Squeeze, Recover and Relabel", Yin, Xing, Shen, NeurIPS 2023,
    https://arxiv.org/abs/2306.13092, https://github.com/VILA-Lab/SRe2L), replayed by seed (see `compact.views`).

    While images still move, the objective, which knows no temperature, sees the targets of the last refresh at 1; the
    finished images are labelled once more, as they will be stored. Labels are `[m, C]`, or `[V, m, C]` for V views; two
    bytes an entry on disk, or two and a class number for each of `top_k` entries. Students of the set are trained at
    the same temperature (`DistilledSet.temperature`), or weight of the class (`DistilledSet.class_weight`). Cost: the
    experts (`epochs` passes over n rows each), m or V m forward passes of each a look, and for `epoch="student"` one
    short training on m rows for each candidate.

    Differs from the official code: the expert's epoch is chosen on the validation split, never on test data; labels
    that are cut to `top_k` entries are scaled to sum to 1 again; pass e means the weights after pass e, from 1, for
    writer and reader alike. From SRe2L's: no stored boxes and no fixed batches, a last batch of any size. From
    G-VBSM's: `mean` is probabilities unless asked otherwise, and a student may cut a view into any batches.
    """

    epochs: int = 5
    """Passes over the real training split to train the expert."""
    temperature: float = 1.0
    """Divides the expert's logits; above 1 the labels are softer."""
    network: str | None = None
    """The expert's architecture; that of the distillation by default."""
    others: tuple[str, ...] = ()
    """Architectures of further experts, trained alike, with whose word its own is averaged in equal parts."""
    mean: Literal["probabilities", "logits"] = "probabilities"
    """What of the experts is averaged and stored; logits are scores, without a temperature and kept whole."""
    class_weight: float | int = 0.0
    """Weight of the cross-entropy of the class beside the squared error of logits, 0 or more (G-VBSM: 0.1)."""
    epoch: int | Literal["accuracy", "student"] = "accuracy"
    """The pass whose expert labels, from 1: that of best validation accuracy; or the one whose labels of the images, as
    they start, teach a short student best, measured on the validation split; or a number."""
    candidates: int = 5
    """Passes that `student` tries, the first and the last among them, spread evenly in ratio."""
    top_k: int | None = None
    """Keep this many of the largest probabilities of every row, scaled to sum to 1; none keeps all."""
    views: int = 0
    """Augmented views of the finished set with labels of their own; 0 labels the images as they are."""
    strategy: str | None = None
    """Siamese strategy of the views, drawn for every row; that of the distillation by default."""
    mix: Literal["", "mixup", "cutmix"] = ""
    """Mix pairs of rows of every view; the labels are what the expert says of the mixture."""
    crop: float = 1.0
    """Smallest share of the area that a random resized crop of every row of a view keeps, in (0, 1]; 1: none."""

    def augments(self, families: tuple[str, ...]) -> tuple[str, ...]:
        return families if self.views and self.strategy is None else ()

    def network_identities(self, problem: Problem) -> dict[str, str]:
        return foreign_identities((self.network or problem.network, *self.others), problem.shape, problem.class_count)

    def init(self, problem: Problem, storage: Storage, objective: Objective, streams: Streams) -> LabelState:
        self._require(problem)
        classes = storage.classes(problem)
        start = F.one_hot(classes, problem.class_count).float().to(problem.device)
        return TeacherState(self, problem, start, streams)

    def _require(self, problem: Problem) -> None:
        top = problem.class_count
        chosen = (
            1 <= self.epoch <= self.epochs if isinstance(self.epoch, int) else self.epoch in ("accuracy", "student")
        )
        require_settings(
            self, "teacher labels",
            ("epochs", self.epochs >= 1, "at least 1"),
            ("temperature", self.temperature > 0, "a positive number"),
            ("epoch", chosen, f"'accuracy', 'student', or a number from 1 to {self.epochs}"),
            ("candidates", self.candidates >= 1, "at least 1"),
            ("top_k", self.top_k is None or 1 <= self.top_k <= top, f"none, or a number from 1 to {top}"),
            ("views", self.views >= 0, "at least 0"),
            ("mean", self.mean == "probabilities" or (self.temperature == 1 and self.top_k is None),
             "'probabilities' where there is a temperature or a top_k"),
            ("class_weight", self.class_weight == 0 or (self.class_weight > 0 and self.mean == "logits"),
             "0, or with mean='logits' a positive number"),
            ("mix", self.mix != "cutmix" or problem.spec.is_image, "'' or 'mixup' for features"),
            ("crop", 0 < self.crop <= 1, "a share of the area, above 0 and at most 1"),
            ("crop", self.crop == 1 or problem.spec.is_image, "1 for features"),
            ("others", len({self.network or problem.network, *self.others}) == 1 + len(self.others),
             "each network once, that of the teacher itself left out"),
        )  # fmt: skip


def expert_of(problem: Problem, name: str, epochs: int, streams: Streams, *, other: bool = False) -> Expert:
    """The network `name` trained for `epochs` passes on the real training split, once for every axis of a run.

    It is read from `problem.cache` where an earlier run left it there: same data with the same class names in the
    same order, same settings, same seed. Several experts on one axis are the first and `other` ones, whose first
    weights and batches follow from their names too: networks that differ in their activation alone would else begin
    alike. Where several axes ask for a network, all have what the first of them asked for.
    """
    key = f"{name}/{epochs}"
    if key not in problem.experts:
        seed = derive_seed(streams.seed, "teacher", *([name] if other else []))
        with progress(f"training the teacher, {name}", float(epochs)) as tick:
            problem.experts[key] = train_expert(
                problem.data, name, epochs, seed, problem.device, cache=problem.cache, tick=tick
            )
    return problem.experts[key]


def spread(epochs: int, count: int) -> list[int]:
    """At most `count` whole numbers from 1 to `epochs`, both ends among them, in about equal ratios."""
    if count == 1:
        return [epochs]
    return sorted({round(epochs ** (place / (count - 1))) for place in range(count)})


def best_epoch(expert: Expert, epochs: Sequence[int], score: Callable[[nn.Module], float]) -> int:
    """Of these passes of an expert the one whose network has the largest score, the earliest of equals."""
    scores = [score(expert.module_at(epoch)) for epoch in epochs]
    return epochs[scores.index(max(scores))]


class TeacherState(LabelState):
    """The experts, each of its chosen pass from the first refresh on, and the targets that they gave last."""

    def __init__(self, config: Teacher, problem: Problem, start: Float[Tensor, "m classes"], streams: Streams) -> None:
        self.kind = "scores" if config.mean == "logits" else "probabilities"
        self.tensors, self.top_k = {}, config.top_k
        self._config, self._problem, self._streams = config, problem, streams
        self._names = (config.network or problem.network, *config.others)
        seed = derive_seed(streams.seed, "teacher")
        self._modules = [
            network(name, problem.shape, problem.class_count, seed).to(problem.device).eval() for name in self._names
        ]
        self._epochs = [0] * len(self._names)
        self._classes, self._targets = start.argmax(1).cpu(), start

    @property
    def views(self) -> Views | None:
        """How the views are made, None without."""
        config = self._config
        if not config.views:
            return None
        seed = derive_seed(self._streams.seed, "views") >> (63 - JSON_SEED_BITS)
        strategy = self._problem.strategy if config.strategy is None else config.strategy
        return Views(config.views, seed, strategy, config.mix, crop=float(config.crop))

    def _require_experts(self, images: Float[Tensor, "m ..."]) -> None:
        """Train the experts and choose the pass of each by these images, the first time."""
        if all(self._epochs):
            return
        config = self._config
        for place, name in enumerate(self._names):
            expert = expert_of(self._problem, name, config.epochs, self._streams, other=place > 0)
            if config.epoch == "student":
                chosen = best_epoch(expert, spread(config.epochs, config.candidates), self._student(images))
            else:
                chosen = expert.epoch if config.epoch == "accuracy" else config.epoch
            self._modules[place].load_state_dict(expert.snapshots[chosen - 1])
            self._epochs[place] = chosen

    def _student(self, images: Float[Tensor, "m ..."]) -> Callable[[nn.Module], float]:
        config, seed = self._config, derive_seed(self._streams.seed, "teacher", "student")
        return lambda teacher: student_accuracy(
            images, self._taught([teacher], images, config.temperature), self.kind, self._problem, seed,
            temperature=config.temperature, classes=self._classes, class_weight=float(config.class_weight),
        )  # fmt: skip

    def _taught(
        self, modules: Sequence[nn.Module], images: Float[Tensor, "m ..."], temperature: float
    ) -> Float[Tensor, "m classes"]:
        """Labels of the images by these networks, probabilities at this temperature."""
        said = [predict(module, images).float() for module in modules]
        if self.kind == "scores":
            return torch.stack(said).mean(0)
        mean = torch.stack([(logits / temperature).softmax(1) for logits in said]).mean(0)
        return keep_largest(mean, self.top_k)

    def targets(self, rows: Int[Tensor, " k"]) -> Float[Tensor, "k classes"]:
        found = self._targets[rows.to(self._targets.device)]
        return found.softmax(1) if self.kind == "scores" and all(self._epochs) else found

    def refresh(self, images: Float[Tensor, "m ..."]) -> None:
        self._require_experts(images)
        self._targets = self._taught(self._modules, images, 1.0).to(self._targets.device)

    def final(self, images: Float[Tensor, "m ..."]) -> Tensor:
        self.refresh(images.to(self._targets.device))
        views, heat = self.views, self._config.temperature
        if views is None:
            return (self._targets if heat == 1 else self._taught(self._modules, images, heat)).cpu()
        # Replayed on the CPU, as every reader of the set will.
        shown = (views.replay(number, images.cpu()) for number in range(views.count))
        return torch.stack([self._taught(self._modules, view, heat).half() for view in shown])

    def learned(self) -> dict[str, Any]:
        config, (first, *rest) = self._config, list(zip(self._names, self._epochs, strict=True))
        weight = {"class_weight": float(config.class_weight)} if config.class_weight else {}
        teacher = {
            "network": first[0], "epoch": first[1], "of": config.epochs, "temperature": config.temperature, **weight,
            **({"others": [{"network": name, "epoch": epoch} for name, epoch in rest]} if rest else {}),
        }  # fmt: skip
        return {"teacher": teacher, **({"views": self.views.facts()} if self.views else {})}

    def state_dict(self) -> Tensors:
        weights = {
            f"expert{place or ''}.{name}": value
            for place, module in enumerate(self._modules)
            for name, value in module.state_dict().items()
        }
        return {**weights, "targets": self._targets, "epoch": torch.tensor(self._epochs)}

    def load_state_dict(self, state: Tensors) -> None:
        for place, module in enumerate(self._modules):
            module.load_state_dict(under(f"expert{place or ''}", state))
        self._targets, self._epochs = state["targets"].to(self._targets.device), state["epoch"].reshape(-1).tolist()
