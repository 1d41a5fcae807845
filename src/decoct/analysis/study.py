"""`Study`: one compact set on one data set with one network, as every analysis sees it."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from decoct.analysis.finding import Finding
from decoct.analysis.routine import Routine
from decoct.compact.compact_set import CompactSet
from decoct.data.dataset import Dataset, Split
from decoct.errors import ConfigError, DataError
from decoct.evaluation.cells import Records
from decoct.evaluation.contender import Material, at_temperature, rows_together
from decoct.evaluation.data_facts import data_key
from decoct.evaluation.match import require_match
from decoct.files import make_folder
from decoct.machine import hardware, library_versions, usable_device
from decoct.networks.build import default_network, network
from decoct.networks.identity import network_identity
from decoct.progress import Ticker
from decoct.streams import Streams, derive_seed
from decoct.training.accuracy import accuracy, predict
from decoct.training.config import LabelKind
from decoct.training.expert import Expert, train_expert

CALLED = "analysing a compact set on data"


@dataclass(frozen=True, eq=False)
class Study:
    """What is analysed, and where finished pieces of work are kept. Everything random follows from the seeds."""

    compact_set: CompactSet
    data: Dataset
    network: str
    seeds: tuple[int, ...]
    device: str
    records: Records
    data_key: str
    set_key: str
    tick: Ticker = field(default=lambda done, note="": None)
    last_expert: dict[tuple[str, int, int], Expert] = field(default_factory=dict)
    """The one that was asked for last, by network, passes and seed: analyses ask for one again and again."""

    @classmethod
    def of(
        cls, compact_set: CompactSet, data: Dataset, network_name: str | None = None, seeds: int | Sequence[int] = 5, *,
        out: str | Path | None = None, device: str | None = None,
    ) -> Study:  # fmt: skip
        """Check all that can be checked before the first training; `out` is the folder of finished work.

        Raises `MismatchError` where set and data do not belong together, `UnknownNameError` and `ConfigError` for a
        network that does not exist or cannot take these inputs, `ConfigError` for no seeds, `DataError` for data
        without validation or test rows, and `OutputError`.
        """
        require_match(compact_set.spec, data.spec, CALLED)
        name = network_name or default_network(data.spec.shape)
        network(name, data.spec.shape, data.spec.classes, 0)
        chosen = tuple(dict.fromkeys(range(seeds) if isinstance(seeds, int) else seeds))
        if not chosen:
            raise ConfigError(CALLED, received=f"seeds={seeds!r}", expected="at least one seed", remedy="give seeds")
        for word, split in (("training", data.train), ("validation", data.val), ("test", data.test)):
            if len(split) == 0:
                raise DataError(
                    CALLED,
                    received=f"data without {word} rows",
                    expected="at least one row of each split",
                    remedy="open the data with val_fraction and test_fraction above 0",
                )
        folder = None if out is None else make_folder(Path(out) / "cells")
        return cls(
            compact_set, data, name, chosen, usable_device(device), Records(folder), data_key(data),
            compact_set.content_hash,
        )  # fmt: skip

    @property
    def classes(self) -> int:
        return self.data.spec.classes

    @cached_property
    def _identity(self) -> str:
        # By its name alone a network that was edited would be given what was found of the old one.
        return network_identity(self.network, self.data.spec.shape, self.classes)

    def build(self, seed: int) -> nn.Module:
        """A new network."""
        return network(self.network, self.data.spec.shape, self.classes, seed)

    def once(
        self, analysis: str, settings: Any, key: dict[str, Any], work: Callable[[], dict[str, Any]], *,
        about_set: bool = True,
    ) -> Any:  # fmt: skip
        """The record of this piece of work, doing it where that has not been done; `about_set` where it depends on
        the set."""
        # What analyses kept before they joined rows, or took losses, at the temperature of the labels is not this.
        told = f"{own}, everywhere" if (own := at_temperature(self.compact_set)) else ""
        full = {
            "analysis": analysis, "settings": asdict(settings), "network": self._identity, "data": self.data_key,
            **({"set": self.set_key + told} if about_set else {}),
            # What was kept of weighted data before weights counted in every part of an analysis is not this.
            **({"weights": "everywhere"} if self.data.weighted else {}), **key,
        }  # fmt: skip
        full = json.loads(json.dumps(full))  # as it is read back
        found = self.records.find(full)
        if found is None:
            found = work()
            self.records.keep(full, found)
        return found

    def material(self) -> Material:
        """The set as a network is trained on it."""
        return Material.of(self.compact_set)

    def real(self, rows: Int64[Tensor, " k"], kind: LabelKind = "hard") -> Material:
        """Real training rows with their own labels, written as labels of this kind; they count by their weights."""
        labels, weights = self.data.train.labels(rows), self.data.train.weight(rows)
        targets = as_kind(labels, kind, self.classes)
        weights = None if weights is None else weights.float()
        return Material(self.data.inputs(self.data.train, rows), targets, weights, kind, classes=labels)

    def train(self, material: Material, routine: Routine, seed: int, *start: str) -> nn.Module:
        """A network trained on `material`; a set with views shows them in turn.

        Networks of one seed start from the same weights, unless a name is given to their `start`.
        """
        config = routine.config(len(material.inputs))
        return material.student(self.build, config, derive_seed(seed, "analysis", *start), self.device).module

    def expert(self, epochs: int, seed: int, name: str | None = None) -> Expert:
        """A network trained on all real training rows; the last one, or one that is in the folder, as it is."""
        key = (name or self.network, epochs, seed)
        if key not in self.last_expert:
            folder = self.records.folder
            cache = None if folder is None else folder.parent / "experts"
            own = derive_seed(seed, "analysis", "expert")
            found = train_expert(self.data, key[0], epochs, own, self.device, cache=cache)
            self.last_expert.clear()
            self.last_expert[key] = found
        return self.last_expert[key]

    def predictions(self, module: nn.Module, split: Split) -> Int64[Tensor, " n"]:
        """The class that the network gives each row of a split."""
        return predict(module, self.data, split).argmax(1)

    def accuracy(self, module: nn.Module, split: Split) -> float:
        """Fraction of the rows of a split that the network gets right, by their weights where they have some."""
        return accuracy(module, self.data, split)

    def rows_per_class(
        self, count: int, seed: int, name: str, without: Int64[Tensor, " n"] | None = None
    ) -> Int64[Tensor, " k"]:
        """`count` random training rows of every class (all of a class that has fewer), class by class.

        With one seed and name, fewer rows are a prefix of more in every class; those in `without` are passed over.
        """
        streams = Streams(derive_seed(seed, "analysis", name))
        picked = []
        for c, rows in enumerate(self.data.train.class_rows(self.classes)):
            order = torch.from_numpy(rows)[torch.randperm(len(rows), generator=streams(f"class {c}"))]
            if without is not None:
                order = order[~torch.isin(order, without)]
            picked.append(order[:count])
        return torch.cat(picked)

    def per_class(self) -> float:
        """Rows of the set for each class, on average."""
        return len(self.compact_set) / self.classes

    def notes(self) -> list[str]:
        """What is true of every analysis of this set."""
        told = list(self.records.notes)
        present = torch.bincount(self.compact_set.classes, minlength=self.classes) > 0
        missing = [self.data.spec.class_names[c] for c in torch.nonzero(~present).flatten().tolist()]
        if missing:
            listed = ", ".join(missing[:10]) + (", ..." if len(missing) > 10 else "")
            told.append(f"{len(missing)} of {self.classes} classes have no row in the set: {listed}")
        if len(self.seeds) == 1:
            told.append("one seed: no intervals, which need two or more")
        return told

    def facts(self, settings: Any) -> dict[str, Any]:
        """What is needed to get the same finding again."""
        made = self.compact_set.provenance
        return {
            "settings": asdict(settings), "network": self.network, "seeds": list(self.seeds), "device": self.device,
            "set": {"content_hash": self.set_key, "rows": len(self.compact_set),
                    "method": str(made.get("name") or made.get("recipe") or made.get("method") or "set")},
            "data": {"source": self.data.spec.source, "fingerprint": self.data.spec.fingerprint,
                     "train": len(self.data.train), "val": len(self.data.val), "test": len(self.data.test)},
            "hardware": hardware(), "versions": library_versions(),
        }  # fmt: skip

    def said_by(self, tick: Ticker) -> Study:
        """The same study, telling `tick` how far it is."""
        return replace(self, tick=tick)


class Analysis(ABC):
    """One question about a set. A final one is a frozen dataclass of its settings."""

    name: str
    """The name in the table."""

    @abstractmethod
    def run(self, study: Study) -> Finding:
        """Answer it, keeping every finished piece of work in `study.records`."""


def as_kind(
    labels: Int64[Tensor, " k"], kind: LabelKind, classes: int
) -> Int64[Tensor, " k"] | Float[Tensor, "k classes"]:
    """Hard labels as they are, as one-hot probabilities, or as scores `(e_y - 1/C) / sqrt(C/10)`, which is how learned
    scores start."""
    if kind == "hard":
        return labels
    one_hot = F.one_hot(labels, classes).float()
    return one_hot if kind == "probabilities" else (one_hot - 1 / classes) / math.sqrt(classes / 10)


def joined(first: Material, second: Material) -> Material:
    """Both materials as one; rows count as their weights say, 1 where there are none, and are
    fitted at the temperatures of their labels. Views are left out."""
    return rows_together([
        part if part.weights is None else replace(part, weights=part.weights / part.weights.mean())
        for part in (first, second)
    ])  # fmt: skip


def require_setting(analysis: str, name: str, good: bool, value: object, expected: str) -> None:
    """Raise `ConfigError` unless a setting of an analysis is `good`."""
    if not good:
        raise ConfigError(
            f"setting {name} of the analysis {analysis!r}",
            received=repr(value),
            expected=expected,
            remedy=f"give another {name}",
        )
