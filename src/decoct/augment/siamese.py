"""Differentiable siamese augmentation: one random picture change, shared by real and synthetic images."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int64, Integer
from torch import Tensor

from decoct.augment import families
from decoct.errors import ConfigError

FAMILIES = ("color", "crop", "cutout", "flip", "scale", "rotate")
IDENTITY = -1
DSA = "color_crop_cutout_flip_scale_rotate"


@dataclass(frozen=True, eq=False)
class Parameters:
    """What is done to images, drawn once and replayable: k = 1 row for all images, or one row an image.

    All tensors live on the CPU, so that the same draw works on every device; `family` is an index into `FAMILIES`,
    or `IDENTITY`. Only the tensors of a row's own family matter for it.
    """

    family: Int64[Tensor, " k"]
    flipped: Bool[Tensor, " k"]
    scale: Float[Tensor, "k 2"]
    radians: Float[Tensor, " k"]
    shift: Int64[Tensor, "k 2"]
    centre: Int64[Tensor, "k 2"]
    brightness: Float[Tensor, " k"]
    saturation: Float[Tensor, " k"]
    contrast: Float[Tensor, " k"]
    shape: tuple[int, ...]
    """The shape of one image; pixels in `shift` and `centre` belong to it."""
    box: tuple[int, int]
    """Height and width of the cutout box."""

    def __len__(self) -> int:
        return len(self.family)

    def take(self, rows: Integer[Tensor, " m"]) -> Parameters:
        """The parameters of these rows, in this order."""
        rows = rows.cpu()
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: value[rows] for name, value in values.items() if isinstance(value, Tensor)})


def expand(parameters: Parameters, group_index: Integer[Tensor, " n"]) -> Parameters:
    """Give image i the parameter set of its group: `parameters` holds one set a group, `group_index[i]` is the group.

    With one set for everything, that set is returned. Draw the sets with `Siamese(per_sample=True).draw(groups, ...)`
    to share one transform inside each class, between its real and its synthetic images.
    """
    return parameters if len(parameters) == 1 else parameters.take(group_index)


@dataclass(frozen=True)
class Siamese:
    """Differentiable siamese augmentation (DSA): one of several families of picture changes, chosen uniformly.

    Zhao & Bilen, "Dataset Condensation with Differentiable Siamese Augmentation" (2021,
    https://arxiv.org/abs/2102.08259); authors' code: https://github.com/VICO-UoE/DatasetCondensation.

    Three modes: one family and one set of parameters for all images of a batch (the default, DSA's siamese mode);
    `per_sample=True`, each image its own; `per_sample=True, one_family=True`, each image its own parameters in one
    family drawn for the batch (how the field trains networks at evaluation).

    Images `[n, c, h, w]` in, images of the same shape out; gradients flow to the images. Cost O(n c h w); only the
    chosen families are computed, each on its own rows.

    Differences from the official code: randomness comes from an explicit generator; no loop over images;
    `align_corners=False`, zeros outside; rotation keeps angles on images that are not square.
    """

    strategy: str = DSA
    """Families joined by underscores; leave out flip for digits. "" or "none" changes nothing."""
    per_sample: bool = False
    """Draw parameters for each image instead of once for the batch."""
    one_family: bool = False
    """With per_sample: one family for the whole batch."""
    flip: float = 0.5
    """Probability of mirroring left and right."""
    scale: float = 1.2
    """Largest scale; each axis is drawn between its inverse and it."""
    rotate: float = 15.0
    """Largest angle in degrees, to either side."""
    crop: float = 0.125
    """Largest shift, as a part of each side."""
    cutout: float = 0.5
    """Sides of the box set to zero, as a part of each side of the image."""
    brightness: float = 1.0
    """Width of the range about zero from which the added brightness is drawn."""
    saturation: float = 2.0
    """Saturation is multiplied by a factor between zero and this."""
    contrast: float = 0.5
    """Contrast is multiplied by a factor between this and one more."""

    def __post_init__(self) -> None:
        for family in self.families:
            if family not in FAMILIES:
                near = difflib.get_close_matches(family, FAMILIES, n=1, cutoff=0.4)
                raise ConfigError(
                    f"reading the augmentation strategy {self.strategy!r}",
                    received=f"the family {family!r}",
                    expected="families joined by underscores: " + ", ".join(FAMILIES),
                    remedy=f"did you mean {near[0]!r}?" if near else 'use names from the list, or "none"',
                )
        bounds = {"flip": (0, 1), "scale": (1, math.inf), "crop": (0, 1), "cutout": (0, 1)}
        for name in ("flip", "scale", "rotate", "crop", "cutout", "brightness", "saturation", "contrast"):
            low, high = bounds.get(name, (0, math.inf))
            if not low <= getattr(self, name) <= high or math.isinf(getattr(self, name)):
                raise ConfigError(
                    "setting up augmentation",
                    received=f"{name} = {getattr(self, name)}",
                    expected=f"{name} of at least {low}" + ("" if high == math.inf else f" and at most {high}"),
                    remedy=f"choose {name} in that range",
                )

    @property
    def families(self) -> tuple[str, ...]:
        """The families of the strategy in its order; empty for none."""
        return () if self.strategy.lower() in ("", "none") else tuple(self.strategy.split("_"))

    def draw(self, count: int, shape: Sequence[int], generator: torch.Generator) -> Parameters:
        """Parameters for `count` images of `shape` (c, h, w), from a generator on the CPU.

        One row when they are shared, else `count` rows. How much is drawn from `generator` depends on `count` alone,
        never on what came out. Raises `ConfigError` for features, unless the strategy is none.
        """
        height, width = self._sides(tuple(shape))
        rows = count if self.per_sample else 1
        choices = torch.tensor([FAMILIES.index(family) for family in self.families] or [IDENTITY])
        picks = torch.randint(len(choices), (1 if self.one_family else rows,), generator=generator)
        uniform = torch.rand(12, rows, generator=generator, dtype=torch.float64)
        margin = (_part(height, self.crop), _part(width, self.crop))
        box = (_part(height, self.cutout), _part(width, self.cutout))

        def between(row: int, low: float, high: float) -> Tensor:
            return (low + (high - low) * uniform[row]).float()

        def whole(row: int, low: int, high: int) -> Tensor:
            return low + (uniform[row] * (high - low + 1)).long()

        angle = math.radians(self.rotate)
        return Parameters(
            family=choices[picks].expand(rows),
            flipped=uniform[0] < self.flip,
            scale=torch.stack([between(row, 1 / self.scale, self.scale) for row in (1, 2)], 1),
            radians=between(3, -angle, angle),
            shift=torch.stack([whole(4 + axis, -margin[axis], margin[axis]) for axis in (0, 1)], 1),
            # An even box is placed by the gap between two pixels, of which there is one more than pixels.
            centre=torch.stack(
                [whole(6 + axis, 0, side - box[axis] % 2) for axis, side in enumerate((height, width))], 1
            ),
            brightness=between(8, -self.brightness / 2, self.brightness / 2),
            saturation=between(9, 0.0, self.saturation),
            contrast=between(10, self.contrast, self.contrast + 1),
            shape=tuple(shape),
            box=box,
        )

    def apply(self, images: Float[Tensor, "n ..."], parameters: Parameters) -> Float[Tensor, "n ..."]:
        """`images` changed as `parameters` say; differentiable, same shape.

        The same parameters may be applied to batches of different sizes when they have one row. Raises `ConfigError`
        where rows or image shapes do not fit.
        """
        if tuple(images.shape[1:]) != parameters.shape or len(parameters) not in (1, len(images)):
            raise ConfigError(
                "applying augmentation",
                received=f"{len(images)} images of shape {tuple(images.shape[1:])}",
                expected=f"{'any number of' if len(parameters) == 1 else len(parameters)} images of shape "
                f"{parameters.shape}, for which the parameters were drawn",
                remedy="draw parameters for these images, share one row (per_sample=False), or use expand()",
            )
        if len(images) == 0:
            return images
        chosen = parameters.family.unique().tolist()
        if len(chosen) == 1:
            return _change(images, chosen[0], parameters)
        pieces, order = [], []
        for family in chosen:
            rows = (parameters.family == family).nonzero()[:, 0]
            pieces.append(_change(images[rows.to(images.device)], family, parameters.take(rows)))
            order.append(rows)
        return torch.cat(pieces)[torch.cat(order).argsort().to(images.device)]

    def __call__(self, images: Float[Tensor, "n ..."], generator: torch.Generator) -> Float[Tensor, "n ..."]:
        """Draw parameters for `images` and apply them."""
        return self.apply(images, self.draw(len(images), images.shape[1:], generator))

    def _sides(self, shape: tuple[int, ...]) -> tuple[int, int]:
        if len(shape) == 3:
            return shape[1], shape[2]
        if not self.families:
            return 1, 1
        raise ConfigError(
            f"augmenting with the strategy {self.strategy!r}",
            received=f"inputs of shape {shape}, a table of features",
            expected="images of shape (channels, height, width)",
            remedy='use the strategy "none" for features',
        )


def _part(side: int, share: float) -> int:
    """`share` of `side` in whole pixels, halves rounded up."""
    return int(side * share + 0.5)


_CHANGES: dict[str, Callable[[Tensor, Parameters], Tensor]] = {
    "color": lambda images, p: families.colour(images, p.brightness, p.saturation, p.contrast),
    "crop": lambda images, p: families.crop(images, p.shift),
    "cutout": lambda images, p: families.cutout(images, p.centre, p.box),
    "flip": lambda images, p: families.flip(images, p.flipped),
    "scale": lambda images, p: families.scale(images, p.scale),
    "rotate": lambda images, p: families.rotate(images, p.radians),
}


def _change(images: Tensor, family: int, parameters: Parameters) -> Tensor:
    return images if family == IDENTITY else _CHANGES[FAMILIES[family]](images, parameters)
