"""`Contender`: anything a network can be trained on to be judged, a compact set or a baseline."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from decoct.compact.compact_set import CompactSet
from decoct.compact.stored import hard_label_bytes
from decoct.data.dataset import Dataset
from decoct.evaluation.course import Walked, walk
from decoct.evaluation.protocol import Course, Protocol
from decoct.evaluation.scorecard import Kind
from decoct.progress import Ticker
from decoct.training.config import FitConfig, LabelKind
from decoct.training.fit import fit, fit_dataset
from decoct.training.job import Fitted
from decoct.training.sources import Replay

HARD_LABELS = "hard-labels"
"""The baseline that is the judged set's own rows with hard labels."""


@dataclass(frozen=True, eq=False)
class Material:
    """What a network is trained on: `inputs` `[m, ...]`, `targets` `[m]` or `[m, C]`, `weights` `[m]`."""

    inputs: Float[Tensor, "m ..."]
    targets: Shaped[Tensor, "m ..."]
    weights: Float[Tensor, " m"] | None
    label_kind: LabelKind
    replay: Replay | None = None
    """Views with labels of their own, shown instead of the inputs."""
    temperature: float = 1.0
    """Where probabilities were made at another temperature than 1, they are fitted at that, whatever a config says."""
    classes: Int[Tensor, " m"] | None = None
    """The class that each row stands for, where soft targets do not say it."""
    class_weight: float = 0.0
    """How much the cross-entropy of those classes weighs beside the squared error of scores."""
    temperatures: Float[Tensor, " m"] | None = None
    """Of each row, where rows of several stand together; 1 leaves a row to the config, as `temperature` does."""

    def fitted_with(self, config: FitConfig) -> FitConfig:
        """How these rows are trained on: `config` at the temperature of the labels."""
        return config if self.temperature == 1 else replace(config, temperature=self.temperature)

    def walked(self) -> Walked:
        """The same rows for a training along steps of their own order; views give way to the rows as they are."""
        told = self.classes
        if told is None:
            told = self.targets if self.label_kind == "hard" else self.targets.argmax(1)
        return Walked(self.inputs, self.targets, told, self.label_kind, self.temperature, self.class_weight)

    def student(self, build: Callable[[int], nn.Module], config: FitConfig, seed: int, device: str = "cpu") -> Fitted:
        """A network trained on these rows, each at the temperature of its labels, without a look at other rows."""
        own = self.temperatures
        [fitted] = fit(
            build, self.inputs, self.targets, self.fitted_with(config), [seed], label_kind=self.label_kind,
            weights=self.weights, temperatures=None if own is None else own.where(own != 1, config.temperature),
            classes=self.classes, class_weight=self.class_weight, replay=self.replay, device=device,
        )  # fmt: skip
        return fitted

    @classmethod
    def of(cls, compact_set: CompactSet) -> Material:
        """A compact set as a network is trained on it."""
        inputs, targets, weights = compact_set.materialize()
        return cls(
            inputs, targets, weights, compact_set.label_kind, Replay.of(compact_set),
            compact_set.temperature, compact_set.classes, compact_set.class_weight,
        )  # fmt: skip


def rows_together(parts: Sequence[Material]) -> Material:
    """All rows of parts with labels of one kind, each at its own temperature. Views give way to the rows as they are,
    and rows without weights count 1. Where each part says the classes of its rows, they weigh as in the first."""
    each = torch.cat([
        torch.full((len(part.inputs),), part.temperature) if part.temperatures is None else part.temperatures
        for part in parts
    ])  # fmt: skip
    one = bool((each == each[0]).all())
    weights = [torch.ones(len(part.inputs)) if part.weights is None else part.weights for part in parts]
    targets: Shaped[Tensor, "m ..."] = torch.cat([part.targets for part in parts])
    classes = [part.classes for part in parts if part.classes is not None]
    told = len(classes) == len(parts)
    return Material(
        torch.cat([part.inputs for part in parts]), targets, torch.cat(weights), parts[0].label_kind,
        temperature=float(each[0]) if one else 1.0, classes=torch.cat(classes) if told else None,
        class_weight=parts[0].class_weight if told else 0.0, temperatures=None if one else each,
    )  # fmt: skip


@dataclass(frozen=True)
class Weight:
    """What a contender weighs: bytes of each part, training rows after decoding, kind of labels."""

    images: int
    labels: int
    decoder: int
    rows: int
    label_kind: LabelKind


