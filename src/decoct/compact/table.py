"""A set as an Arrow table in the layout of Hugging Face `datasets`."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa

from decoct.compact.compact_set import CompactSet
from decoct.compact.preview import png_bytes
from decoct.compact.stored import readable

PIECE = 2**31 - 1
"""Numbers in one piece of a list column at most: its offsets have 32 bits, also where `datasets` reads it."""


def arrow_table(small: CompactSet) -> pa.Table:
    """Columns `image` (PNG bytes on the raw scale, 8 bits) or `features` (raw scale), `label`, `soft_label` for
    probabilities and scores, and `weight`.

    The schema carries what `datasets` needs to restore images and class names. Feature tables and labels stay exact
    (float32); pictures are rounded to 8 bits.
    """
    inputs, targets, weights = small.materialize()
    count = len(small)
    columns: dict[str, Any] = {}
    features: dict[str, Any] = {}
    if small.spec.is_image:
        encoded = [{"bytes": png_bytes(picture), "path": None} for picture in small.pictures()]
        layout = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        columns["image"] = pa.array(encoded, layout)
        features["image"] = {"_type": "Image"}
    else:
        columns["features"] = _rows(small.spec.transform.inverse(inputs).numpy())
        features["features"] = _list_feature()
    columns["label"] = pa.array(small.classes.numpy(), pa.int64())
    names = [readable(name) for name in small.spec.class_names]
    features["label"] = {"names": names, "_type": "ClassLabel"}
    if small.label_kind != "hard":
        columns["soft_label"] = _rows(targets.float().numpy())
        features["soft_label"] = _list_feature()
    columns["weight"] = pa.array(weights.numpy(), pa.float32())
    features["weight"] = {"dtype": "float32", "_type": "Value"}
    assert all(len(column) == count for column in columns.values())
    head = json.dumps({"info": {"features": features}})
    return pa.table(columns).replace_schema_metadata({"huggingface": head})


def _rows(values: np.ndarray) -> pa.ChunkedArray:
    """Rows `[m, d]` as a list column, in pieces of at most `PIECE` numbers."""
    width = values.shape[1]
    size = max(1, PIECE // max(1, width))
    parts = [values[start : start + size] for start in range(0, max(1, len(values)), size)]
    return pa.chunked_array([_list_array(part, width) for part in parts])


def _list_array(values: np.ndarray, width: int) -> pa.Array:
    offsets = np.arange(len(values) + 1, dtype=np.int32) * width
    flat = pa.array(np.ascontiguousarray(values, dtype=np.float32).ravel())
    return pa.ListArray.from_arrays(pa.array(offsets), flat)


def _list_feature() -> dict[str, Any]:
    return {"feature": {"dtype": "float32", "_type": "Value"}, "_type": "List"}
