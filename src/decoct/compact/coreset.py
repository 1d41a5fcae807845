"""A result made of real rows: which ones, in which order, with weights and scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, Integer, Shaped, UInt8
from torch import Tensor
from torch.utils.data import Dataset, Subset, WeightedRandomSampler

from decoct.compact.compact_set import Bytes, CompactSet, LabelKind
from decoct.compact.stored import hard_label_bytes, require
from decoct.compact.subset import Item, sampler_of, subset_of
from decoct.data.dataset import DataSpec


@dataclass(frozen=True, eq=False)
class Coreset(CompactSet):
    """Rows selected from the training split, in the order in which they were picked.

    Sizes that do not fit together raise `ConfigError`, so the annotations leave them open.
    """

    spec: DataSpec
    """What the rows were taken from."""
    raw: Shaped[Tensor, "_ ..."]
    """The rows as they are in the source: uint8 images `[k, c, h, w]` or float32 features `[k, d]`."""
    classes: Int64[Tensor, " _"]
    """The class of each row, `[k]`."""
    indices: Int64[Tensor, " _"]
    """Row numbers in the training split, in the order picked, `[k]`."""
    ids: Shaped[np.ndarray, " _"]
    """The source's own name of each row, texts `[k]`."""
    weights: Float[Tensor, " _"]
    """How much each row counts in training, `[k]`; 1 for most methods."""
    scores: Float[Tensor, " _"]
    """What the method thought of each row, `[k]`; may be infinite or NaN where it has no opinion."""
    provenance: dict[str, Any]
    """How it was made, plain JSON."""
    reasons: Shaped[np.ndarray, " _"] | None = None
    """Why each row was picked, texts `[k]`; None where nobody said, which becomes empty texts."""
    label_kind: LabelKind = field(default="hard", init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", self.weights.detach().float().cpu())
        object.__setattr__(self, "scores", self.scores.detach().float().cpu())
        count, what = len(self.raw), "making a Coreset"
        if self.reasons is None:
            object.__setattr__(self, "reasons", np.full(count, "", np.str_))
        dtype = torch.uint8 if self.spec.is_image else torch.float32
        expected = f"{dtype} rows of shape {self.spec.shape}, at least one"
        fits = self.raw.dtype == dtype and tuple(self.raw.shape[1:]) == tuple(self.spec.shape) and count > 0
        require(fits, what, f"{self.raw.dtype} {tuple(self.raw.shape)}", expected)
        for name in ("classes", "indices", "ids", "weights", "scores", "reasons"):
            shape = tuple(getattr(self, name).shape)
            require(shape == (count,), what, f"{name} of shape {shape}", f"one entry for each of the {count} rows")
        top, low = int(self.classes.max()), int(self.classes.min())
        in_range = low >= 0 and top < self.spec.classes
        require(in_range, what, f"classes from {low} to {top}", f"class numbers from 0 to {self.spec.classes - 1}")
        require(int(self.indices.min()) >= 0, what, f"row number {int(self.indices.min())}", "row numbers from 0 up")
        usable = bool(torch.isfinite(self.weights).all()) and bool((self.weights >= 0).all())
        require(usable, what, "a negative or non-finite weight", "finite weights, none below 0")
        require(bool(torch.isfinite(self.raw).all()), what, "NaN or infinite features", "finite features")

    def materialize(self) -> tuple[Float[Tensor, "k ..."], Int64[Tensor, " k"], Float[Tensor, " k"]]:
        """Network inputs `[k, ...]` float32, class numbers, weights."""
        return self.spec.transform(self.raw), self.classes, self.weights

    @property
    def nbytes(self) -> Bytes:
        """One byte a value for images and four for features, a hard label each, no decoder."""
        return Bytes(len(self) * self.spec.row_bytes, hard_label_bytes(len(self), self.spec.classes), 0)

    def stored(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {"raw": self.raw, "classes": self.classes, "weights": self.weights}
        return tensors, {"label_kind": self.label_kind, "storage": "subset", "config": {}, "learned": {}}

    @property
    def table(self) -> Mapping[str, Any]:
        """Rank, index, id, class, weight, score and reason of every row."""
        assert self.reasons is not None
        return {
            "rank": np.arange(len(self), dtype=np.int64),
            "index": self.indices.numpy(),
            "id": [str(name) for name in self.ids],
            "class": self.classes.numpy(),
            "weight": self.weights.numpy(),
            "score": self.scores.numpy(),
            "reason": [str(text) for text in self.reasons],
        }

    def take(self, rows: Integer[Tensor, " r"]) -> Coreset:
        """The coreset of these of its rows, in this order."""
        assert self.reasons is not None
        return Coreset(
            self.spec, self.raw[rows], self.classes[rows], self.indices[rows], self.ids[rows.numpy()],
            self.weights[rows], self.scores[rows], self.provenance, self.reasons[rows.numpy()],
        )  # fmt: skip

    def to_subset(self, dataset: Dataset[Item] | Any) -> Subset[Item]:
        """These rows of `dataset`, the torch data set (or a torchvision image folder) that was opened, as `Subset`.

        Raises `MismatchError` where the data set is another one.
        """
        return subset_of(self, dataset)

    def sampler(self, seed: int = 0, num_samples: int | None = None) -> WeightedRandomSampler:
        """Draws rows of `to_subset` and `to_torch` by their weights, for a `DataLoader`; the same seed, the same draw.

        A loss weighted by `weights` says the same without chance; use one of the two.
        """
        return sampler_of(self, seed, num_samples)

    def _pictures(self) -> UInt8[Tensor, "k h w c"]:
        return self.raw.permute(0, 2, 3, 1).contiguous()
