"""What every axis of a distillation sees: the task, the real data to draw from, the synthetic rows of one step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from decoct.augment.siamese import Siamese
from decoct.compact.budget import Budget
from decoct.data.dataset import Dataset, DataSpec
from decoct.data.sample_weights import draw
from decoct.networks.build import network
from decoct.networks.dropout import without_noise
from decoct.training.expert import Expert

GRAY_STRATEGY = "color_crop_cutout_scale_rotate"
COLOUR_STRATEGY = "color_crop_cutout_flip_scale_rotate"


def default_strategy(spec: DataSpec) -> str:
    """The siamese augmentation for data nobody described: DSA's six families, without the flip on gray images.

    The field drops the flip for digits, whose mirror images are other digits; gray images are most often of that
    kind. Features have no augmentation.
    """
    if not spec.is_image:
        return ""
    return GRAY_STRATEGY if spec.shape[0] == 1 else COLOUR_STRATEGY


@dataclass(frozen=True, eq=False)
class Problem:
    """One distillation task: `ipc` stored images for every class of `data`, matched with `network` on `device`.

    `strategy` names the augmentation families ("" for none, and always for features; "none" becomes it); `work` is a
    rough count of the floating-point operations that lie ahead, by which compiling is or is not worth its seconds.
    `cache` is a folder for networks that are trained on the real data for the purpose, so that a resumed run finds
    them; none keeps them in memory. `experts` holds those that several axes of one run share.
    """

    data: Dataset
    ipc: int
    network: str
    device: str
    strategy: str
    work: float
    cache: Path | None = None
    experts: dict[str, Expert] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "strategy", "_".join(Siamese(self.strategy).families))

    @property
    def spec(self) -> DataSpec:
        return self.data.spec

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.spec.shape

    @property
    def class_count(self) -> int:
        return self.data.spec.classes

    def module(self, seed: int) -> nn.Module:
        """The network to match in, a function of `seed`; in training mode, without dropout.

        Two looks at the same rows have to see the same, and a resumed run what it would have seen.
        """
        return without_noise(network(self.network, self.shape, self.class_count, seed)).to(self.device)

    def require_budget(self) -> None:
        """Raise `BudgetError` where a class has fewer than `ipc` images."""
        counts = torch.bincount(self.data.train.labels(), minlength=self.class_count)
        Budget(ipc=self.ipc).quota(counts, self.spec.row_bytes, class_names=self.spec.class_names)


@dataclass(frozen=True, eq=False)
class Synthetic:
    """The synthetic rows of one step.

    `images` `[m, ...]` is a leaf whose gradient reaches the storage; `targets` `[m, C]` carry a graph where labels
    are learned; `classes` `[m]` are the nominal classes.
    """

    images: Float[Tensor, "m ..."]
    targets: Float[Tensor, "m classes"]
    classes: Int[Tensor, " m"]


class RealSource:
    """Real training rows as network inputs, drawn by class from one generator.

    Where rows have weights, a class is drawn from in proportion to them and rows may come up more than once
    (`sample_weights.draw`): every mean over a draw is an estimate of the weighted mean of the class.
    """

    def __init__(self, data: Dataset, device: str, generator: torch.Generator) -> None:
        self.data, self.device, self.generator = data, device, generator
        self._rows = [torch.from_numpy(rows) for rows in data.train.class_rows(data.spec.classes)]
        self._weights = [data.train.weight(rows) for rows in self._rows]

    def per_class(
        self, count: int, classes: Iterable[int] | None = None
    ) -> tuple[Float[Tensor, "n ..."], Int[Tensor, " n"]]:
        """`count` rows of every class (or of `classes`), each at most once (all of a smaller class), by class."""
        wanted = range(len(self._rows)) if classes is None else classes
        return self._inputs(torch.cat([self._some(label, min(count, len(self._rows[label]))) for label in wanted]))

    def batch(self, count: int) -> tuple[Float[Tensor, "n ..."], Int[Tensor, " n"]]:
        """`count` rows with the classes in equal shares, so that rare classes are seen as often as common ones."""
        share = -(-count // len(self._rows))
        mixed = torch.cat([self._some(label, share) for label in range(len(self._rows))])
        return self._inputs(mixed[torch.randperm(len(mixed), generator=self.generator)[:count]])

    def _some(self, label: int, count: int) -> Int[Tensor, " n"]:
        """`count` rows of a class, each at most once where that is enough and all weigh the same."""
        rows, weights = self._rows[label], self._weights[label]
        if weights is not None:
            return rows[draw(weights, count, self.generator)]
        if len(rows) < count:
            return rows[torch.randint(len(rows), (count,), generator=self.generator)]
        return rows[torch.randperm(len(rows), generator=self.generator)[:count]]

    def _inputs(self, rows: Int[Tensor, " n"]) -> tuple[Float[Tensor, "n ..."], Int[Tensor, " n"]]:
        inputs = self.data.inputs(self.data.train, rows, self.device)
        return inputs, self.data.train.labels(rows).to(self.device)
