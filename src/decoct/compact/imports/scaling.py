"""On which scale foreign images stand: the question that published files do not answer."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from decoct.data.dataset import DataSpec
from decoct.errors import ConfigError

FIELD: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = MappingProxyType(
    {
        "mnist": ((0.1307,), (0.3081,)),
        "fashion-mnist": ((0.2861,), (0.3530,)),
        "svhn": ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
        "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        "cifar100": ((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
        "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    }
)
"""Means and deviations of the channels in units of 1 that the scripts of the field (DC, DSA, DM, MTT) divide by.

They are not those of the pixels: the deviations of CIFAR-10 are means over images of the deviation within an image.
"""
SCALES = ("unit", "bytes", "data", "zca", *FIELD)
"""unit: [0, 1]; bytes: 0 to 255; data: inputs of these very data; zca: whitened; a name: that mean and deviation."""


def to_inputs(
    images: Shaped[Tensor, "n c h w"], scale: str, spec: DataSpec
) -> tuple[Float[Tensor, "n c h w"], list[str]]:
    """Foreign images as network inputs of `spec`, and sentences about what was assumed.

    `scale` is one of `SCALES`, or "auto": integers are bytes, true and false are 1 and 0 of the scale "unit", anything
    else must be named, since 0.4 may be a gray or a deviation from one. "zca" keeps the values: the matrix of the
    authors is not in their files, so that of these data stands for it, which is near when both were fitted on the same
    images with the same regularisation (0.1).
    Raises `ConfigError` where the scale is unknown, cannot be guessed, or does not fit the data.
    """
    images, chosen = images.detach(), _chosen(images, scale)
    if chosen == "data":
        return images.float(), ["its values are taken for inputs of these data as they are"]
    if chosen == "zca":
        if spec.transform.kind != "zca":
            raise _refuse("whitened images and data that are standardised", "data opened with whitening", "--whiten")
        return images.float(), [
            "its images are whitened by its authors' matrix, which is not in the file; they are judged on test images "
            "whitened by the matrix of these data"
        ]
    unit = images.float()
    if chosen == "bytes":
        unit = unit / 255
    elif chosen != "unit":
        mean, std = (torch.tensor(part).reshape(1, -1, 1, 1) for part in FIELD[chosen])
        if mean.shape[1] not in (1, images.shape[1]):
            received = f"images of {images.shape[1]} channels on the scale {chosen!r} of {mean.shape[1]}"
            raise _refuse(received, "one mean for each channel", "another scale")
        unit = unit * std + mean
    outside = float(((unit < -0.5) | (unit > 1.5)).float().mean())
    told = []
    if outside > 0.05:
        told.append(
            f"{outside:.0%} of its values lie far outside of a picture on the scale {chosen!r}: is it the right one?"
        )
    return spec.transform(unit), told


def _chosen(images: Tensor, scale: str) -> str:
    chosen = scale
    if scale == "auto" and not images.is_floating_point():
        chosen = "unit" if images.dtype == torch.bool else "bytes"
    low, high = (float(end) for end in images.float().aminmax())
    if chosen not in SCALES:
        received = f"values from {low:.3g} to {high:.3g}" + ("" if scale == "auto" else f" and the scale {scale!r}")
        raise _refuse(received, f"the name of their scale: {', '.join(SCALES)}", "--scale, as the authors trained")
    if chosen == "bytes" and (low < 0 or high > 255):
        received = f"values from {low:.3g} to {high:.3g} on the scale 'bytes'"
        raise _refuse(received, "values from 0 to 255", "another scale")
    return chosen


def _refuse(received: str, expected: str, remedy: str) -> ConfigError:
    return ConfigError(
        "importing images", received=received, expected=expected, remedy=f"give {remedy}; the authors' script says it"
    )
