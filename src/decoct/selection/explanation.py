"""What is said about one row: `Explanation`, and the kept rows that it is explained by."""

from __future__ import annotations

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
class Explanation:
    """Why one row was kept or dropped; `sentence` says it in words."""

    row: int
    """Its number in the training split."""
    id: str
    """Its name in the source."""
    label: str
    """The name of its class."""
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

    @property
    def sentence(self) -> str:
        """The explanation for a person."""
        by = f" by {self.method}" if self.method else ""
        if self.kept:
            said = f"{self.id} ({self.label}) was kept{by} as number {self.rank} of {self.kept_rows}, "
            said += f"number {self.rank_in_class} of {self.kept_in_class} in its class, with weight {self.weight:.3g}"
            said += f": {self.reason}" if self.reason else ""
        else:
            said = f"{self.id} ({self.label}) was dropped{by}: "
            if self.score is not None and self.last_kept is not None:
                said += f"its {self.score_name} {self.score:.4g}, the last kept {self.last_kept:.4g}; "
            said += f"{self.kept_rows} rows were kept, {self.kept_in_class} of its class"
        if self.score is not None:
            said += f". Its {self.score_name or 'score'} is {self.score:.4g}"
            if self.percentile is not None:
                among = "the kept rows of its class" if self.percentile_of_kept else "its class"
                said += f", at percentile {self.percentile:.0f} of {among}"
        if self.distance is None or self.covered is None:
            return said + "."
        other = "nearest other kept row" if self.kept else "nearest kept row"
        said += f". The {other} is {self.neighbour} ({self.neighbour_label}) at distance {self.distance:.4g}"
        if not self.kept:
            said += f"; {self.covered:.0f} % of its class lie farther from what was kept"
        return said + "."
