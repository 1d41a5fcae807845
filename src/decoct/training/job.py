"""What one training is given, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from torch import Tensor, nn

from decoct.errors import ConfigError
from decoct.training.config import FitConfig, LabelKind, Loss
from decoct.training.halfway import Halfway
from decoct.training.losses import RowLosses, cross_entropy_at_own, row_losses, squared_error_and_class
from decoct.training.sources import Replay, Source

Build = Callable[[int], nn.Module]
Evaluate = Callable[[nn.Module, int], float]


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained network and what it took. `last` and `best` are what `evaluate` said; None without it."""

    module: nn.Module
    """The network after the last epoch (averaged weights where ema is on), in eval mode."""
    seed: int
    last: float | None
    """Value after the last epoch."""
    best: float | None
    """Largest value of all epochs looked at."""
    best_epoch: int
    """Passes done when it was reached; the last one without `evaluate`."""
    seconds: float
    """Time of training alone, without `evaluate`."""
    samples_seen: int
    """Rows shown, counted every time."""
    distinct_samples: int
    """Different rows shown: with augmentation or mixing every showing is another one."""
    peak_memory: int
    """Largest resident memory of the process so far, in bytes."""
    how: str
    """How forward and backward were run, in words."""
    history: list[tuple[int, float]] = field(default_factory=list)
    """(epoch, value) for every look."""
    best_state: dict[str, Tensor] | None = None
    """With keep_best: a copy of the weights of `best_epoch`."""


@dataclass(frozen=True, eq=False)
class Watch:
    """Is told of every batch what the network says of it in the forward pass that gradients are taken of."""

    classes: int
    """The last so many of the network's outputs are its logits, what the loss is of."""
    told: Callable[[Tensor | None, Tensor], None]
    """Gets row numbers int64 `[b]`, or none for all rows in their order, and outputs `[b, e]`."""

    def losses(self, losses: RowLosses, outputs: Tensor, targets: Tensor) -> Tensor:
        return losses(outputs[:, -self.classes :], targets)


@dataclass(frozen=True, eq=False)
class Job:
    """What every seed is trained on, and how."""

    build: Build
    source: Source
    targets: Tensor
    config: FitConfig
    label_kind: LabelKind
    weights: Tensor | None
    device: str
    evaluate: Evaluate | None
    evaluate_every: int
    keep_best: bool
    sam_radius: float | int = 0.0
    """Above 0, every step takes its gradient this far uphill of the weights (sharpness-aware minimisation)."""
    sam_adaptive: bool = False
    """Go uphill in units of each weight (`optimise.uphill`)."""
    replay: Replay | None = None
    """Views that take the place of the rows, a pass each."""
    shown_by: Tensor | None = None
    """How often a pass shows each row, with mean 1; none shows each once."""
    temperatures: Tensor | None = None
    """Of each row, in the place of that of the config; none where all have that."""
    classes: Tensor | None = None
    """The class that each row stands for, int64 `[m]`, whose cross-entropy stands beside a squared error."""
    class_weight: float = 0.0
    """How much that cross-entropy weighs; 0 leaves it out."""
    watch: Watch | None = None
    """Who is told what the network says of every batch."""
    halfway: Halfway | None = None
    """Where the training of the one seed that there is then is kept between passes; none keeps nothing."""

    def __post_init__(self) -> None:
        if len(self.source) == 0 or len(self.targets) != len(self.source):
            raise _refusal(
                f"inputs of {len(self.source)} rows and targets {list(self.targets.shape)}",
                "as many targets as inputs, at least one",
                "pass inputs, targets and weights of one set",
            )
        soft = self.targets.is_floating_point()
        if self.targets.ndim != 1 + soft or soft != (self.label_kind != "hard"):
            raise _refusal(
                f"targets {self.targets.dtype} {list(self.targets.shape)} as {self.label_kind} labels",
                "int64 [m] for hard labels, float [m, classes] for probabilities and scores",
                "pass the label_kind of the set: compact_set.label_kind",
            )
        given = self.weights
        if given is not None and (len(given) != len(self.source) or bool((given < 0).any()) or float(given.sum()) <= 0):
            raise _refusal(
                f"weights {list(given.shape)} with the sum {float(given.sum()):g}",
                f"{len(self.source)} weights of at least 0, not all 0",
                "pass the weights of the set, or None",
            )
        if self.temperatures is not None:
            self._require_temperatures(self.temperatures)
        if self.class_weight != 0:
            self._require_classes()

    def _require_classes(self) -> None:
        fits = self.classes is not None and len(self.classes) == len(self.source) and self.class_weight > 0
        if not fits or self.label_kind != "scores" or self.config.loss not in ("auto", "mse"):
            told = "no classes" if self.classes is None else f"{len(self.classes)} classes"
            raise _refusal(
                f"{told} of {len(self.source)} rows with the weight {self.class_weight:g} beside {self.label_kind} "
                f"labels, loss {self.config.loss}",
                "a weight of 0 or more, a class for each row, and scores that are fitted by mse",
                "pass the label_kind, the classes and the class_weight of one set",
            )

    def _require_temperatures(self, given: Tensor) -> None:
        fits = len(given) == len(self.source) and bool((given > 0).all())
        fitted = self.label_kind == "probabilities" and self.config.loss in ("auto", "kl")
        if not fits or not fitted or self.config.mix or self.replay:
            mixed = f", pairs mixed by {self.config.mix}" if self.config.mix else ", views" if self.replay else ""
            raise _refusal(
                f"temperatures {list(given.shape)} of {len(self.source)} rows with {self.label_kind} labels, loss "
                f"{self.config.loss}{mixed}",
                "a positive one for each row, probabilities that are fitted by kl, no views and no mixing of rows",
                "leave mixing out where rows of several temperatures are trained on together",
            )

    @property
    def loss(self) -> Loss | RowLosses:
        """What is minimised, by its name or as a function of logits and of the targets that `Batches` gives."""
        if self.temperatures is not None:
            return cross_entropy_at_own
        if self.class_weight:
            return partial(squared_error_and_class, weight=self.class_weight)
        if self.watch:
            losses = row_losses(self.config.loss_for(self.label_kind), self.config.temperature)
            return partial(self.watch.losses, losses)
        return self.config.loss_for(self.label_kind)

    @property
    def batch_size(self) -> int:
        return min(self.config.batch_size or len(self.source), len(self.source))

    @property
    def steps(self) -> int:
        """Steps of the whole training."""
        return self.config.epochs * -(-len(self.source) // self.batch_size)


def _refusal(received: str, expected: str, remedy: str) -> ConfigError:
    return ConfigError("training on a set", received=received, expected=expected, remedy=remedy)
