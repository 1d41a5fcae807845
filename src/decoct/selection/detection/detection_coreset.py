"""The result of picking images with boxes, and how it is written: a COCO json that any tool reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from decoct.compact.folder import content_writer, is_finished, read_file, read_manifest, require_free, write_run
from decoct.compact.stored import readable
from decoct.data.detection.detection_set import DetectionSet
from decoct.data.detection.subset import document_bytes
from decoct.errors import IntegrityError
from decoct.files import require_folder
from decoct.selection.detection.csod import NO_BOXES
from decoct.selection.repeated import answer_to

KIND = "detection-coreset"
SUBSET_FILE = "subset.json"
SELECTION_FILE = "selection.parquet"


@dataclass(frozen=True, eq=False)
class DetectionCoreset:
    """Images of a detection set in the order picked; the first m are the coreset of m images."""

    data: DetectionSet
    """The whole set that was picked from."""
    rows: Int64[Tensor, " k"]
    """Images in the order picked."""
    reasons: Int64[Tensor, " k"]
    """The class for which each was picked, -1 for none."""
    scores: Float[Tensor, " k"]
    """The method's own figure for each pick."""
    because: tuple[str, ...]
    """Why each was picked, in words."""
    provenance: dict[str, Any]

    def __len__(self) -> int:
        return len(self.rows)

    def subset(self, count: int | None = None) -> DetectionSet:
        """The images picked (the first `count` of them) with their boxes."""
        return self.data.take(self.rows[:count])

    def picked_for(self, pick: int) -> str:
        """The name of the class for which the image was picked, "" for none."""
        number = int(self.reasons[pick])
        return self.data.class_names[number] if number >= 0 else ""

    def box_counts(self) -> dict[str, int]:
        """Boxes of each class in the images picked, in the order of the classes."""
        small = self.subset()
        return {name: int((small.labels == c).sum()) for c, name in enumerate(small.class_names)}

    def save(self, folder: str | Path) -> Path:
        """Write `subset.json`, `selection.parquet` and, last, `manifest.json`; returns the path of the manifest.

        `subset.json` is the source's json with these images alone, in the order picked: its file names start at the
        same folder of pictures as the source's, and no picture is copied. `selection.parquet` has a row for each
        image: rank, index (its place in the source), id, file_name, class (for which it was picked), score and reason.
        Raises `OutputError`; the folder then is as it was.
        """
        small = self.subset()
        content = document_bytes(small.document)
        files = {SUBSET_FILE: content, SELECTION_FILE: self._table(small)}
        manifest = {
            "kind": KIND,
            "decoct": version("decoct"),
            "content": hashlib.sha256(content).hexdigest(),
            "images": len(self),
            "of": len(self.data),
            "boxes": self.box_counts(),
            "source": self.data.source,
            **source_facts(self.data),
            "notices": list(self.data.notices),
            # Notes of a user's own objects in the configuration are kept as texts.
            "provenance": json.loads(json.dumps(self.provenance, default=str)),
        }
        return write_run(Path(folder), {name: content_writer(value) for name, value in files.items()}, manifest)

    def _table(self, small: DetectionSet) -> bytes:
        texts = {
            "id": map(str, small.ids),
            "file_name": (entry["file_name"] for entry in small.document["images"]),
            "class": (self.picked_for(pick) for pick in range(len(self))),
            "reason": self.because,
        }
        columns = {name: pa.array(map(readable, values), pa.string()) for name, values in texts.items()}
        table = pa.table(
            {
                "rank": pa.array(range(len(self)), pa.int64()),
                "index": pa.array(self.rows.tolist(), pa.int64()),
                **{name: columns[name] for name in ("id", "file_name", "class")},
                "score": pa.array(self.scores.tolist(), pa.float32()),
                "reason": columns["reason"],
            }
        )
        buffer = BytesIO()
        pq.write_table(table, buffer)
        return buffer.getvalue()


def source_facts(data: DetectionSet) -> dict[str, str]:
    """What a manifest says of the json that was picked from."""
    return {"source_sha256": hashlib.sha256(document_bytes(data.document)).hexdigest()}


def standing_images(folder: Path, asked: Mapping[str, Any], data: DetectionSet) -> DetectionCoreset | None:
    """The images in `folder` that answer this very question, as `repeated.standing` has it, and raises."""
    manifest = answer_to(folder, KIND, asked, source_facts(data), lambda found: found)
    if manifest is None:
        return None
    try:
        read_manifest(folder, (KIND,))
        told = pq.read_table(BytesIO(read_file(folder, manifest, SELECTION_FILE))).to_pydict()
    except IntegrityError:
        return None
    numbers = {"": NO_BOXES, **{readable(name): number for number, name in enumerate(data.class_names)}}
    return DetectionCoreset(
        data,
        torch.tensor(told["index"], dtype=torch.int64),
        torch.tensor([numbers[name] for name in told["class"]], dtype=torch.int64),
        torch.tensor(told["score"], dtype=torch.float32),
        tuple(told["reason"]),
        manifest["provenance"],
    )


def require_place(folder: Path) -> None:
    """Raise `OutputError` where something stands in the way of a result; to be asked before long work."""
    require_folder(folder)
    if not is_finished(folder):
        require_free(folder, (SUBSET_FILE, SELECTION_FILE))
