"""Images with labelled boxes: `DetectionSet`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from decoct.data.detection.subset import subset_document

ImageId = int | str


@dataclass(frozen=True, eq=False)
class DetectionSet:
    """`n` images with `m` boxes of `C` classes, as a source gave them.

    Boxes stand image by image, in the order of the images. Boxes that nothing can be learned from (without area, of an
    unknown category) are not among them, but stay in `document`.
    """

    source: str
    """What was opened, such as "coco:train.json"."""
    class_names: tuple[str, ...]
    """Names in the order of the source's categories; a label is a place in this list."""
    ids: tuple[ImageId, ...]
    """The source's own id of every image, no two alike."""
    images: tuple[Path, ...]
    """The file of every image."""
    sizes: Int64[Tensor, "n 2"]
    """Height and width of every image in pixels."""
    boxes: Float[Tensor, "m 4"]
    """Left, top, right, bottom in pixels of the image; 0 is the outer edge of the first pixel. Never outside."""
    labels: Int64[Tensor, " m"]
    """The class of every box, in 0..C-1."""
    owners: Int64[Tensor, " m"]
    """The image of every box, in 0..n-1, ascending."""
    ignored: Bool[Tensor, " m"]
    """Boxes around crowds and those marked difficult: neither learned from nor counted for or against a detector."""
    crowded: Bool[Tensor, " m"]
    """Boxes around crowds, which are all ignored."""
    document: dict[str, Any]
    """The COCO json with everything that the source said, whether decoct knows it or not."""
    notices: tuple[str, ...] = ()
    """What was decided or passed over while the source was opened."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def classes(self) -> int:
        """C, how many classes there are, with or without boxes."""
        return len(self.class_names)

    def presence(self) -> Bool[Tensor, "n classes"]:
        """Which image shows which class, ignored boxes aside."""
        found = torch.zeros(len(self), self.classes, dtype=torch.bool)
        found[self.owners[~self.ignored], self.labels[~self.ignored]] = True
        return found

    def take(self, rows: Sequence[int] | Int64[Tensor, " k"]) -> DetectionSet:
        """The images of these rows in this order, each at most once, with all that the source says of them."""
        order = torch.as_tensor(rows, dtype=torch.int64)
        place = torch.full((len(self),), -1)
        place[order] = torch.arange(len(order))
        kept = (place[self.owners] >= 0).nonzero()[:, 0]
        # Stable, so that the boxes of an image keep their order.
        kept = kept[place[self.owners[kept]].argsort(stable=True)]
        numbers = order.tolist()
        return replace(
            self,
            ids=tuple(self.ids[row] for row in numbers),
            images=tuple(self.images[row] for row in numbers),
            sizes=self.sizes[order],
            boxes=self.boxes[kept],
            labels=self.labels[kept],
            owners=place[self.owners[kept]],
            ignored=self.ignored[kept],
            crowded=self.crowded[kept],
            document=subset_document(self.document, [self.ids[row] for row in numbers]),
        )
