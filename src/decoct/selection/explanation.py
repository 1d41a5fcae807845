"""What is said about one row: `Explanation`, and the kept rows that it is explained by."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Kept:
    """The kept rows in the order picked, and the method that picked them where it is known."""

    rows: Int64[Tensor, " k"]
    ids: tuple[str, ...]
    scores: Float[Tensor, " k"]
    weights: Float[Tensor, " k"]
    reasons: tuple[str, ...] = ()
    """Why each was picked; empty where nobody said."""
    method: str | None = None
    score_name: str | None = None
    """What the score is called that the method went by, where it went by one."""
    together: bool = False
    """Whether all rows were picked from at once, rather than class by class."""


@dataclass(frozen=True)
class Near:
    """The kept row that a row is most like, and how much of its class is farther from what was kept than it is.

    The fields are those of `Explanation`.
    """

    row: int | None = None
    id: str | None = None
    distance: float | None = None
    covered: float | None = None
    sampled: bool = False


@dataclass(frozen=True)
class Explanation:
    """Why one row was kept or dropped; `sentence` says it in words."""

    row: int
    """Its number in the training split."""
    id: str
    """Its name in the source."""
    label: str | None
    """The name of its class; None where rows have none, and all stand for one class below."""
    kept: bool
    """Whether it is in the coreset."""
    method: str | None
    """What picked the coreset, where that is known."""
    rank: int | None
    """Its place in the order picked, from 1; None where dropped."""
    rank_in_class: int | None
    """The same among the kept rows of its class."""
    kept_rows: int
    """How many rows were kept in all."""
    kept_in_class: int
    """How many of its class were kept."""
    score: float | None
    """What the method thought of it; of a dropped row only known where scores of all rows are given."""
    score_name: str | None
    """What it is called; None for methods that do not go by a score of every row."""
    last_kept: float | None
    """For methods that do, the score of the last row that was kept, of its class where classes were picked from apart;
    None where unknown."""
    percentile: float | None
    """Percent of the rows of its class with a lower score, half of the equal ones: among all where scores of all rows
    are given, else among the kept ones. None where no score is known."""
    percentile_of_kept: bool
    """Whether that is among the kept rows only."""
    weight: float | None
    """How much it counts; None where dropped."""
    reason: str | None
    """Why the method picked it, in its own words; None where dropped or unknown."""
    neighbour: str | None
    """Id of the other kept row that is nearest by the features; None where there is no other."""
    neighbour_row: int | None
    """Its number in the training split."""
    neighbour_label: str | None
    """The name of its class."""
    distance: float | None
    """Euclidean distance to it, in units of the features."""
    covered: float | None
    """Percent of the rows of its class that are farther from their nearest kept row."""
    sampled: bool = False
    """Whether that is of some rows of its class, drawn at random, instead of all."""

    @property
    def sentence(self) -> str:
        """The explanation for a person."""
        by = f" by {self.method}" if self.method else ""
        name, classed = _named(self.id, self.row, self.label), self.label is not None
        if self.kept:
            said = f"{name} was kept{by} as number {self.rank} of {self.kept_rows}, "
            said += f"number {self.rank_in_class} of {self.kept_in_class} in its class, " if classed else ""
            said += f"with weight {self.weight:.3g}"
            said += f": {self.reason}" if self.reason else ""
        else:
            said = f"{name} was dropped{by}: "
            if self.score is not None and self.last_kept is not None:
                said += f"its {self.score_name} {self.score:.4g}, the last kept {self.last_kept:.4g}; "
            said += f"{self.kept_rows} rows were kept" + (f", {self.kept_in_class} of its class" if classed else "")
        if self.score is not None:
            said += f". Its {self.score_name or 'score'} is {self.score:.4g}"
            if self.percentile is not None:
                kept, all_ = ("the kept rows of its class", "its class") if classed else ("the kept rows", "all rows")
                said += f", at percentile {self.percentile:.0f} of {kept if self.percentile_of_kept else all_}"
        if self.distance is None or self.covered is None or self.neighbour is None:
            return said + "."
        other = "nearest other kept row" if self.kept else "nearest kept row"
        neighbour = _named(self.neighbour, self.neighbour_row, self.neighbour_label)
        said += f". The {other} is {neighbour} at distance {self.distance:.4g}"
        if not self.kept:
            share = f"{'about ' if self.sampled else ''}{self.covered:.0f} %"
            said += f"; {share} of {'its class' if classed else 'all rows'} lie farther from what was kept"
        return said + "."


def _named(id_: str, row: int | None, label: str | None) -> str:
    name = f"row {id_}" if id_ == str(row) else id_
    return name if label is None else f"{name} ({label})"


def told(
    kept: Kept, row: int, name: str, labels: Int64[Tensor, " n"], class_names: Sequence[str] | None, near: Near,
    scores: Float[Tensor, " n"] | None = None,
) -> Explanation:  # fmt: skip
    """What is said of row number `row`, called `name`: of a class each (`class_names` None where rows have none).

    `scores` are those of all rows, for methods that go by a score.
    """
    own = labels[kept.rows] == labels[row]
    place = next(iter((kept.rows == row).nonzero()[:, 0].tolist()), None)
    score, rivals = _score(kept, scores, row, place, own, labels)

    def called(number: int | None) -> str | None:
        return None if number is None or class_names is None else class_names[int(labels[number])]

    return Explanation(
        row=row,
        id=name,
        label=called(row),
        kept=place is not None,
        method=kept.method,
        rank=None if place is None else place + 1,
        rank_in_class=None if place is None else int(own[: place + 1].sum()),
        kept_rows=len(kept.rows),
        kept_in_class=int(own.sum()),
        score=score,
        score_name=kept.score_name,
        last_kept=_last_kept(kept, own),
        percentile=None if score is None else _percentile(score, rivals),
        percentile_of_kept=scores is None,
        weight=None if place is None else float(kept.weights[place]),
        reason=None if place is None or not kept.reasons else kept.reasons[place] or None,
        neighbour=near.id,
        neighbour_row=near.row,
        neighbour_label=called(near.row),
        distance=near.distance,
        covered=near.covered,
        sampled=near.sampled,
    )


def _score(
    kept: Kept, scores: Tensor | None, row: int, place: int | None, own: Tensor, labels: Tensor
) -> tuple[float | None, Float[Tensor, " m"]]:
    """The row's score where it is known, and those that it stands among."""
    if scores is not None:
        return float(scores[row]), scores[labels == labels[row]].float()
    return (None if place is None else float(kept.scores[place])), kept.scores[own]


def _last_kept(kept: Kept, own: Tensor) -> float | None:
    """The score of the last row that was picked before this one was left: of its class, where classes are apart."""
    if kept.score_name is None or not len(kept.scores):
        return None
    rivals = kept.scores if kept.together or not bool(own.any()) else kept.scores[own]
    return float(rivals[-1])


def _percentile(score: float, rivals: Float[Tensor, " m"]) -> float | None:
    if math.isnan(score):
        return None
    known = rivals[~rivals.isnan()]
    return 100 * float(((known < score).double() + (known == score).double() / 2).mean())
