"""Mixing pairs of training images and their targets: mixup and CutMix."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from decoct.errors import ConfigError


def mixup(
    x: Float[Tensor, "n ..."], targets: Float[Tensor, "n classes"], generator: torch.Generator, alpha: float = 1.0
) -> tuple[Float[Tensor, "n ..."], Float[Tensor, "n classes"]]:
    """`m x + (1 - m) x[p]` and the same of the targets, with one m ~ Beta(alpha, alpha) and one permutation p a batch.

    Zhang, Cisse, Dauphin & Lopez-Paz, "mixup: Beyond Empirical Risk Minimization" (2018,
    https://arxiv.org/abs/1710.09412); authors' code: https://github.com/facebookresearch/mixup-cifar10.
    `x` `[n, ...]` may be images or features, `targets` `[n, C]`. Raises `ConfigError` unless `alpha` is positive.
    """
    share, partner = _share(alpha, generator), _partners(x, generator)
    return share * x + (1 - share) * x[partner], share * targets + (1 - share) * targets[partner]


def cutmix(
    x: Float[Tensor, "n ..."],
    targets: Float[Tensor, "n classes"],
    generator: torch.Generator,
    alpha: float = 1.0,
    probability: float = 0.5,
) -> tuple[Float[Tensor, "n ..."], Float[Tensor, "n classes"]]:
    """With `probability`, paste a box of `x[p]` into `x`; targets are mixed by the area that the box really covers.

    Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features" (2019,
    https://arxiv.org/abs/1905.04899); authors' code: https://github.com/clovaai/CutMix-PyTorch. The box has sides
    sqrt(1 - m) of the image's, m ~ Beta(alpha, alpha), a uniform centre, and is clipped to the image; one box and one
    permutation p a batch. How much is drawn from `generator` does not depend on whether the box is pasted.

    `x` `[n, c, h, w]`, `targets` `[n, C]`. Raises `ConfigError` for features, for a `probability` outside [0, 1] and
    unless `alpha` is positive.
    """
    if x.ndim != 4:
        raise _refuse("mixing with cutmix", f"inputs {list(x.shape)}", "images [n, c, h, w]", "use mixup for features")
    if not 0 <= probability <= 1:
        raise _refuse(
            "mixing with cutmix", f"probability {probability}", "a number from 0 to 1", "choose one in that range"
        )
    share, partner = _share(alpha, generator), _partners(x, generator)
    chance, *centre = torch.rand(3, generator=generator, device=generator.device).tolist()
    if chance >= probability:
        return x, targets
    spans = [_span(side, math.sqrt(1 - share), at) for side, at in zip(x.shape[2:], centre, strict=True)]
    (top, bottom), (left, right) = spans
    kept = 1 - (bottom - top) * (right - left) / (x.shape[2] * x.shape[3])
    box = torch.zeros(x.shape[2:], dtype=torch.bool, device=x.device)
    box[top:bottom, left:right] = True
    return torch.where(box, x[partner], x), kept * targets + (1 - kept) * targets[partner]


def _span(side: int, share: float, at: float) -> tuple[int, int]:
    """First and past-the-last pixel of a piece `share` of `side` long about the pixel at `at` in [0, 1)."""
    length, middle = int(side * share), int(side * at)
    start = middle - length // 2
    return max(start, 0), min(start + length, side)


def _share(alpha: float, generator: torch.Generator) -> float:
    if not 0 < alpha < math.inf:
        raise _refuse("mixing images", f"alpha {alpha}", "a positive number", "use alpha=1.0, the usual choice")
    # torch's own Beta only knows the global generator.
    seed = torch.randint(2**62, (1,), generator=generator, device=generator.device).item()
    return float(np.random.default_rng(int(seed)).beta(alpha, alpha))


def _partners(x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randperm(len(x), generator=generator, device=generator.device).to(x.device)


def _refuse(called: str, received: str, expected: str, remedy: str) -> ConfigError:
    return ConfigError(called, received=received, expected=expected, remedy=remedy)