@dataclass(frozen=True, eq=False)
class Training:
    """How every contender is trained: one network, one protocol, one device."""

    build: Callable[[int], nn.Module]
    """A new network from a seed."""
    data: Dataset
    protocol: Protocol
    device: str
    check: Callable[[nn.Module, int], float]
    """Validation accuracy of a network after an epoch."""

    def on(self, material: Material, seed: int, tick: Ticker) -> Fitted:
        """Train a network on rows in memory, keeping the weights best on validation too."""
        if isinstance(self.protocol, Course):
            return walk(self.protocol, material.walked(), self.build, seed, self.device, self.check, tick)
        config = material.fitted_with(self.protocol.fit_on(self.data.spec))
        [fitted] = fit(
            self.build, material.inputs, material.targets, config, [seed],
            label_kind=material.label_kind, weights=material.weights, replay=material.replay, device=self.device,
            classes=material.classes, class_weight=material.class_weight,
            evaluate=self.check, evaluate_every=self.protocol.check_every(config.epochs), keep_best=True,
            tick=_part_of_one(tick, config.epochs),
        )  # fmt: skip
        return fitted

    def on_all(self, seed: int, tick: Ticker) -> Fitted:
        """The same on the whole training split, for the passes that the protocol gives it."""
        config = self.protocol.fit_full(self.data.spec, len(self.data.train))
        [fitted] = fit_dataset(
            self.build, self.data, config, [seed],
            device=self.device, evaluate=self.check, evaluate_every=self.protocol.check_every(config.epochs),
            keep_best=True,
            tick=_part_of_one(tick, config.epochs),
        )  # fmt: skip
        return fitted


def _part_of_one(tick: Ticker, epochs: int) -> Ticker:
    """`fit` counts passes; the judge counts runs."""

    def counted(done: int | float, note: str = "") -> None:
        tick(done / epochs, note)

    return counted


class Contender(ABC):
    """One line of a scorecard before it is judged. Finals say what their rows are and how they are trained on."""

    name: str
    label: str
    kind: Kind
    weight: Weight
    notes: tuple[str, ...]

    @abstractmethod
    def key(self, seed: int) -> str:
        """What the rows of this seed depend on, as text: equal keys mean equal rows."""

    @abstractmethod
    def train(self, seed: int, training: Training, tick: Ticker) -> Fitted:
        """Train a network on the rows of this seed. `tick` gets the part that is done, up to 1."""


def at_temperature(compact_set: CompactSet) -> str:
    """What the temperature of a set's labels adds to the key of a run, so that none at another is taken for it."""
    return "" if compact_set.temperature == 1 else f"/fitted at temperature {compact_set.temperature:g}"


@dataclass(frozen=True, eq=False)
class Judged(Contender):
    """A compact set: every seed trains on the same rows."""

    compact_set: CompactSet
    name: str
    label: str
    weight: Weight
    kind: Kind = "judged"
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, compact_set: CompactSet, name: str | None = None) -> Judged:
        """The contender of a set, named after the recipe or the method in its provenance."""
        known = compact_set.provenance
        found = name or str(known.get("name") or known.get("recipe") or known.get("method") or "set")
        size = compact_set.nbytes
        weight = Weight(size.images, size.labels, size.decoder, len(compact_set), compact_set.label_kind)
        return cls(compact_set, found, found, weight)

    def key(self, seed: int) -> str:
        return f"set/{self.compact_set.content_hash}{at_temperature(self.compact_set)}"

    def train(self, seed: int, training: Training, tick: Ticker) -> Fitted:
        return training.on(Material.of(self.compact_set), seed, tick)

    def with_hard_labels(self) -> Relabelled:
        """The same rows taught by the class that each stands for, one byte a row."""
        labels = hard_label_bytes(len(self.compact_set), self.compact_set.spec.classes)
        weight = replace(self.weight, labels=labels, label_kind="hard")
        label = f"{self.label}, hard labels"
        return Relabelled(self.compact_set, f"{self.name}/{HARD_LABELS}", label, weight)


@dataclass(frozen=True, eq=False)
class Relabelled(Contender):
    """The rows of a compact set with the class of each as its label; views give way to the rows as they are."""

    compact_set: CompactSet
    name: str
    label: str
    weight: Weight
    kind: Kind = "baseline"
    notes: tuple[str, ...] = ()

    def key(self, seed: int) -> str:
        return f"set/{self.compact_set.content_hash}/hard labels"

    def train(self, seed: int, training: Training, tick: Ticker) -> Fitted:
        inputs, _, weights = self.compact_set.materialize()
        return training.on(Material(inputs, self.compact_set.classes, weights, "hard"), seed, tick)
