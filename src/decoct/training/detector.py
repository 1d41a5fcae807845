"""A detector trained from scratch on a set of images with boxes, and what it finds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from decoct.augment.boxed import Moves, draw_moves
from decoct.data.detection.detection_set import DetectionSet
from decoct.data.detection.pictures import Pictures, load_pictures
from decoct.errors import ConfigError, DataError, DivergenceError
from decoct.machine import usable_device
from decoct.networks.centre_net import STRIDE, CentreNet
from decoct.progress import Ticker
from decoct.streams import Streams, derive_seed, seeded
from decoct.training.centre_targets import Targets, box_loss, centre_loss, centre_targets

COARSEST = 16
BATCH = 32
"""Images looked at together when nothing is learned."""


@dataclass(frozen=True)
class DetectorConfig:
    """How a detector is trained; every set gets as many steps, however small it is."""

    size: tuple[int, int] = (128, 160)
    """Height and width of the canvas in pixels, multiples of 16; images are scaled into it, proportions kept."""
    width: int = 32
    """Feature maps of the network at a stride of 4."""
    steps: int = 200
    """Steps of the optimiser."""
    batch_size: int = 8
    """Images a step, drawn without replacement until all were shown."""
    lr: float = 6e-3
    """Largest step size of AdamW; it rises for the first tenth of the steps and then falls to 0 as a cosine."""
    weight_decay: float = 1e-4
    """Weight decay of AdamW."""
    box_weight: float = 3.0
    """What the loss of the boxes is worth beside that of the centres."""
    mirror: bool = True
    """Mirror each shown image left to right with probability 1/2."""
    zoom: float = 0.3
    """Grow or shrink each shown image by at most this share, and shift it by as much of half its side."""

    def __post_init__(self) -> None:
        if len(self.size) != 2 or any(side < COARSEST or side % COARSEST for side in self.size):
            raise ConfigError(
                "training a detector",
                received=f"size={self.size}",
                expected=f"height and width that are multiples of {COARSEST}",
                remedy=f"take {tuple(max(1, round(side / COARSEST)) * COARSEST for side in self.size)}",
            )
        if min(self.steps, self.batch_size, self.width - 1) < 1 or not self.lr > 0 or not 0 <= self.zoom < 1:
            raise ConfigError(
                "training a detector",
                received=f"steps={self.steps}, batch_size={self.batch_size}, width={self.width}, lr={self.lr}, "
                f"zoom={self.zoom}",
                expected="numbers above 0, a width of at least 2, and a zoom from 0 to below 1",
                remedy="keep the defaults",
            )


@dataclass(frozen=True, eq=False)
class Found:
    """Boxes that a detector found, image by image, those of an image from most to least certain."""

    boxes: Float[Tensor, "k 4"]
    """Left, top, right, bottom in pixels of the image."""
    labels: Int64[Tensor, " k"]
    scores: Float[Tensor, " k"]
    """Between 0 and 1; an order, not a calibrated probability."""
    owners: Int64[Tensor, " k"]


@dataclass(frozen=True, eq=False)
class Detector:
    """A trained network and what its inputs are."""

    module: CentreNet
    config: DetectorConfig
    mean: Float[Tensor, " 3"]
    std: Float[Tensor, " 3"]
    losses: tuple[float, ...]
    """Loss of every step."""

    def inputs(self, pixels: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """Network inputs, on the network's device."""
        device = next(self.module.parameters()).device
        mean, std = self.mean.to(device), self.std.to(device)
        scaled = (pixels.to(device).float() / 255 - mean[:, None, None]) / std[:, None, None]
        # A fifth faster on a processor.
        return scaled.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def detect(self, data: DetectionSet, pictures: Pictures | None = None, most: int = 100) -> Found:
        """The `most` surest boxes of every image: peaks among 3x3 cells, as in "Objects as Points"."""
        shown = pictures or load_pictures(data, self.config.size)
        self.module.eval()
        parts = []
        for start in range(0, len(data), BATCH):
            rows = torch.arange(start, min(start + BATCH, len(data)))
            logits, sides = self.module(self.inputs(shown.pixels[rows]))
            parts.append(_peaks(logits.cpu(), sides.cpu(), most, rows))
        boxes, labels, scores, owners = (torch.cat(part) for part in zip(*parts, strict=True))
        boxes = boxes / shown.scale[owners, None]
        sizes = data.sizes[owners].flip(1).repeat(1, 2)
        return Found(torch.minimum(boxes.clamp_min(0), sizes), labels, scores, owners)


