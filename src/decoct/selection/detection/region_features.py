"""What boxes and whole images are compared by."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from decoct.data.detection.detection_set import DetectionSet
from decoct.data.detection.pictures import Pictures, load_pictures
from decoct.errors import DataError, MismatchError
from decoct.files import sha256
from decoct.machine import usable_device
from decoct.networks.centre_net import STRIDE
from decoct.networks.regions import pool_regions
from decoct.progress import progress
from decoct.registry import unknown_name
from decoct.selection.features import Table
from decoct.selection.repeated import digest
from decoct.selection.settings import plain
from decoct.streams import derive_seed
from decoct.training.detector import DetectorConfig, train_detector

KINDS = ("auto", "network", "pixels")
CELLS = 7
"""Cells along each side of a region that are averaged, as in the paper."""
SMALL = 8
"""Pixels along each side of a region or image that "pixels" keeps."""
BATCH = 32


@dataclass(frozen=True, eq=False)
class Features:
    """Vectors of all boxes, and of all images as wholes."""

    kind: str
    regions: Float[Tensor, "m d"]
    images: Float[Tensor, "n e"]


def known_kind(kind: str) -> str:
    """The kind that `kind` stands for, "network" or "pixels"; raises `UnknownNameError`."""
    if kind not in KINDS:
        raise unknown_name("kind of features of boxes", kind, list(KINDS))
    return "network" if kind == "auto" else kind


def followed(
    data: DetectionSet, features: str | Table | Features, device: str, config: DetectorConfig
) -> dict[str, Any]:
    """The kind of these features, and what they follow from: the pictures and how a detector is trained, or the numbers
    of the caller's own. It stands in the provenance, so that what was edited since is another question.

    Cost: reading the files of the pictures once. Raises `UnknownNameError`.
    """
    if isinstance(features, Features):
        parts = [digest(table.cpu().numpy()) for table in (features.regions, features.images)]
        return {"features": features.kind, "features_key": "-".join(parts)}
    if not isinstance(features, str):
        return {"features": "array", "features_key": digest(torch.as_tensor(features).detach().cpu().numpy())}
    kind = known_kind(features)
    how = {"detector": asdict(config), "device": usable_device(device)} if kind == "network" else {"size": config.size}
    return {"features": kind, **plain(how), "pictures_key": _pictures_key(data)}


def _pictures_key(data: DetectionSet) -> str:
    """A hash of the files of the pictures, in their order."""
    found = hashlib.sha256()
    with progress(f"looking for changes in {len(data)} images", float(len(data))) as tick:
        for row, path in enumerate(data.images):
            # One that cannot be read is named when it is decoded.
            with suppress(OSError):
                found.update(sha256(path).encode())
            tick(float(row + 1))
    return found.hexdigest()


def detection_features(
    data: DetectionSet,
    kind: str | Table = "auto",
    seed: int = 0,
    device: str = "cpu",
    config: DetectorConfig | None = None,
) -> Features:
    """Features of every box, in the order of `data.boxes`, and of every image.

    - "network": a detector is trained on all images first (`train_detector` with `config`); a region is the mean over
      7x7 cells of its feature map inside the box (RoIAlign, then global average), an image the mean over the map.
      "auto" is this, as published.
    - "pixels": 8x8 pixels of the region, of the image: nothing is trained.
    - a table `[m, d]` of your own, one row for each box; an image is the mean of its boxes, zeros without any.

    Raises `UnknownNameError`, `MismatchError` for a table of another length, `DataError` for one that is not finite
    or for a set without boxes, `SourceError` for unreadable images.
    """
    if not isinstance(kind, str):
        return _own(data, kind)
    kind = known_kind(kind)
    chosen = config or DetectorConfig()
    shown = load_pictures(data, chosen.size)
    if kind == "pixels":
        images = F.adaptive_avg_pool2d(shown.pixels.float() / 255, SMALL)
        return Features(kind, _pooled_pixels(data, shown), images.flatten(1))
    with progress("training a detector for its features", float(chosen.steps)) as tick:
        own = derive_seed(seed, "features")
        detector = train_detector(data, chosen, own, pictures=shown, device=device, tick=tick)
    regions, images = [], []
    with torch.no_grad():
        for start in range(0, len(data), BATCH):
            rows = torch.arange(start, min(start + BATCH, len(data)))
            maps = detector.module.maps(detector.inputs(shown.pixels[rows])).cpu()
            mine = (data.owners >= start) & (data.owners < start + len(rows))
            boxes = data.boxes[mine] * shown.scale[data.owners[mine], None] / STRIDE
            regions.append(pool_regions(maps, boxes, data.owners[mine] - start, CELLS).mean((2, 3)))
            images.append(maps.mean((2, 3)))
    return Features("network", torch.cat(regions), torch.cat(images))


def _pooled_pixels(data: DetectionSet, shown: Pictures) -> Float[Tensor, "m d"]:
    parts = []
    for row in range(len(data)):
        boxes = data.boxes[data.owners == row] * shown.scale[row]
        image = shown.pixels[row : row + 1].float() / 255
        parts.append(pool_regions(image, boxes, torch.zeros(len(boxes), dtype=torch.int64), SMALL).flatten(1))
    return torch.cat(parts)


def _own(data: DetectionSet, table: Table) -> Features:
    called = "selecting images by your own features of boxes"
    if table.ndim != 2 or len(table) != len(data.boxes):
        raise MismatchError(
            called,
            received=f"a table of shape {list(table.shape)}",
            expected=f"one row for each of the {len(data.boxes)} boxes, in the order of data.boxes",
            remedy="compute features for data.boxes as the opened set has them: bad boxes are not among them",
        )
    own = torch.as_tensor(table).detach().cpu().float()
    if not bool(torch.isfinite(own).all()):
        raise DataError(
            called,
            received=f"a table of shape {list(own.shape)} with NaN or infinity in "
            f"{int((~torch.isfinite(own)).any(1).sum())} rows",
            expected="finite numbers",
            remedy="repair these features",
        )
    sums = torch.zeros(len(data), own.shape[1]).index_add_(0, data.owners, own)
    counts = torch.bincount(data.owners, minlength=len(data)).clamp_min(1)
    return Features("array", own, sums / counts[:, None])
