"""Which training rows a person should look at: the hardest, easiest, most ambiguous, most redundant, mislabelled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from decoct.data.dataset import Dataset
from decoct.errors import MismatchError
from decoct.selection.selector import distances

EACH = 24
"""Rows of a pile."""
FROM_A_CLASS = 4
"""Rows of one class in a pile, so that an easy or a hard class does not fill it alone; wrong labels are all shown."""
COMPARED = 20_000
"""Rows among which the redundant ones are looked for; more are thinned evenly."""
BLOCK = 1024


@dataclass(frozen=True)
class Pile:
    """Some training rows, the most telling first, each with what is said under its picture."""

    name: str
    title: str
    line: str
    rows: tuple[int, ...]
    notes: tuple[str, ...]
    twins: tuple[int, ...] = ()
    """For each row the one that it repeats; empty where that is not the point."""


PILES = {
    "hardest": ("el2n", True, "Hardest", "Rows with the largest error early in training (el2n): rare views, and wrong "
                "labels too."),
    "easiest": ("el2n", False, "Easiest", "Rows with the smallest error early in training (el2n): what a small set "
                "needs few of."),
    "ambiguous": ("variability", True, "Most ambiguous", "Rows about which the network changed its mind most from pass "
                  "to pass (variability): those between two classes."),
    "mislabelled": ("aum", True, "Likely mislabelled", "Rows whose label lagged furthest behind another class, over "
                    "all of the training (aum). Look at these first: some are wrong, some are only unusual."),
}  # fmt: skip
"""Name -> score, whether its largest values are meant, title, and what it says."""


def piles_of(
    data: Dataset, scores: Mapping[str, Float[Tensor, " n"]], features: Float[Tensor, "n d"] | None = None
) -> tuple[Pile, ...]:
    """The piles that these scores of `data.train` give, in the order of `PILES`, and the redundant rows by `features`.

    Scores that are missing leave their pile out. Cost: one sort for each pile, O(n_c^2 d) for the redundant rows of
    each class, at most `COMPARED` rows in all. Raises `MismatchError` for scores of other rows.
    """
    piles = []
    for name, (score, largest, title, line) in PILES.items():
        if score in scores:
            values = scores[score]
            _require_rows(data, score, len(values))
            order = torch.sort(values, descending=largest, stable=True).indices
            rows = _first(order, data, EACH if name == "mislabelled" else FROM_A_CLASS)
            notes = tuple(f"{score} {float(values[row]):.3g}" for row in rows)
            piles.append(Pile(name, title, line, tuple(rows), notes))
    if features is not None:
        _require_rows(data, "features", len(features))
        piles.append(_redundant(data, features))
    return tuple(piles)


def _first(order: Int64[Tensor, " n"], data: Dataset, from_a_class: int) -> list[int]:
    """The first `EACH` rows, at most so many of one class (more where there are few classes)."""
    most = max(from_a_class, -(-EACH // data.spec.classes))
    labels = data.train.y
    seen: dict[int, int] = {}
    rows: list[int] = []
    for row in order.tolist():
        label = int(labels[row])
        if seen.get(label, 0) < most:
            seen[label] = seen.get(label, 0) + 1
            rows.append(row)
        if len(rows) == EACH:
            break
    return rows


def _redundant(data: Dataset, features: Float[Tensor, "n d"]) -> Pile:
    """The pairs of one class that are nearest to each other, each pair once."""
    step = -(-len(features) // COMPARED)
    found: list[tuple[float, int, int]] = []
    for members in data.train.class_rows(data.spec.classes):
        rows = torch.from_numpy(members[::step])
        if len(rows) > 1:
            gaps, twins = _nearest(features[rows])
            # Each pair is seen from both sides; it is kept once.
            pairs = zip(gaps.tolist(), rows.tolist(), rows[twins].tolist(), strict=True)
            found += sorted({(gap, *sorted((row, twin))) for gap, row, twin in pairs})[:EACH]
    found = sorted(found)[:EACH]
    notes = tuple(f"distance {gap:.3g}" for gap, _, _ in found)
    thinned = f" Looked for among every {step}th row." if step > 1 else ""
    line = "Pairs of rows of one class that lie nearest to each other: one of each can go." + thinned
    return Pile("redundant", "Most redundant", line, tuple(row for _, row, _ in found), notes,
                tuple(twin for _, _, twin in found))  # fmt: skip


def _nearest(points: Float[Tensor, "m d"]) -> tuple[Float[Tensor, " m"], Int64[Tensor, " m"]]:
    """Distance to the nearest other row, and which it is."""
    gaps, twins = [], []
    for start in range(0, len(points), BLOCK):
        part = distances(points[start : start + BLOCK], points)
        own = torch.arange(len(part))
        part[own, own + start] = torch.inf
        best = part.min(1)
        gaps.append(best.values)
        twins.append(best.indices)
    return torch.cat(gaps), torch.cat(twins)


def _require_rows(data: Dataset, what: str, count: int) -> None:
    if count != len(data.train):
        raise MismatchError(
            "showing rows by their scores", received=f"{count} values of {what}",
            expected=f"one for each of the {len(data.train)} training rows",
            remedy="score the data that are shown, opened in the same way",
        )  # fmt: skip
