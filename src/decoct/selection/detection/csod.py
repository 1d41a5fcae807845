"""CSOD: images whose objects are typical of their class and unlike those picked before, class after class."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from decoct.cards import MethodCard
from decoct.data.detection.detection_set import DetectionSet
from decoct.errors import BudgetError, ConfigError, DataError
from decoct.settings import require_choices

CARD = MethodCard(
    name="csod",
    line="images with boxes: objects typical of their class and unlike those picked before, class after class",
    axes="real images · similarity to the class less that among picks · boxes as they are",
    paper="Lee, Kim, Lee, Yoo, Kwak, Coreset Selection for Object Detection, 2024",
    link="https://arxiv.org/abs/2404.09161",
    bibtex="""@inproceedings{lee2024coreset,
  author    = {Lee, Hojun and Kim, Suyoung and Lee, Junhoo and Yoo, Jaeyoung and Kwak, Nojun},
  title     = {Coreset Selection for Object Detection},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition Workshops},
  year      = {2024},
  eprint    = {2404.09161},
  archiveprefix = {arXiv}
}""",
)
NO_BOXES = -1
"""The class of an image that was picked although it shows none."""


@dataclass(frozen=True, eq=False)
class Prototypes:
    """Mean features of the boxes of each class in each image: a row for each of the `p` pairs that occur."""

    vectors: Float[Tensor, "p d"]
    images: Int64[Tensor, " p"]
    """The image of each row."""
    labels: Int64[Tensor, " p"]
    """The class of each row, ascending; the images of a class ascend too."""
    count: int
    """Images n, with boxes or without."""
    classes: int


@dataclass(frozen=True, eq=False)
class ImagePicks:
    """Images in the order picked: a prefix is what would be kept with less room."""

    rows: Int64[Tensor, " k"]
    reasons: Int64[Tensor, " k"]
    """The class whose turn it was; `NO_BOXES` for images without boxes and for methods without classes."""
    scores: Float[Tensor, " k"]
    """The method's own figure for each pick."""


