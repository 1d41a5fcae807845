"""Writing a set: tensors, selection, preview, data card and manifest."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import save as tensor_bytes

from decoct.compact.card import data_card
from decoct.compact.compact_set import CompactSet
from decoct.compact.folder import Writer, content_writer, require_free, write_run
from decoct.compact.preview import preview_png
from decoct.compact.spec_json import spec_tensors, spec_to_json
from decoct.compact.stored import readable
from decoct.files import require_folder

TENSOR_FILE = "set.safetensors"
SELECTION_FILE = "selection.parquet"
PREVIEW_FILE = "preview.png"
CARD_FILE = "README.md"
SELECTION_COLUMNS = {
    "rank": "int64",
    "index": "int64",
    "id": "string",
    "class": "int64",
    "weight": "float",
    "score": "float",
    "reason": "string",
}
"""Columns of `selection.parquet` and their Arrow types."""
DTYPE_NAMES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.int32: "I32",
    torch.int64: "I64",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.float64: "F64",
}
"""Types as safetensors names them."""


def save_set(small: CompactSet, folder: Path) -> Path:
    """Write `small` into `folder` as a finished run; see `CompactSet.save`."""
    own, facts = small.stored()
    tensors = {name: tensor.contiguous() for name, tensor in {**own, **spec_tensors(small.spec)}.items()}
    manifest = {
        "kind": "coreset" if small.table is not None else "distilled",
        "decoct": version("decoct"),
        "content": small.content_hash,
        "rows": len(small),
        "spec": spec_to_json(small.spec),
        **facts,
        "bytes": {**vars(small.nbytes), "total": small.nbytes.total},
        "tensors": {n: {"dtype": DTYPE_NAMES[t.dtype], "shape": list(t.shape)} for n, t in sorted(tensors.items())},
        "provenance": small.provenance,
    }
    # Everything is made in memory first: the libraries report a full disk each in their own way, one write in ours.
    files: dict[str, Writer] = {TENSOR_FILE: content_writer(tensor_bytes(tensors))}
    if small.table is not None:
        files[SELECTION_FILE] = content_writer(_selection_bytes(small.table))
    if small.spec.is_image:
        files[PREVIEW_FILE] = content_writer(preview_png(small.pictures(), small.classes))
    files[CARD_FILE] = content_writer(data_card(manifest).encode("utf-8", "replace"))
    return write_run(folder, files, manifest)


def require_place(folder: Path) -> None:
    """Raise `OutputError` where something stands in the way of a set; to be asked before long work, not after it."""
    require_folder(folder)
    require_free(folder, (TENSOR_FILE, SELECTION_FILE, PREVIEW_FILE, CARD_FILE))


def _selection_bytes(table: Mapping[str, Any]) -> bytes:
    values = {**table, **{name: [readable(text) for text in table[name]] for name in ("id", "reason")}}
    columns = {name: pa.array(values[name], _arrow_type(kind)) for name, kind in SELECTION_COLUMNS.items()}
    buffer = BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def _arrow_type(kind: str) -> pa.DataType:
    return {"int64": pa.int64(), "string": pa.string(), "float": pa.float32()}[kind]
