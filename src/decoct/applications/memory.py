"""What a continual learner keeps of the classes that it has seen: a reservoir, or a small set for each task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Int64
from torch import Tensor

from decoct.applications.class_subset import only_classes, real_rows, rows_of_set, together
from decoct.applications.small_set import small_set
from decoct.compact.compact_set import CompactSet
from decoct.compact.stored import hard_label_bytes
from decoct.data.dataset import Dataset
from decoct.errors import BudgetError, ConfigError
from decoct.evaluation.contender import Material
from decoct.evaluation.draws import equal_classes
from decoct.streams import Streams, derive_seed

RESERVOIR = "reservoir"
"""The memory that is no set made of a task."""


def row_cost(data: Dataset) -> int:
    """Bytes of one real row with its label."""
    return data.spec.row_bytes + hard_label_bytes(1, data.spec.classes)


def require_memory_budget(data: Dataset, nbytes: int) -> None:
    """Raise `BudgetError` unless `nbytes` hold one row of every class."""
    least = row_cost(data) * data.spec.classes
    if nbytes < least:
        raise BudgetError(
            "setting the bytes of a memory",
            received=f"{nbytes} bytes",
            expected=f"at least {least}: one row of {row_cost(data)} bytes for each of {data.spec.classes} classes",
            remedy="give more bytes, or open the data smaller (size)",
        )


def require_equal_chances(data: Dataset) -> None:
    """Raise `ConfigError` where training rows have weights, which a reservoir cannot honour."""
    if data.train.weights is not None:
        raise ConfigError(
            "keeping a reservoir", received="weights on the training rows",
            expected="rows that all count the same: each of those seen has the same chance to be kept",
            remedy="leave the weights out, or keep the rows of another memory, such as random",
        )  # fmt: skip


class Memory(ABC):
    """Rows kept of the classes seen so far, never more than its bytes."""

    data: Dataset
    nbytes: int
    """Bytes in use."""
    rows: int
    """Rows that it teaches."""

    @abstractmethod
    def add(self, classes: Sequence[int]) -> None:
        """Take in the training rows of new classes."""

    @abstractmethod
    def material(self) -> Material | None:
        """What there is to train on; none before the first task."""

    def alone(self) -> Material | None:
        """The same for a network that sees nothing else."""
        return self.material()

    def real(self, classes: Sequence[int]) -> Material:
        """All real training rows of `classes`, which are at hand only while their task is the new one."""
        return real_rows(self.data, rows_of(self.data, classes))


def rows_of(data: Dataset, classes: Sequence[int]) -> Int64[Tensor, " k"]:
    """Row numbers of these classes in the training split, ascending."""
    return torch.isin(data.train.labels(), torch.tensor(list(classes))).nonzero().flatten()


class Reservoir(Memory):
    """Algorithm R: of n rows seen, each is kept with probability capacity / n.

    Paper: Vitter, "Random Sampling with a Reservoir" (1985, https://doi.org/10.1145/3147.3165). Rows of a task come in
    an order drawn from the seed. Nothing makes the classes even; what sees the reservoir alone weighs its rows so that
    each class counts the same. Raises `ConfigError` for rows with weights: every row has the same chance.
    """

    def __init__(self, data: Dataset, nbytes: int, seed: int) -> None:
        require_equal_chances(data)
        self.data, self._capacity = data, nbytes // row_cost(data)
        self._streams, self._kept, self._seen = Streams(derive_seed(seed, "reservoir")), [], 0

    def add(self, classes: Sequence[int]) -> None:
        rows = rows_of(self.data, classes)
        for row in rows[torch.randperm(len(rows), generator=self._streams("order"))].tolist():
            self._seen += 1
            if len(self._kept) < self._capacity:
                self._kept.append(row)
                continue
            place = int(torch.randint(self._seen, (1,), generator=self._streams("place")))
            if place < self._capacity:
                self._kept[place] = row

    def material(self) -> Material | None:
        return real_rows(self.data, torch.tensor(self._kept)) if self._kept else None

    def alone(self) -> Material | None:
        """Its rows, by weights under which every class counts the same, as the classes of the other memories do."""
        kept = self.material()
        return None if kept is None else replace(kept, weights=equal_classes(kept.targets.argmax(1)))

    @property
    def rows(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return len(self._kept)

    @property
    def nbytes(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return len(self._kept) * row_cost(self.data)


class Made(Memory):
    """A small set for every task, by a recipe or selector, each class with its reserved share of the bytes."""

    def __init__(self, maker: str, data: Dataset, nbytes: int, seed: int, steps: int | None, network: str, device: str):
        self.data, self._maker, self._budget, self._seed = data, maker, nbytes, seed
        self._steps, self._network, self._device = steps, network, device
        self._sets: list[tuple[tuple[int, ...], CompactSet]] = []

    def add(self, classes: Sequence[int]) -> None:
        """Make the set of these classes; one with soft labels or a decoder is made again where it came out too large.

        A class with fewer rows than its share gives all it has, and so do the others of its task.
        """
        own = only_classes(self.data, classes)
        allowed = self._budget * len(classes) // self.data.spec.classes
        smallest = int(torch.bincount(own.train.labels()).min())
        ipc = min(smallest, allowed // (row_cost(self.data) * len(classes)))
        while True:
            made = small_set(
                own, self._maker, ipc=ipc, steps=self._steps, network=self._network, device=self._device,
                seed=derive_seed(self._seed, "memory", *classes),
            )  # fmt: skip
            if made.nbytes.total <= allowed:
                self._sets.append((tuple(classes), made))
                return
            ipc = min(ipc - 1, ipc * allowed // made.nbytes.total)
            if ipc < 1:
                raise BudgetError(
                    f"keeping {len(classes)} classes by {self._maker}",
                    received=f"{made.nbytes.total} bytes for one image a class",
                    expected=f"at most {allowed} bytes",
                    remedy="give the memory more bytes, or choose a maker with smaller labels",
                )

    def material(self) -> Material | None:
        total = self.data.spec.classes
        return together([rows_of_set(made, classes, total) for classes, made in self._sets]) if self._sets else None

    @property
    def rows(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return sum(len(made) for _, made in self._sets)

    @property
    def nbytes(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return sum(made.nbytes.total for _, made in self._sets)


def memory_for(
    name: str, data: Dataset, nbytes: int, seed: int, steps: int | None, network: str, device: str
) -> Memory:
    """The memory of that name, empty."""
    if name == RESERVOIR:
        return Reservoir(data, nbytes, seed)
    return Made(name, data, nbytes, seed, steps, network, device)
