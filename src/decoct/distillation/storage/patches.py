"""`patches`: grids of the crops of real images that an expert is surest of (RDED)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from decoct.data.sample_weights import random_order
from decoct.distillation.axes import Tensors
from decoct.distillation.labels.teacher import expert_of
from decoct.distillation.problem import Problem
from decoct.distillation.storage.multiformation import Multiformation
from decoct.errors import ConfigError
from decoct.networks.identity import foreign_identities
from decoct.settings import require_at_least
from decoct.streams import Streams
from decoct.training.accuracy import predict
from decoct.training.expert import Expert

IMAGES_AT_ONCE = 64
"""Images whose crops are scored together."""


@dataclass(frozen=True)
class Patches(Multiformation):
    """Cells start as the `ipc factor^2` crops `x` of each class `y` with the least `-log softmax(f(x))_y`.

    Paper: "On the Diversity and Realism of Distilled Dataset: An Efficient Dataset Distillation Paradigm" (RDED), Sun,
    Shi, Yu, Lin, CVPR 2024, https://arxiv.org/abs/2312.03526; code of the authors: https://github.com/LINs-lab/RDED.

    For every class, `crops` random crops of each of `images` random training images are scored by an expert `f`
    trained on the real data, its pass chosen by validation accuracy; the best crop of every image stays, and of
    those the best fill the cells, the best first. Where images run short, their second best crops follow. Stored and
    decoded as `multiformation`: `t["pixels"]` `[C ipc, c, h, w]`, decoded `[C ipc factor^2, c, h, w]`. Cost: the
    expert, and `C images crops` forward passes.

    Differs from the paper: every cell is a training row with its own label, enlarged; there the student sees the grid
    as one image, with the expert beside it during training. A crop is therefore scored as the student will see it,
    enlarged from the size of its cell, and not small in the middle of zeros; and crops keep the shape of the image.
    From the official code: classes are read one by one, so that a class with fewer images than `images` lends none of
    another; the names and the order of the classes are part of the set and of what an expert is kept under; the
    expert's running statistics stay as they were trained; rows are normalised by the data's own transform.
    """

    factor: int = 2
    """Cells along each side of a stored image; 1 keeps whole crops."""
    images: int = 300
    """Training images of each class that are looked at; smaller classes give all they have."""
    crops: int = 5
    """Random crops of each of them."""
    smallest: float = 0.08
    """Least share of an image's area in a crop, above 0 and at most 1; shares are drawn evenly from there to 1."""
    epochs: int = 5
    """Passes over the real training split to train the expert; teacher labels of as many passes share it."""
    network: str | None = None
    """The expert's architecture; that of the distillation by default."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, "the storage 'patches'", epochs=1)

    def network_identities(self, problem: Problem) -> dict[str, str]:
        return foreign_identities([self.network or problem.network], problem.shape, problem.class_count)

    def init(self, problem: Problem, streams: Streams) -> Tensors:
        self._require(problem)
        expert = expert_of(problem, self.network or problem.network, self.epochs, streams)
        generator = streams("patches")
        cells = problem.ipc * self.factor**2
        stored = torch.zeros(problem.class_count * problem.ipc, *self.stored_shape(problem))
        for label, members in enumerate(problem.data.train.class_rows(problem.class_count)):
            order = random_order(len(members), problem.data.train.weight(members), generator)
            rows = torch.from_numpy(members)[order[: self.images]]
            boxes = draw_boxes(len(rows), self.crops, problem.shape, self.smallest, generator)
            losses = self._losses(expert, problem, rows, boxes, label)
            for place, (image, crop) in enumerate(surest(losses, cells).tolist()):
                whole = problem.data.inputs(problem.data.train, rows[image : image + 1])
                cell = self._cell(stored, label * cells + place)
                cell.copy_(cut(whole, boxes[image, crop], cell.shape[1:])[0])
        return self.started(stored, problem)

    def _require(self, problem: Problem) -> None:
        fits = problem.spec.is_image and 1 <= self.factor <= min(self.stored_shape(problem)[1:] or (1,)) // 2
        fits = fits and self.shrink >= 0
        if not fits or self.init_from != "real" or min(self.images, self.crops) < 1 or not 0 < self.smallest <= 1:
            raise ConfigError(
                "starting the patches storage",
                received=f"rows of shape {problem.shape} and {self}",
                expected="images whose sides are at least twice the factor, 1 or more images and crops of real rows, "
                "and a smallest share of area in (0, 1]",
                remedy="use the storage 'pixels' for features, or other settings",
            )

    def _losses(
        self, expert: Expert, problem: Problem, rows: Int[Tensor, " n"], boxes: Int[Tensor, "n crops 4"], label: int
    ) -> Float[Tensor, "n crops"]:
        """Cross-entropy of every crop in its class, seen as it will be decoded."""
        height, width = problem.shape[1:]
        small, found = tuple(side // self.factor for side in self.stored_shape(problem)[1:]), []
        for some, theirs in zip(rows.split(IMAGES_AT_ONCE), boxes.split(IMAGES_AT_ONCE), strict=True):
            images = problem.data.inputs(problem.data.train, some)
            pieces = [
                cut(image[None], box, small) for image, own in zip(images, theirs, strict=True) for box in own
            ]  # fmt: skip
            seen = F.interpolate(torch.cat(pieces), size=(height, width), mode="bilinear", align_corners=False)
            logits = predict(expert.module, seen).float()
            found.append(F.cross_entropy(logits, torch.full((len(seen),), label), reduction="none"))
        return torch.cat(found).reshape(len(rows), self.crops)

    def _cell(self, stored: Float[Tensor, "s c h w"], row: int) -> Float[Tensor, "c p q"]:
        """The pixels that decoded row `row` comes from."""
        image, cell = divmod(row, self.factor**2)
        down, across = (
            slice(place * size // self.factor, (place + 1) * size // self.factor)
            for place, size in zip(divmod(cell, self.factor), stored.shape[2:], strict=True)
        )
        return stored[image, :, down, across]


def draw_boxes(
    images: int, crops: int, shape: tuple[int, ...], smallest: float, generator: torch.Generator
) -> Int[Tensor, "images crops 4"]:
    """Random boxes (top, left, height, width) with the proportions of the image and an area from `smallest` to 1."""
    drawn = torch.rand(3, images, crops, generator=generator)
    share = (smallest + (1 - smallest) * drawn[0]).sqrt()
    sides = torch.tensor(shape[1:]).view(2, 1, 1)
    size = (share * sides).round().long().clamp_min(1)
    start = (drawn[1:] * (sides - size + 1)).long()
    return torch.stack([*start, *size], -1)


def cut(image: Float[Tensor, "1 c h w"], box: Int[Tensor, " 4"], size: tuple[int, ...]) -> Float[Tensor, "1 c p q"]:
    """This box of an image, resized without aliasing."""
    top, left, height, width = box.tolist()
    piece = image[:, :, top : top + height, left : left + width]
    return F.interpolate(piece, size=tuple(size), mode="bilinear", align_corners=False, antialias=True)


def surest(losses: Float[Tensor, "n crops"], count: int) -> Int[Tensor, "count 2"]:
    """(image, crop) of the `count` crops to keep: the best of every image by its loss, then the second best, ...

    Where there are not as many, the list starts again.
    """
    n, crops = losses.shape
    ranked = losses.sort(dim=1, stable=True)
    order = ranked.values.T.sort(dim=1, stable=True).indices
    pairs = torch.stack([order, ranked.indices.T.gather(1, order)], -1).reshape(n * crops, 2)
    return pairs.repeat(math.ceil(count / len(pairs)), 1)[:count]
