"""Reading a saved set back, trusting nothing that was not checked."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError
from safetensors.torch import load as read_safetensors
from torch import Tensor

from decoct.compact.coreset import Coreset
from decoct.compact.distilled import RESERVED_TENSORS, DistilledSet
from decoct.compact.folder import read_file, read_manifest
from decoct.compact.save import DTYPE_NAMES, SELECTION_COLUMNS, SELECTION_FILE, TENSOR_FILE
from decoct.compact.soft_labels import decode
from decoct.compact.spec_json import TRANSFORM_PREFIX, spec_from
from decoct.errors import ConfigError, IntegrityError, UnknownNameError

KINDS = ("coreset", "distilled")


def load(folder: Path | str) -> Coreset | DistilledSet:
    """The set that `save` wrote into `folder`.

    Raises `SourceError` where there is no such folder, `UnfinishedRunError` where it has no whole manifest,
    `IntegrityError` where a file is missing, altered or not what the manifest says; every hash is checked before
    anything is read from a file.
    """
    folder = Path(folder)
    manifest = read_manifest(folder, kinds=KINDS)
    tensors = _tensors(folder, manifest)
    spec = spec_from(manifest.get("spec"), tensors)
    own = {name: tensor for name, tensor in tensors.items() if not name.startswith(TRANSFORM_PREFIX)}
    try:
        if manifest["kind"] == "coreset":
            return _coreset(folder, manifest, spec, own)
        return _distilled(folder, manifest, spec, own)
    except (ConfigError, UnknownNameError) as error:
        raise IntegrityError(
            f"reading the set in {folder}",
            received=error.received,
            expected=error.expected,
            remedy="the folder was altered, or written by a newer decoct or with a storage of another package: "
            "take a fresh copy, update decoct, or install that package",
        ) from error


def _tensors(folder: Path, manifest: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of `set.safetensors`, each with the type and the shape that the manifest says."""
    content = read_file(folder, manifest, TENSOR_FILE)
    try:
        tensors = read_safetensors(content)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise _altered(folder, f"{TENSOR_FILE} that is no safetensors file ({error})", "plain tensors") from error
    expected = manifest.get("tensors")
    if not isinstance(expected, dict) or set(expected) != set(tensors):
        names = sorted(expected) if isinstance(expected, dict) else expected
        raise _altered(folder, f"tensors named {sorted(tensors)}", f"those of the manifest, {names}")
    for name, tensor in tensors.items():
        found = {"dtype": DTYPE_NAMES.get(tensor.dtype, str(tensor.dtype)), "shape": list(tensor.shape)}
        if found != expected[name]:
            raise _altered(folder, f"tensor {name!r}: {_show(found)}", _show(expected[name]))
    return tensors


def _coreset(folder: Path, manifest: dict[str, Any], spec: Any, own: dict[str, Tensor]) -> Coreset:
    _require_names(folder, own, {"raw", "classes", "weights"})
    table = _selection(folder, manifest, rows=len(own["raw"]))
    agree = np.array_equal(table["class"], own["classes"].numpy())
    if not agree or not np.array_equal(table["weight"], own["weights"].numpy()):
        raise _altered(folder, f"other classes or weights in {SELECTION_FILE}", f"those of {TENSOR_FILE}")
    if not np.array_equal(table["rank"], np.arange(len(own["raw"]))):
        raise _altered(folder, f"ranks in {SELECTION_FILE} out of order", "0, 1, 2, ... in the order picked")
    return Coreset(
        spec=spec,
        raw=own["raw"],
        classes=own["classes"].long(),
        indices=torch.from_numpy(table["index"].copy()),
        ids=table["id"].astype(np.str_),
        weights=own["weights"],
        scores=torch.from_numpy(table["score"].copy()),
        provenance=_object(folder, manifest, "provenance"),
        reasons=table["reason"].astype(np.str_) if "reason" in table else None,
    )


def _selection(folder: Path, manifest: dict[str, Any], rows: int) -> dict[str, np.ndarray]:
    content = read_file(folder, manifest, SELECTION_FILE)
    try:
        file = pq.ParquetFile(io.BytesIO(content))
        found = {field.name: str(field.type) for field in file.schema_arrow}
        # Sets of before there were reasons have none.
        known = (SELECTION_COLUMNS, {name: SELECTION_COLUMNS[name] for name in SELECTION_COLUMNS if name != "reason"})
        if found not in known or file.metadata.num_rows != rows:
            received = f"{SELECTION_FILE} of {file.metadata.num_rows} rows with columns {found}"
            raise _altered(folder, received, f"{rows} rows with columns {SELECTION_COLUMNS}")
        table = file.read()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _altered(folder, f"{SELECTION_FILE} that is no parquet file ({error})", "the selection") from error
    if any(column.null_count for column in table.columns):
        raise _altered(folder, f"empty cells in {SELECTION_FILE}", "a value in every cell")
    return {name: table[name].to_numpy() for name in found}


def _distilled(folder: Path, manifest: dict[str, Any], spec: Any, own: dict[str, Tensor]) -> DistilledSet:
    storage, label_kind = manifest.get("storage"), manifest.get("label_kind")
    if "classes" not in own:
        raise _altered(folder, "no tensor 'classes'", "labels and classes")
    if not isinstance(storage, str) or label_kind not in ("hard", "probabilities", "scores"):
        received = f"storage {storage!r}, label_kind {label_kind!r}"
        raise _altered(folder, received, "the name of a storage, and 'hard', 'probabilities' or 'scores'")
    if own["classes"].is_floating_point() or own["classes"].ndim != 1:
        raise _altered(folder, "classes that are no list of whole numbers", "one class number a row")
    labels, top_k = decode(own, spec.classes)
    return DistilledSet(
        spec=spec,
        storage=storage,
        config=_object(folder, manifest, "config"),
        tensors={name: tensor for name, tensor in own.items() if name not in RESERVED_TENSORS},
        labels=labels,
        label_kind=label_kind,
        classes=own["classes"].long(),
        learned=_object(folder, manifest, "learned"),
        provenance=_object(folder, manifest, "provenance"),
        top_k=top_k,
    )


def _require_names(folder: Path, own: dict[str, Tensor], names: set[str]) -> None:
    plain = set(own) == names and own["classes"].ndim == own["weights"].ndim == 1
    if not plain or own["weights"].dtype != torch.float32 or own["classes"].is_floating_point():
        listed = ", ".join(f"{name} {_show_tensor(tensor)}" for name, tensor in sorted(own.items()))
        raise _altered(folder, listed, "raw [k, ...], classes [k] of whole numbers, weights [k] in F32")


def _object(folder: Path, manifest: dict[str, Any], name: str) -> dict[str, Any]:
    value = manifest.get(name)
    if not isinstance(value, dict):
        raise _altered(folder, f"{name} {value!r}", f"{name} as a JSON object")
    return value


def _show_tensor(tensor: Tensor) -> str:
    return f"{DTYPE_NAMES.get(tensor.dtype, str(tensor.dtype))} {list(tensor.shape)}"


def _show(entry: Any) -> str:
    return f"{entry.get('dtype')} {entry.get('shape')}" if isinstance(entry, dict) else repr(entry)


def _altered(folder: Path, received: str, expected: str) -> IntegrityError:
    return IntegrityError(
        f"reading the set in {folder}",
        received=received,
        expected=expected,
        remedy="the folder was altered or written by another program: take a fresh copy, or make the set again",
    )
