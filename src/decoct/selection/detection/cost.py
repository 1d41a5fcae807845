"""What a selection of images with boxes costs before it is made."""

from __future__ import annotations

import torch

from decoct.compact.budget import Budget
from decoct.data.detection.detection_set import DetectionSet
from decoct.networks.centre_net import CentreNet
from decoct.networks.count import flops_forward
from decoct.selection.cost import Cost
from decoct.selection.detection.csod import Csod
from decoct.selection.detection.region_features import SMALL, Features
from decoct.selection.detection.select import image_method
from decoct.selection.features import Table
from decoct.selection.rates import TRAINING, measured_rates
from decoct.selection.selector import Selector
from decoct.streams import seeded
from decoct.training.detector import DetectorConfig


def estimate_images(
    data: DetectionSet,
    method: str | Csod | Selector = "csod",
    *,
    budget: Budget,
    features: str | Table | Features = "auto",
    config: DetectorConfig | None = None,
    measure: bool = True,
) -> Cost:
    """What `select_images` with these arguments would cost; nothing is trained or written.

    Counted are the training of the detector, its look at all images, and the comparisons; decoding the pictures is
    not. Raises what `select_images` raises.
    """
    chosen, settings = image_method(method), config or DetectorConfig()
    kept, n = int(budget.quota(torch.tensor([len(data)]), 1)), len(data)
    asked = isinstance(chosen, Csod) or chosen.needs_features
    with seeded(0):
        module = CentreNet(data.classes, settings.width)
    forward = flops_forward(module, (3, *settings.size))
    trains = asked and isinstance(features, str) and features in ("auto", "network")
    passes = settings.steps * settings.batch_size / n + 1 / TRAINING if trains else 0.0
    width = settings.width if trains else _width(features)
    if isinstance(chosen, Csod):
        # An image that shows several classes is compared with the prototypes of each.
        pairs = torch.unique(data.labels * n + data.owners) // n
        shown = torch.bincount(pairs, minlength=data.classes).double()
        work = chosen.operations(int(shown.square().sum() / n), kept, width)
    else:
        work = chosen.operations(n, kept, width)
    products = not isinstance(chosen, Csod) and chosen.products
    rates = measured_rates(n, width) if measure else None
    # Convolutions run about as fast as products of matrices; the detector is not built twice to time it.
    rate = None if rates is None else rates.products
    return Cost("a small detector", n, kept, TRAINING * forward, passes, work, rate, rates=rates, products=products)


def _width(features: str | Table | Features) -> int:
    """Numbers of a box or an image where no detector is trained."""
    if isinstance(features, Features):
        return int(features.regions.shape[1])
    return 3 * SMALL * SMALL if isinstance(features, str) else int(features.shape[1])
