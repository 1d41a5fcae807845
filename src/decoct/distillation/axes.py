"""The three axes of the grid: `Storage` (what is kept), `Objective` (what is matched), `Labels` (what is taught).

Finals are frozen dataclasses that hold settings only; everything that changes during a run stands in tensors which
the driver owns, optimises and checkpoints. A method never loops: the loop stands in `driver.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from decoct.compact.distilled import DistilledSet
from decoct.distillation.problem import Problem, RealSource, Synthetic
from decoct.settings import require_choices
from decoct.streams import Streams

Tensors = dict[str, Tensor]
LabelKind = Literal["hard", "probabilities", "scores"]


class Axis:
    """Settings of one axis: a frozen dataclass. What a field's `Literal` does not list is refused.

    A class with a `__post_init__` of its own calls this one; a `Recipe` makes up for those that do not.
    """

    def __post_init__(self) -> None:
        require_choices(self)

    @property
    def asks_experts(self) -> bool:
        """Whether it starts from what the experts of an objective say, so that only an objective with some will do."""
        return False

    def augments(self, families: tuple[str, ...]) -> tuple[str, ...]:
        """Of these families of picture changes, those of the recipe, the ones that it makes; none by default."""
        return ()

    def facts(self) -> dict[str, Any]:
        """The settings as plain JSON, by which a run is known: a file among them by what it holds, not where it lies.

        A class whose settings name a file says more here, and raises what reading it raises.
        """
        return {"kind": type(self).__name__, **asdict(self)}  # type: ignore[call-overload]

    def network_identities(self, problem: Problem) -> dict[str, str]:
        """What networks from outside decoct that the settings name are made of, by name; a run is known by it too.

        A class whose settings name networks says more here (`foreign_identities`), and raises what building them
        raises.
        """
        return {}


class Storage(Axis, ABC):
    """What is kept: learnable tensors and a differentiable decoder from them to images."""

    @abstractmethod
    def init(self, problem: Problem, streams: Streams) -> Tensors:
        """The learnable tensors at the start."""

    @abstractmethod
    def classes(self, problem: Problem) -> Int[Tensor, " m"]:
        """The nominal class of every decoded row."""

    @abstractmethod
    def decode(self, tensors: Tensors, rows: Int[Tensor, " k"] | None = None) -> Float[Tensor, "k ..."]:
        """Network inputs of these rows (all by default), differentiable in `tensors`."""

    @abstractmethod
    def pack(self, tensors: Tensors, problem: Problem) -> tuple[str, Tensors, dict[str, Any]]:
        """As stored on disk: the name of the decoder, its tensors, its settings."""

    def begin(self, tensors: Tensors, problem: Problem, objective: ObjectiveState, streams: Streams) -> None:
        """Called once, without gradients, when the objective is prepared: start anew, in place, from what it knows."""

    def project(self, tensors: Tensors, problem: Problem) -> None:
        """Called after every step, without gradients: bring `tensors` back, in place, to where they may be."""

    def penalty(self, tensors: Tensors) -> Float[Tensor, ""] | None:
        """A regulariser of the stored tensors, added to every loss; none by default."""
        return None

    def rate(self, name: str) -> float:
        """Step size of the tensor of this name as a multiple of the recipe's; 1 by default."""
        return 1.0


class Labels(Axis, ABC):
    """What is taught: the targets of every decoded row."""

    @abstractmethod
    def init(self, problem: Problem, storage: Storage, objective: Objective, streams: Streams) -> LabelState:
        """Learnable tensors and whatever else the labels need."""


