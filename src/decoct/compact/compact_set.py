"""What every result is: few rows that stand for many, with their bytes counted."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.utils.data import TensorDataset

from decoct.data.dataset import DataSpec
from decoct.errors import ConfigError, MissingExtraError

LabelKind = Literal["hard", "probabilities", "scores"]


@dataclass(frozen=True)
class Bytes:
    """What a result costs to store, in three parts that are never mixed."""

    images: int
    labels: int
    decoder: int

    @property
    def total(self) -> int:
        return self.images + self.labels + self.decoder


class CompactSet(ABC):
    """A small training set. Abstract; the finals are `Coreset` (real rows) and `DistilledSet` (made rows).

    `classes` is the nominal class of every row; `label_kind` says what `materialize` teaches: `hard` class numbers,
    `probabilities` (rows sum to 1) or `scores` (regression targets, fitted with the squared error).
    """

    spec: DataSpec
    provenance: dict[str, Any]
    label_kind: LabelKind
    classes: Int64[Tensor, " m"]

    @abstractmethod
    def materialize(
        self,
    ) -> tuple[Float[Tensor, "m ..."], Int64[Tensor, " m"] | Float[Tensor, "m C"], Float[Tensor, " m"]]:
        """What a network is trained on: inputs float32 `[m, ...]`, targets int64 `[m]` or float32 `[m, C]`, weights."""

    @property
    @abstractmethod
    def nbytes(self) -> Bytes:
        """Bytes of what is stored: images, labels and decoder."""

    @abstractmethod
    def stored(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that `materialize` depends on beside `spec`, as it is saved: tensors by name, and plain JSON facts."""

    @property
    def table(self) -> Mapping[str, Any] | None:
        """Columns of `selection.parquet`, for results that have rows of a source to name."""
        return None

    @property
    def class_weight(self) -> float:
        """Weight of the cross-entropy of `classes` that students of scores minimise beside their squared error."""
        return 0.0

    @property
    def temperature(self) -> float:
        """What divided the logits that soft labels were made from; students fit them at the same temperature."""
        return 1.0

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def content_hash(self) -> str:
        """sha256 of everything that decides what is trained on (stored tensors, labels, transform, fingerprint).

        Two sets with the same hash train the same networks; provenance does not enter. It is taken from what is
        stored, not from decoded floats, which may differ in their last bit from one machine to another.
        """
        tensors, facts = self.stored()
        transform = {f"transform.{name}": tensor for name, tensor in self.spec.transform.tensors().items()}
        digest = hashlib.sha256()
        head = [type(self).__name__, self.spec.fingerprint, self.spec.shape, self.spec.transform.kind, facts]
        digest.update(json.dumps(head, sort_keys=True).encode())
        for name, tensor in sorted({**tensors, **transform}.items()):
            digest.update(f"\0{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def pictures(self) -> UInt8[Tensor, "m h w c"]:
        """The images as a person sees them: 0 to 255, channels last, rounded and clipped.

        Raises `ConfigError` for features.
        """
        if not self.spec.is_image:
            raise ConfigError(
                "showing a compact set as pictures",
                received=f"rows of shape {self.spec.shape}",
                expected="images of shape (c, h, w)",
                remedy="use materialize() or the parquet or npz export for features",
            )
        return self._pictures()

    def _pictures(self) -> UInt8[Tensor, "m h w c"]:
        inputs, _, _ = self.materialize()
        unit = self.spec.transform.inverse(inputs).clamp(0, 1)
        return (unit * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()

    def to_torch(self) -> TensorDataset:
        """A torch data set of (input, target, weight)."""
        return TensorDataset(*self.materialize())

    def to_hf(self) -> Any:
        """A Hugging Face `datasets.Dataset`: image (or features), label with class names, weight, soft label if any.

        Images are 8-bit PNG on the raw scale. Raises `MissingExtraError` where `datasets` is not installed.
        """
        try:
            from datasets import Dataset
            from datasets.table import InMemoryTable
        except ImportError as error:
            raise MissingExtraError(
                "making a Hugging Face data set",
                received=f"{type(error).__name__}: {error}",
                expected="the package 'datasets'",
                remedy="pip install 'decoct[hf]'",
            ) from error
        from decoct.compact.table import arrow_table

        return Dataset(InMemoryTable(arrow_table(self)))

    def save(self, folder: Path | str) -> Path:
        """Write the set into `folder` and return the path of its manifest, which appears last.

        The manifest lists the files of the set; others in the folder, such as `metrics.jsonl`, are left alone. Raises
        `OutputError` where the folder holds a finished run of something else, or cannot be written; then nothing has
        changed.
        """
        from decoct.compact.save import save_set

        return save_set(self, Path(folder))
