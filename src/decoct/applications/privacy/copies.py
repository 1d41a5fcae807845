"""Copies: images of a set that are nearer to a real training image than fresh real images ever are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from decoct.analysis.finding import Cell, Chart, Finding, Series, estimate
from decoct.compact.compact_set import CompactSet
from decoct.data.dataset import Dataset, Split
from decoct.errors import ConfigError, DataError
from decoct.evaluation.withheld import in_terms_of
from decoct.machine import require_memory

BLOCK = 512


@dataclass(frozen=True, eq=False)
class Copies:
    """Every image of a set with its nearest training image."""

    nearest: Int64[Tensor, " m"]
    """Row of the training split."""
    ids: tuple[str, ...]
    """The source's own name of that row."""
    distance: Float[Tensor, " m"]
    """Root mean squared difference over values, where white is 1 and black 0 (features: in their own unit)."""
    p_value: Float[Tensor, " m"]
    """`(1 + #{reference <= distance}) / (1 + h)`: how rare so small a distance is among h held-out real images."""
    reference: Float[Tensor, " h"]
    """Distances of held-out real images to their nearest training image, sorted."""
    level: float
    """Images of a smaller p-value are flagged."""
    notices: tuple[str, ...] = ()
    """What a reader must know about set and data."""

    @property
    def flagged(self) -> Bool[Tensor, " m"]:
        """Which images are copies by this measure."""
        return self.p_value <= self.level

    @property
    def expected(self) -> float:
        """How many would be flagged if the images were fresh real ones."""
        return self.level * len(self.distance)

    def row(self) -> dict[str, Cell]:
        """A line of a table."""
        return {
            "images": len(self.distance), "flagged": int(self.flagged.sum()), "expected": self.expected,
            "nearest": float(self.distance.min()), "median": float(self.distance.median()),
            "held-out rows": len(self.reference), "their nearest": float(self.reference.min()),
            "their median": float(self.reference.median()),
        }  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        quantiles = torch.quantile(self.reference, torch.tensor([0.0, 0.01, 0.5], dtype=self.reference.dtype))
        return {
            "images": len(self.distance), "flagged": int(self.flagged.sum()), "expected": self.expected,
            "level": self.level, "held_out": len(self.reference), "smallest": float(self.distance.min()),
            "median": float(self.distance.median()),
            "notices": list(self.notices),
            "reference": dict(zip(("smallest", "hundredth", "median"), quantiles.tolist(), strict=True)),
            "pairs": [
                {"image": number, "train_id": self.ids[number], "distance": float(self.distance[number])}
                for number in self.flagged.nonzero().flatten().tolist()
            ],
        }  # fmt: skip


def copies_finding(found: Mapping[str, Copies]) -> Finding:
    """One section of a report about the copies in some sets, by name."""
    told = ", ".join(
        f"{int(one.flagged.sum())} of {len(one.distance)} images of {name} ({one.expected:.2g} expected of fresh rows)"
        for name, one in found.items()
    )
    places = [float(place) for place in range(len(found))]
    shares = [estimate([float(one.flagged.double().mean())]) for one in found.values()]
    levels = [estimate([one.level]) for one in found.values()]
    series = (
        Series.of("flagged", places, shares, line=False),
        Series.of("expected of fresh real rows", places, levels, line=False, quiet=True),
    )
    rows = tuple({"set": name, **one.row()} for name, one in found.items())
    notes = [
        "An image is flagged where at most that share of held-out real rows lies as near to a training row. Distances "
        "are root mean squares over values.",
        "Not being flagged proves nothing: an image may be far from every real one and still tell who was trained on.",
        *dict.fromkeys(f"{name}: {text}" for name, one in found.items() for text in one.notices),
    ]
    chart = Chart("set", "images flagged as copies", series, percent=True, names=tuple(found))
    return Finding("copies", f"Copies of training rows: {told}.", chart, rows, notes=tuple(notes))


def copies(
    compact_set: CompactSet, data: Dataset, *, held_out: Split | None = None, level: float = 0.01
) -> Copies:  # fmt: skip
    """Flag the rows of a set that are nearer to a training row than real rows that were never trained on.

    `d(s) = min_i ||s - x_i|| / sqrt(values)`, in raw space; the reference is the same distance of every row of
    `held_out`, by default the validation split. A row is flagged where at most a share `level` of the references are
    as near: fresh rows of the same distribution would be flagged that often. Not being flagged proves nothing: an
    image may be far from every real one in pixels and still tell who was trained on (see `membership`). A set whose
    fingerprint is withheld is compared where shape and classes match, and `notices` say so.

    Images: float or uint8 `[m, c, h, w]`, features `[m, d]`. Cost O((m + h) n d), memory of blocks. Raises
    `MismatchError` where set and data do not belong together, `DataError` for no held-out rows, `ConfigError` for a
    level that so few held-out rows cannot tell.
    """
    compact_set, notices = in_terms_of(compact_set, data.spec, "looking for copies")
    others = data.val if held_out is None else held_out
    if len(others) == 0 or not 0 < level < 1 or level * (1 + len(others)) < 1:
        kind = DataError if len(others) == 0 else ConfigError
        raise kind(
            "looking for copies",
            received=f"{len(others)} held-out rows and a level of {level:g}",
            expected="a level above 0 and below 1, and at least 1 / level - 1 held-out rows",
            remedy="hold out more rows, or take a larger level",
        )
    train, unit = _rows(data, data.train), _unit(data)
    inputs, _, _ = compact_set.materialize()
    made = data.spec.transform.inverse(inputs).flatten(1)
    found, nearest = nearest_rows(made / unit, train / unit)
    reference = nearest_rows(_rows(data, others) / unit, train / unit)[0].sort().values
    below = torch.searchsorted(reference, found, right=True)
    ids = tuple(str(data.train.ids[row]) for row in nearest.tolist())
    return Copies(nearest, ids, found, (1 + below).double() / (1 + len(reference)), reference, level, notices)


def nearest_rows(
    rows: Float[Tensor, "m d"], others: Float[Tensor, "n d"]
) -> tuple[Float[Tensor, " m"], Int64[Tensor, " m"]]:
    """Euclidean distance to the nearest of `others`, and which it is; the first of equals.

    Found by the fast formula, measured by the exact difference: the fast one is off by 1e-3 where rows are equal.
    """
    require_memory("comparing rows with training rows", 8 * BLOCK * len(others), "compare with fewer training rows")
    best = torch.cat([torch.cdist(part, others).argmin(1) for part in rows.split(BLOCK)])
    return (rows - others[best]).square().sum(1).sqrt(), best


def _rows(data: Dataset, split: Split) -> Float[Tensor, "n d"]:
    raw = split.raw().flatten(1).float()
    return raw / 255 if data.spec.is_image else raw


def _unit(data: Dataset) -> float:
    return float(torch.tensor(data.spec.shape).prod()) ** 0.5
