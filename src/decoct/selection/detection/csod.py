"""CSOD: images whose objects are typical of their class and unlike those picked before, class after class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from decoct.cards import MethodCard
from decoct.data.detection.detection_set import DetectionSet
from decoct.errors import BudgetError, ConfigError, DataError

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
    """Mean features of the boxes of each class in each image: `n` images, `C` classes, `d` numbers."""

    vectors: Float[Tensor, "n C d"]
    """Zero where the image does not show the class."""
    present: Bool[Tensor, "n C"]


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
    place = data.owners[used] * data.classes + data.labels[used]
    cells = len(data) * data.classes
    sums = torch.zeros(cells, features.shape[1]).index_add_(0, place, features[used])
    counts = torch.bincount(place, minlength=cells)
    means = sums / counts.clamp_min(1)[:, None]
    return Prototypes(means.reshape(len(data), data.classes, -1), (counts > 0).reshape(len(data), data.classes))


@dataclass(frozen=True)
class Csod:
    """Greedy, the classes taking turns. In the turn of class c, of the images V_c that show it, add to S

        argmax over i in V_c without S of  w sum_{j in V_c} cos(pi_ic, pi_jc) - sum_{s in S_c} cos(pi_ic, pi_sc)

    where pi_ic is the mean feature of the boxes of class c in image i, and S_c the images of S that show c, whichever
    class they were picked for. A class without images left loses its turn; classes go from the one that fewest images
    show to the one that most do. Images without boxes come last, in random order.

    Paper: Lee et al., "Coreset Selection for Object Detection" (2024), https://arxiv.org/abs/2404.09161; no code of
    the authors was found. Shapes: prototypes `[n, C, d]`, presence `[n, C]`.
    The score of a pick is the figure above. A prefix is what is picked for fewer images.
    Cost: O(n d) for a pick, O(n C d) time and memory before.
    Differs from the paper, which takes features of a Faster R-CNN, in the order of the classes and perhaps in w:
    what it prints could not be checked. Features as far as they are positive have cosines near 1, which hides what
    tells objects apart; `centred` takes the mean of the class away first.
    """

    weight: float = 0.05
    """w, 0 or more: what being like all others of the class is worth beside being unlike the picks."""
    centred: bool = False
    """Compare prototypes after taking away the mean of their class (not in the paper)."""

    def __post_init__(self) -> None:
        if not self.weight >= 0:
            raise ConfigError(
                "picking images by CSOD",
                received=f"weight={self.weight}",
                expected="a number of 0 or more",
                remedy="keep the default",
            )

    def pick(self, found: Prototypes, count: int, generator: torch.Generator) -> ImagePicks:
        """Pick `count` of the images; raises `BudgetError` unless 1 <= count <= n, `DataError` without any box."""
        n = len(found.present)
        if not 1 <= count <= n:
            raise BudgetError(
                "picking images by CSOD",
                received=f"a count of {count} from {n} images",
                expected=f"between 1 and {n} images",
                remedy="lower the budget, or give more images",
            )
        if not bool(found.present.any()):
            raise DataError(
                "picking images by CSOD",
                received=f"{n} images without a single box",
                expected="boxes: they are what images are compared by",
                remedy="take the method random, or check the annotations",
            )
        units = self._units(found)
        typical = torch.einsum("ncd,cd->nc", units.double(), units.double().sum(0))
        gain = self.weight * typical
        left = torch.ones(n, dtype=torch.bool)
        turns = found.present.sum(0).argsort(stable=True).tolist()
        rows: list[int] = []
        reasons: list[int] = []
        scores: list[float] = []
        while len(rows) < count and bool((found.present & left[:, None]).any()):
            for label in turns:
                candidates = found.present[:, label] & left
                if len(rows) == count or not bool(candidates.any()):
                    continue
                row = int(gain[:, label].masked_fill(~candidates, -torch.inf).argmax())
                rows.append(row)
                reasons.append(label)
                scores.append(float(gain[row, label]))
                left[row] = False
                # Prototypes of classes that the image does not show are zero, and change nothing.
                gain -= torch.einsum("ncd,cd->nc", units, units[row]).double()
        rest = left.nonzero()[:, 0]
        rest = rest[torch.randperm(len(rest), generator=generator)][: count - len(rows)].tolist()
        return ImagePicks(
            torch.tensor(rows + rest),
            torch.tensor(reasons + [NO_BOXES] * len(rest)),
            torch.tensor(scores + [0.0] * len(rest)),
        )

    def _units(self, found: Prototypes) -> Float[Tensor, "n C d"]:
        """Prototypes of length 1, zero where there is none."""
        vectors = found.vectors
        if self.centred:
            counts = found.present.sum(0).clamp_min(1)
            vectors = (vectors - vectors.sum(0) / counts[:, None]) * found.present[:, :, None]
        return F.normalize(vectors, dim=2)