def train_detector(
    data: DetectionSet,
    config: DetectorConfig | None = None,
    seed: int = 0,
    *,
    pictures: Pictures | None = None,
    device: str = "cpu",
    tick: Ticker | None = None,
) -> Detector:
    """Train `CentreNet` on all images of `data`, those without boxes too (they teach what is nothing).

    The loss is `centre_loss + box_weight * box_loss`. The same seed, machine and number of threads give the same bits.
    `pictures` are those of `data` at `config.size`, where the caller has them. Cost: about a second for 100 images
    shown at 128x160 and width 32 on one core.

    Raises `DataError` where there is no box to learn from, `DivergenceError`, `SourceError` for unreadable images.
    """
    chosen = config or DetectorConfig()
    if not len(data.boxes) or bool(data.ignored.all()):
        raise DataError(
            f"training a detector on {data.source}",
            received=f"{len(data)} images without a box to learn from",
            expected="at least one box that is no crowd and not marked difficult",
            remedy="take more images, or other ones",
        )
    device = usable_device(device)
    shown = pictures or load_pictures(data, chosen.size)
    streams = Streams(seed)
    with seeded(derive_seed(seed, "network")):
        module = CentreNet(data.classes, chosen.width)
        module = module.to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    mean, std = _mean_and_std(shown.pixels)
    detector = Detector(module.train(), chosen, mean, std, ())
    optimizer = torch.optim.AdamW(module.parameters(), lr=chosen.lr, weight_decay=chosen.weight_decay)
    losses = []
    for step, rows in enumerate(_batches(len(data), chosen, streams("order"))):
        for group in optimizer.param_groups:
            group["lr"] = chosen.lr * _share(step, chosen.steps)
        moves = draw_moves(len(rows), chosen.zoom, chosen.mirror, streams("moves"))
        logits, sides = module(moves.images(detector.inputs(shown.pixels[rows])))
        targets = _batch(data, shown, rows, moves, chosen).to(logits.device)
        loss = centre_loss(logits, targets) + chosen.box_weight * box_loss(sides, targets)
        if not torch.isfinite(loss):
            raise DivergenceError(
                f"training a detector on {data.source}",
                received=f"a loss of {float(loss.detach())} in step {step + 1}",
                expected="a finite loss",
                remedy="take a smaller lr",
            )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 10.0)
        optimizer.step()
        losses.append(float(loss.detach()))
        if tick:
            tick(float(step + 1), f"loss {losses[-1]:.2f}")
    return Detector(module.eval(), chosen, mean, std, tuple(losses))


def _mean_and_std(pixels: UInt8[Tensor, "n 3 h w"]) -> tuple[Float[Tensor, " 3"], Float[Tensor, " 3"]]:
    """Of every channel over all pictures, on a scale from 0 to 1; a few pictures at a time, as floats take 4 bytes."""
    sums = torch.zeros(2, 3, dtype=torch.float64)
    for part in pixels.split(BATCH):
        values = part.double().div(255)
        sums += torch.stack([values.sum((0, 2, 3)), values.square().sum((0, 2, 3))])
    mean, square = sums / (len(pixels) * pixels.shape[2] * pixels.shape[3])
    return mean.float(), (square - mean.square()).clamp_min(1e-6).sqrt().float()


def _batches(n: int, config: DetectorConfig, generator: torch.Generator) -> list[Int64[Tensor, " b"]]:
    """Rows of every step: permutations one after the other, cut into pieces; small sets fill a piece several times."""
    needed = config.steps * config.batch_size
    order = torch.cat([torch.randperm(n, generator=generator) for _ in range(math.ceil(needed / n))])
    return list(order[:needed].split(config.batch_size))


def _share(step: int, steps: int) -> float:
    warm = max(1, steps // 10)
    if step < warm:
        return (step + 1) / warm
    return 0.5 + 0.5 * math.cos(math.pi * (step - warm) / max(1, steps - warm))


def _batch(
    data: DetectionSet, shown: Pictures, rows: Int64[Tensor, " b"], moves: Moves, config: DetectorConfig
) -> Targets:
    """Targets of a step, for images so moved."""
    place, own = (data.owners == rows[:, None]).nonzero().T
    boxes, whole = moves.boxes(data.boxes[own] * shown.scale[rows[place], None], place, config.size)
    grid = (config.size[0] // STRIDE, config.size[1] // STRIDE)
    ignored, place, labels = data.ignored[own][whole], place[whole], data.labels[own][whole]
    return centre_targets(boxes[whole], labels, place, ignored, len(rows), data.classes, grid)


def _peaks(
    logits: Float[Tensor, "b C a c"], sides: Float[Tensor, "b 4 a c"], most: int, rows: Int64[Tensor, " b"]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Boxes on the canvas, labels, scores and images of the surest peaks."""
    scores = logits.sigmoid()
    peaks = scores * (F.max_pool2d(scores, 3, 1, 1) == scores)
    b, _, height, width = peaks.shape
    top = peaks.flatten(1).topk(min(most, peaks[0].numel()))
    labels, cell = top.indices // (height * width), top.indices % (height * width)
    centre = torch.stack([cell % width, cell // width], 2).add(0.5).mul(STRIDE).repeat(1, 1, 2)
    reach = sides.flatten(2).gather(2, cell[:, None].expand(-1, 4, -1)).transpose(1, 2)
    boxes = centre + reach * torch.tensor([-1.0, -1.0, 1.0, 1.0])
    kept = top.values > 0
    owners = rows[:, None].expand(b, top.values.shape[1])
    return boxes[kept], labels[kept], top.values[kept], owners[kept]