class LabelState(ABC):
    """Labels in the making."""

    kind: LabelKind
    tensors: Tensors
    """Learnable tensors, empty where nothing is learned; the driver optimises them."""
    top_k: int | None = None
    """How many entries of every row of probabilities are stored; none stores all."""

    @abstractmethod
    def targets(self, rows: Int[Tensor, " k"]) -> Float[Tensor, "k classes"]:
        """Targets of these rows as the objective uses them, differentiable in `tensors`."""

    @abstractmethod
    def final(self, images: Float[Tensor, "m ..."]) -> Tensor:
        """Labels as stored, for the finished `images`: int64 `[m]`, float `[m, C]`, or `[V, m, C]` for V views."""

    def begin(self, images: Float[Tensor, "m ..."], classes: Int[Tensor, " m"], objective: ObjectiveState) -> None:
        """Called once, without gradients and before the first `refresh`, with all decoded images as they start."""

    def learned(self) -> dict[str, Any]:
        """What goes with the set, as plain JSON: `teacher`, and `views` where every view has its own labels."""
        return {}

    def refresh(self, images: Float[Tensor, "m ..."]) -> None:
        """Called now and then with all decoded images; labels that depend on them are renewed here."""

    def state_dict(self) -> Tensors:
        """Tensors beyond `self.tensors` that an exact resume needs."""
        return {}

    def load_state_dict(self, state: Tensors) -> None:
        """Take back what `state_dict` gave."""


class Objective(Axis, ABC):
    """What is matched: a scalar loss whose gradient moves images and labels."""

    label_space: LabelKind = "probabilities"
    """What learned labels are under this objective: probabilities, or scores fitted by regression."""
    moves: bool = True
    """Whether there are steps at all."""
    has_experts: bool = False
    """Whether its state trains networks on the real data whose word it gives, `said_by_experts`."""
    of_some_classes: bool = False
    """Whether each row is matched by itself, so that a step may see rows of some classes alone."""

    @property
    def in_order(self) -> bool:
        """Whether it goes through the rows in the order of the set, so that a step has to see all of them."""
        return False

    @abstractmethod
    def init(self, problem: Problem, streams: Streams) -> ObjectiveState:
        """Networks and statistics at the start."""

    @abstractmethod
    def flops(self, problem: Problem) -> float:
        """A rough count of the floating-point operations of one step."""

    def augments(self, families: tuple[str, ...]) -> tuple[str, ...]:
        """All of them, where it has steps."""
        return families if self.moves else ()

    def rows_at_once(self, problem: Problem, rows: int) -> int:
        """Rows whose activations are in memory together, where a step sees `rows` synthetic ones: by default those."""
        return rows

    def real_rows_seen(self, problem: Problem) -> int:
        """Real rows of a step: by default what the settings `real_batch` and `real_per_class` say, as all call them."""
        counts = torch.bincount(problem.data.train.labels(), minlength=problem.class_count)
        return getattr(self, "real_batch", 0) + int(counts.clamp_max(getattr(self, "real_per_class", 0)).sum())


class ObjectiveState(ABC):
    """An objective at work; everything an exact resume needs is in `state_dict`."""

    measured: str = "best_val_accuracy"
    """What the largest value of all looks is called in the provenance."""

    @property
    def tensors(self) -> Tensors:
        """Learnable settings of the training, such as step sizes; the driver optimises them with `lr_objective`."""
        return {}

    def learned(self) -> dict[str, float | list[float]]:
        """Settings that were learned with the set and go with it, as plain JSON: `lr`, `lrs`, `inner_steps`."""
        return {}

    def prepare(self, real: RealSource) -> None:
        """Called before the first step and again after a resume: train what the objective is made from, once."""

    def said_by_experts(self, images: Float[Tensor, "n ..."]) -> Iterator[Float[Tensor, "n classes"]]:
        """Logits of these images by each network that it trained on the real data, in turn; from `prepare` on."""
        return iter(())

    def schedule(self, share: float) -> None:
        """Called before each step with the part of the run that is done, in [0, 1): of its steps, or of its clock.

        What changes over a run follows `share` and nothing else, so that it fits every length and needs no state.
        """

    def measure(self, small: DistilledSet) -> float | None:
        """What a look at the set gives, larger is better; None: the accuracy of a student trained on it."""
        return None

    @abstractmethod
    def loss(self, synthetic: Synthetic, real: RealSource) -> Float[Tensor, ""]:
        """The loss of one step, with a graph to `synthetic.images` and `synthetic.targets`."""

    def advance(self, synthetic: Synthetic, real: RealSource) -> None:
        """Train or renew networks after the images moved."""

    @abstractmethod
    def state_dict(self) -> Tensors:
        """Every tensor that changes between steps."""

    @abstractmethod
    def load_state_dict(self, state: Tensors) -> None:
        """Take back what `state_dict` gave."""
