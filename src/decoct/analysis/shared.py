"""What the rows that an image of a set helps most have in common."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from decoct.streams import Streams, derive_seed

DRAWS = 20
"""Random groups of the same classes that each group is compared with."""
CLEAR = 3.0
"""Standard errors from which on a trait counts as shared; three traits are looked at."""
_TINY = 1e-6


@dataclass(frozen=True)
class Shared:
    """For every image of a set, about the rows it helps most."""

    same_class: tuple[float, ...]
    """Share of them that are of the image's class, in [0, 1]."""
    alike: tuple[float, ...]
    """How many times closer their features are to each other than those of random rows of the same classes: the ratio
    of mean squared distances, random over theirs; 1 means not at all."""
    traits: tuple[str, ...]
    """The plain trait that they share most clearly, such as "bright" or "low contrast", or "none"."""


def shared_by(
    influence: Float[Tensor, "m n"],
    nominal: Int64[Tensor, " m"],
    truth: Int64[Tensor, " n"],
    features: Float[Tensor, "n d"],
    pictures: Tensor | None,
    top: int,
    seed: int,
) -> Shared:
    """Look at the `top` rows of largest influence of every image.

    `features` say what is alike (any scale), `pictures` `[n, c, h, w]` are raw pixels, None for tables. Random groups
    have as many rows of every class as the group that they are compared with, so that what is found is not the class
    over again.
    """
    top = min(top, influence.shape[1])
    traits = None if pictures is None else plain_traits(pictures)
    members = {int(c): torch.nonzero(truth == c).flatten() for c in truth.unique()}
    generator = Streams(derive_seed(seed, "analysis"))("random groups")
    same, alike, named = [], [], []
    for j, effect in enumerate(influence):
        group = effect.argsort(descending=True)[:top]
        same.append(float((truth[group] == nominal[j]).float().mean()))
        others = [_like(truth[group], members, generator) for _ in range(DRAWS)]
        random = torch.stack([spread(features[rows]) for rows in others]).mean()
        alike.append(float(random / spread(features[group]).clamp_min(_TINY)) if random > _TINY else 1.0)
        named.append("none" if traits is None else _strongest(traits, group, truth))
    return Shared(tuple(same), tuple(alike), tuple(named))


def spread(features: Float[Tensor, "k d"]) -> Float[Tensor, ""]:
    """Mean squared distance of pairs of rows; 0 for a single row."""
    if len(features) < 2:
        return features.new_zeros(())
    return 2 * features.var(0).sum()


def plain_traits(pictures: Tensor) -> dict[tuple[str, str], Float[Tensor, " n"]]:
    """Brightness, contrast and edges of every picture, by what a high and a low value is called."""
    grey = pictures.float().mean(1)
    steps = (grey.diff(dim=1).abs().mean((1, 2)), grey.diff(dim=2).abs().mean((1, 2)))
    return {
        ("bright", "dark"): grey.mean((1, 2)),
        ("high contrast", "low contrast"): grey.std((1, 2)),
        ("many edges", "few edges"): (steps[0] + steps[1]) / grey.std((1, 2)).clamp_min(_TINY),
    }


def _strongest(
    traits: dict[tuple[str, str], Float[Tensor, " n"]], group: Int64[Tensor, " k"], truth: Int64[Tensor, " n"]
) -> str:
    """The trait whose mean in the group is furthest from that of all rows of the same classes, in standard errors."""
    found, name = 0.0, "none"
    for (high, low), values in traits.items():
        centred = torch.empty_like(values)
        for c in truth[group].unique():
            own = truth == c
            centred[own] = (values[own] - values[own].mean()) / values[own].std().nan_to_num(1.0).clamp_min(_TINY)
        score = float(centred[group].mean()) * len(group) ** 0.5
        if abs(score) >= CLEAR and abs(score) > abs(found):
            found, name = score, high if score > 0 else low
    return name


def _like(
    classes: Int64[Tensor, " k"], members: dict[int, Int64[Tensor, " c"]], generator: torch.Generator
) -> Int64[Tensor, " k"]:
    """A random group with as many rows of every class."""
    values, counts = classes.unique(return_counts=True)
    return torch.cat(
        [
            members[int(c)][torch.randperm(len(members[int(c)]), generator=generator)[: int(k)]]
            for c, k in zip(values, counts, strict=True)
        ]
    )
