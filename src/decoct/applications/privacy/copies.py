"""Copies: images of a set that are nearer to a real training image than fresh real images ever are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

from decoct.analysis.finding import Cell, Chart, Finding, Series, estimate
from decoct.compact.compact_set import CompactSet
from decoct.data.dataset import Dataset, Split
from decoct.errors import ConfigError, DataError
from decoct.evaluation.withheld import in_terms_of

BLOCK = 1024
"""Rows that are turned into numbers and compared at a time, of either side."""


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

    Images: float or uint8 `[m, c, h, w]`, features `[m, d]`. Cost O((m + h) n d); memory of the raw rows, and of blocks
    of them as floats. Raises `MismatchError` where set and data do not belong together, `DataError` for no held-out
    rows, `ConfigError` for a level that so few held-out rows cannot tell.
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
    train, unit = data.train.raw().flatten(1), _unit(data)

    def values(raw: Tensor) -> Tensor:
        return (raw.float() / 255 if data.spec.is_image else raw.float()) / unit

    inputs, _, _ = compact_set.materialize()
    made = data.spec.transform.inverse(inputs).flatten(1)
    found, nearest = nearest_rows(made / unit, train, of_others=values)
    held = others.raw().flatten(1)
    reference = nearest_rows(held, train, of_rows=values, of_others=values)[0].sort().values
    below = torch.searchsorted(reference, found, right=True)
    ids = tuple(str(data.train.ids[row]) for row in nearest.tolist())
    return Copies(nearest, ids, found, (1 + below).double() / (1 + len(reference)), reference, level, notices)


Values = Callable[[Shaped[Tensor, "b d"]], Float[Tensor, "b d"]]
"""What turns a block of raw rows into the numbers that are compared."""


def nearest_rows(
    rows: Shaped[Tensor, "m d"], others: Shaped[Tensor, "n d"], *,
    of_rows: Values = torch.Tensor.float, of_others: Values = torch.Tensor.float,
) -> tuple[Float[Tensor, " m"], Int64[Tensor, " m"]]:  # fmt: skip
    """Euclidean distance to the nearest of `others`, and which it is; the first of equals.

    Both are turned into numbers a block at a time, so that raw rows stay as small as they are. Found by the fast
    formula, measured by the exact difference: the fast one is off by 1e-3 where rows are equal.
    """
    pairs = [_nearest(of_rows(part), others, of_others) for part in rows.split(BLOCK)]
    distance, nearest = zip(*pairs, strict=True)
    return torch.cat(distance), torch.cat(nearest)


def _nearest(
    rows: Float[Tensor, "b d"], others: Shaped[Tensor, "n d"], of_others: Values
) -> tuple[Float[Tensor, " b"], Int64[Tensor, " b"]]:
    """The same for one block of rows: the nearest of every block of `others`, and the nearest of these."""
    distance, nearest = torch.full((len(rows),), torch.inf), torch.zeros(len(rows), dtype=torch.int64)
    for number, part in enumerate(others.split(BLOCK)):
        values = of_others(part)
        best = torch.cdist(rows, values).argmin(1)
        exact = (rows - values[best]).square().sum(1).sqrt()
        nearer = exact < distance
        distance = torch.where(nearer, exact, distance)
        nearest = torch.where(nearer, number * BLOCK + best, nearest)
    return distance, nearest


def _unit(data: Dataset) -> float:
    return float(torch.tensor(data.spec.shape).prod()) ** 0.5
