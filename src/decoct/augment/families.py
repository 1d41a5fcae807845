"""The six families of differentiable augmentation as functions of images and explicit parameters.

Every function takes `images` `[n, c, h, w]` and parameters with one row for all images or one row an image, and
returns images of the same shape and precision. Nothing here is random.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

Images = Float[Tensor, "n c h w"]


def flip(images: Images, flipped: Bool[Tensor, " k"]) -> Images:
    """Mirror left and right where `flipped`."""
    return torch.where(flipped.to(images.device)[:, None, None, None], images.flip(3), images)


def scale(images: Images, factors: Float[Tensor, "k 2"]) -> Images:
    """Sample at `factors` (vertical, horizontal) times the distance from the centre: below 1 enlarges."""
    zero = torch.zeros_like(factors[:, 0])
    rows = [torch.stack([factors[:, 1], zero, zero], 1), torch.stack([zero, factors[:, 0], zero], 1)]
    return _sample(images, torch.stack(rows, 1))


def rotate(images: Images, radians: Float[Tensor, " k"]) -> Images:
    """Turn the picture anticlockwise about its centre by `radians`; angles stay true on images that are not square."""
    height, width = images.shape[2:]
    zero, cos, sin = torch.zeros_like(radians), radians.cos(), radians.sin()
    rows = [torch.stack([cos, -sin * height / width, zero], 1), torch.stack([sin * width / height, cos, zero], 1)]
    return _sample(images, torch.stack(rows, 1))


def crop(images: Images, shift: Int64[Tensor, "k 2"]) -> Images:
    """Pad with zeros and cut out the window moved by `shift` pixels (down, right): the picture moves up and left."""
    height, width = images.shape[2:]
    margin = int(shift.abs().max())
    wide = F.pad(images, (margin, margin, margin, margin))
    if len(shift) == 1:
        top, left = (shift[0] + margin).tolist()
        return wide[:, :, top : top + height, left : left + width]
    start = (shift + margin).to(images.device)
    rows = start[:, :1] + torch.arange(height, device=images.device)
    columns = start[:, 1:] + torch.arange(width, device=images.device)
    index = (rows[:, :, None] * wide.shape[3] + columns[:, None, :]).flatten(1)
    picked = wide.flatten(2).gather(2, index[:, None].expand(-1, images.shape[1], -1))
    return picked.reshape(images.shape)


def cutout(images: Images, centre: Int64[Tensor, "k 2"], size: tuple[int, int]) -> Images:
    """Set a box of `size` (height, width) about `centre` to zero; it may stick out of the image."""
    centre = centre.to(images.device)
    inside = []
    for axis in (0, 1):
        place = torch.arange(images.shape[2 + axis], device=images.device)
        start = centre[:, axis : axis + 1] - size[axis] // 2
        inside.append((place >= start) & (place < start + size[axis]))
    box = inside[0][:, :, None] & inside[1][:, None, :]
    return images.masked_fill(box[:, None], 0)


def colour(
    images: Images, brightness: Float[Tensor, " k"], saturation: Float[Tensor, " k"], contrast: Float[Tensor, " k"]
) -> Images:
    """Add `brightness`, then stretch colours about the gray of each pixel by `saturation`, then all values about the
    mean of the image by `contrast`. Saturation does nothing to images of one channel.
    """
    images = images + _like(images, brightness)
    if images.shape[1] > 1:
        gray = images.mean(1, keepdim=True)
        images = (images - gray) * _like(images, saturation) + gray
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * _like(images, contrast) + mean


def _like(images: Tensor, values: Tensor) -> Tensor:
    return values.to(images)[:, None, None, None]


def _sample(images: Tensor, theta: Tensor) -> Tensor:
    """Bilinear sampling with zeros outside. `align_corners=False`: -1 and 1 are the edges of the image, not the centres
    of its outer pixels, so a scale means the same at every resolution.
    """
    # Coordinates in half precision would be off by whole pixels.
    exact = images if images.dtype == torch.float64 else images.float()
    grid = F.affine_grid(theta.to(exact), [len(theta), *images.shape[1:]], align_corners=False)
    grid = grid.expand(len(images), -1, -1, -1)
    return F.grid_sample(exact, grid, mode="bilinear", padding_mode="zeros", align_corners=False).to(images.dtype)