def prototypes(data: DetectionSet, features: Float[Tensor, "m d"]) -> Prototypes:
    """Class-wise means of each image: pi_ic = mean of rho_ij over the boxes j of class c in image i.

    Ignored boxes do not count. `features` are those of `data.boxes`.
    """
    used = ~data.ignored
    pairs, place = torch.unique(data.labels[used] * len(data) + data.owners[used], return_inverse=True)
    sums = torch.zeros(len(pairs), features.shape[1]).index_add_(0, place, features[used])
    means = sums / torch.bincount(place, minlength=len(pairs))[:, None]
    return Prototypes(means, pairs % len(data), pairs // len(data), len(data), data.classes)


@dataclass(frozen=True)
class Csod:
    """Greedy, the classes taking turns. In the turn of class c, of the images V_c that show it, add to S

        argmax over i in V_c without S of  w sum_{j in V_c} cos(pi_ic, pi_jc) - sum_{s in S_c} cos(pi_ic, pi_sc)

    where pi_ic is the mean feature of the boxes of class c in image i, and S_c the images of S that show c, whichever
    class they were picked for. A class without images left loses its turn; classes go from the one that fewest images
    show to the one that most do. Images without boxes come last, in random order.

    Paper: Lee et al., "Coreset Selection for Object Detection" (2024), https://arxiv.org/abs/2404.09161; no code of
    the authors was found. Shapes: prototypes `[p, d]`, with p the pairs of an image and a class that it shows.
    The score of a pick is the figure above. A prefix is what is picked for fewer images.
    Cost: O(|V_c| d) time for each class c that a pick shows, O(p d) memory: no table of similarities is made.
    Differs from the paper, which takes features of a Faster R-CNN, in the order of the classes and perhaps in w:
    what it prints could not be checked. Features as far as they are positive have cosines near 1, which hides what
    tells objects apart; `centred` takes the mean of the class away first.
    """

    weight: float = 0.05
    """w, 0 or more: what being like all others of the class is worth beside being unlike the picks."""
    centred: bool = False
    """Compare prototypes after taking away the mean of their class (not in the paper)."""

    def __post_init__(self) -> None:
        require_choices(self)
        if not 0 <= self.weight < math.inf:
            raise ConfigError(
                "picking images by CSOD",
                received=f"weight={self.weight}",
                expected="a number of 0 or more",
                remedy="keep the default",
            )

    def operations(self, n: int, k: int, d: int) -> float:
        """Floating-point operations of k picks, each compared with the n prototypes of its classes, roughly."""
        return 2.0 * n * k * d

    def pick(self, found: Prototypes, count: int, generator: torch.Generator) -> ImagePicks:
        """Pick `count` of the images; raises `BudgetError` unless 1 <= count <= n, `DataError` without any box."""
        n = found.count
        if not 1 <= count <= n:
            raise BudgetError(
                "picking images by CSOD",
                received=f"a count of {count} from {n} images",
                expected=f"between 1 and {n} images",
                remedy="lower the budget, or give more images",
            )
        if not len(found.images):
            raise DataError(
                "picking images by CSOD",
                received=f"{n} images without a single box that counts",
                expected="boxes that are neither crowds nor difficult: they are what images are compared by",
                remedy="take the method random, or check the annotations",
            )
        walk = _Walk(found, self._units(found), self.weight)
        # As the sort is stable, classes shown by as many images keep their order.
        turns = sorted(range(found.classes), key=lambda label: walk.sizes[label])
        picked: list[tuple[int, int, float]] = []
        while len(picked) < count:
            before = len(picked)
            for label in turns:
                new = walk.take(label) if len(picked) < count else None
                picked += [new] if new else []
            if len(picked) == before:
                break
        rest = walk.left.nonzero()[:, 0]
        rest = rest[torch.randperm(len(rest), generator=generator)][: count - len(picked)].tolist()
        rows, reasons, scores = zip(*picked, *((row, NO_BOXES, 0.0) for row in rest), strict=True)
        return ImagePicks(torch.tensor(rows), torch.tensor(reasons), torch.tensor(scores))

    def _units(self, found: Prototypes) -> Float[Tensor, "p d"]:
        """Prototypes of length 1."""
        vectors = found.vectors
        if self.centred:
            sums = torch.zeros(found.classes, vectors.shape[1]).index_add_(0, found.labels, vectors)
            means = sums / torch.bincount(found.labels, minlength=found.classes).clamp_min(1)[:, None]
            vectors = vectors - means[found.labels]
        return F.normalize(vectors, dim=1)


class _Walk:
    """The gains of all pairs while images are picked."""

    def __init__(self, found: Prototypes, units: Float[Tensor, "p d"], weight: float) -> None:
        self.images, self.labels, self.units = found.images, found.labels.tolist(), units
        self.sizes = torch.bincount(found.labels, minlength=found.classes).tolist()
        ends = torch.tensor(self.sizes).cumsum(0).tolist()
        self.slices = [slice(end - size, end) for end, size in zip(ends, self.sizes, strict=True)]
        self.left = torch.ones(found.count, dtype=torch.bool)
        """Images that are not picked."""
        parts = [units[own].double() for own in self.slices]
        self.gains = torch.cat([weight * (part @ part.sum(0)) for part in parts])
        self.pairs: list[list[int]] = [[] for _ in range(found.count)]
        for pair, image in enumerate(found.images.tolist()):
            self.pairs[image].append(pair)

    def take(self, label: int) -> tuple[int, int, float] | None:
        """Pick the best image of this class: its row, the class and the gain; None where no image is left."""
        own = self.slices[label]
        free = self.left[self.images[own]]
        if not bool(free.any()):
            return None
        best = own.start + int(self.gains[own].masked_fill(~free, -torch.inf).argmax())
        image, gain = int(self.images[best]), float(self.gains[best])
        self.left[image] = False
        for pair in self.pairs[image]:
            same = self.slices[self.labels[pair]]
            self.gains[same] -= (self.units[same] @ self.units[pair]).double()
        return image, label, gain
