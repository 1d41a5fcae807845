"""What a scorecard says about the data, and what tells the data of two scorecards apart."""

from __future__ import annotations

import hashlib
from typing import Any

from decoct.data.dataset import Dataset
from decoct.data.sample_weights import weights_key
from decoct.errors import DataError

DATA_KEYS = ("fingerprint", "shape", "normalisation", "train", "val", "test", "weights")
"""The facts that have to be the same for two numbers to be about the same data, wherever those lie."""


def data_key(data: Dataset) -> str:
    """A hash of the data, the rows in use and their weights: `Dataset.with_train` keeps the source's fingerprint."""
    digest = hashlib.sha256(data.spec.fingerprint.encode())
    for split in (data.train, data.val, data.test):
        digest.update(f"{len(split)}/".encode())
        digest.update(("\n".join(split.ids.tolist()) + weights_key(split)).encode())
    for name, tensor in sorted(data.spec.transform.tensors().items()):
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def data_facts(data: Dataset) -> dict[str, Any]:
    """What a scorecard says about the data, as plain JSON values; `weights` is there where rows have some."""
    spec, weights = data.spec, _weights(data)
    return {
        "source": spec.source,
        "fingerprint": spec.fingerprint,
        "shape": list(spec.shape),
        "class_names": list(spec.class_names),
        "normalisation": spec.transform.kind,
        "train": len(data.train),
        "val": len(data.val),
        "test": len(data.test),
        "row_bytes": spec.row_bytes,
        "notices": list(spec.notices),
        **({"weights": weights} if weights else {}),
    }


def _weights(data: Dataset) -> str:
    """A hash of the weights of training and validation rows by their ids; empty where none has one."""
    splits = [split for split in (data.train, data.val) if split.weights is not None]
    text = "/".join("\n".join(split.ids.tolist()) + weights_key(split) for split in splits)
    return hashlib.sha256(text.encode()).hexdigest() if splits else ""


def require_rows(data: Dataset) -> None:
    """Raise `DataError` where there is nothing to choose or to measure on."""
    for name, split in (("validation", data.val), ("test", data.test)):
        if len(split) == 0:
            raise DataError(
                "judging a compact set",
                received=f"data without {name} rows",
                expected="at least one row to measure on",
                remedy="open the data with val_fraction and test_fraction above 0",
            )
