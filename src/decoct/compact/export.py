"""A set in formats that other programs read: an image folder, parquet, npz; or the files it was made from."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from decoct.compact.compact_set import CompactSet
from decoct.compact.datacomp import write_datacomp
from decoct.compact.folder import content_writer
from decoct.compact.folder_names import folder_names
from decoct.compact.hub import write_hub
from decoct.compact.new_folder import write_new_folder
from decoct.compact.originals import write_originals
from decoct.compact.preview import png_bytes
from decoct.compact.stored import readable
from decoct.compact.table import arrow_table
from decoct.errors import ConfigError
from decoct.files import write_atomically
from decoct.registry import unknown_name


def export(compact_set: CompactSet, to: str, path: Path | str, *, source: Path | str | None = None) -> Path:
    """Write `compact_set` as `to`, one of `FORMATS`; `path`, returned, appears whole or not at all.

    - `imagefolder`: a folder of PNG for each class, `class_names.json`, and `metadata.jsonl` with label, weight and
      soft label of every file. The folder must be new or empty.
    - `parquet`: one file that `datasets.load_dataset("parquet", ...)` reads with images and class names.
    - `npz`: network inputs in float32, targets, weights, classes, class names and the normalisation; no pickle. Beside
      them `x` and `y`, rows on the raw scale and their classes, so that `decoct.open("npz:...")` reads the file.
    - `hub`: a folder that `datasets.load_dataset(folder)` reads, with a card, ready for the hub; see `push_to_hub`.
    - `datacomp`: of a coreset, the sorted 128-bit uids of its rows, `.npy`, as DataComp's resharder reads them.
    - `originals`: of a coreset of an image folder, the files themselves in class folders, and `selection.csv`; `source`
      is that folder where it has moved. See `write_originals`.

    PNG has 8 bits a value on the raw scale: it rounds and clips made pixels, so a network trained on an exported
    folder or parquet file sees slightly other images than one trained on `materialize()`; npz is exact.
    Raises `UnknownNameError` for another format, `ConfigError` for features as an image folder, made rows as uids or
    originals and a `source` for another format, `OutputError` where the path cannot be written; originals also
    `SourceError` and `MismatchError`.
    """
    path = Path(path)
    if to not in FORMATS:
        raise unknown_name("export format", to, list(FORMATS))
    if source is None:
        FORMATS[to](compact_set, path)
    elif to == "originals":
        write_originals(compact_set, path, source)
    else:
        raise ConfigError(
            f"exporting a set to {path}",
            received=f"the source {source} for {to!r}, which is written from the set alone",
            expected="a source with 'originals' only",
            remedy="leave the source out, or export to originals",
        )
    return path


def _imagefolder(small: CompactSet, path: Path) -> None:
    if not small.spec.is_image:
        raise ConfigError(
            "exporting a set to an image folder",
            received=f"rows of shape {small.spec.shape}",
            expected="images of shape (c, h, w)",
            remedy="export features to parquet or npz",
        )
    write_new_folder(path, lambda folder: _fill(small, folder))


def _fill(small: CompactSet, folder: Path) -> None:
    """Write pictures, names and metadata below `folder`."""
    names, folders = small.spec.class_names, folder_names(small.spec.class_names)
    for name in folders:
        (folder / name).mkdir()
    _, targets, weights = small.materialize()
    digits = len(str(len(small) - 1))
    lines = []
    for row, picture in enumerate(small.pictures()):
        label = int(small.classes[row])
        file = f"{folders[label]}/{row:0{digits}d}.png"
        (folder / file).write_bytes(png_bytes(picture))
        line = {"file_name": file, "label": label, "class_name": names[label], "weight": float(weights[row])}
        lines.append(line if small.label_kind == "hard" else {**line, "soft_label": targets[row].tolist()})
    head = {"class_names": list(names), "folders": folders, "label_kind": small.label_kind}
    (folder / "class_names.json").write_text(json.dumps(head, indent=1) + "\n", encoding="utf-8")
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metadata.jsonl").write_text(text, encoding="utf-8")
    (folder / "labels.csv").write_text(_csv(lines), encoding="utf-8", newline="")


def _csv(lines: list[dict]) -> str:
    """File, label, class name and weight; text after text, for spreadsheets and old tools."""
    buffer = io.StringIO()
    table = csv.writer(buffer)
    table.writerow(("file_name", "label", "class_name", "weight"))
    for line in lines:
        table.writerow((line["file_name"], line["label"], readable(line["class_name"]), line["weight"]))
    return buffer.getvalue()


def _parquet(small: CompactSet, path: Path) -> None:
    buffer = io.BytesIO()
    pq.write_table(arrow_table(small), buffer)
    write_atomically(path, content_writer(buffer.getvalue()))


def _npz(small: CompactSet, path: Path) -> None:
    inputs, targets, weights = small.materialize()
    transform = {name: tensor.numpy() for name, tensor in small.spec.transform.tensors().items()}
    arrays = {
        "x": _raw_rows(small),
        "y": small.classes.numpy(),
        "inputs": inputs.numpy(),
        "targets": targets.numpy(),
        "weights": weights.numpy(),
        "classes": small.classes.numpy(),
        "class_names": np.array(small.spec.class_names, dtype=np.str_),
        "label_kind": np.array(small.label_kind),
        "transform": np.array(small.spec.transform.kind),
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **{**transform, **arrays})
    write_atomically(path, content_writer(buffer.getvalue()))


def _raw_rows(small: CompactSet) -> np.ndarray:
    """Rows as a source has them: pictures uint8 `[m, h, w, c]` (`[m, h, w]` gray), features float32 `[m, d]`."""
    if not small.spec.is_image:
        return small.spec.transform.inverse(small.materialize()[0]).numpy()
    return np.stack([np.asarray(picture) for picture in small.pictures()])


FORMATS: dict[str, Callable[[CompactSet, Path], None]] = {
    "imagefolder": _imagefolder,
    "parquet": _parquet,
    "npz": _npz,
    "hub": write_hub,
    "datacomp": write_datacomp,
    "originals": write_originals,
}
"""What `export` can write."""
