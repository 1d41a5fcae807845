"""What one report shows, as plain values: the page is made of these and of nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decoct.analysis.finding import Finding
from decoct.evaluation import statistics
from decoct.evaluation.fair_scores import FairScore
from decoct.evaluation.matrix import Matrix
from decoct.evaluation.scorecard import Entry, Scorecard
from decoct.report.scored_rows import ScoredRows

Pixels = NDArray[np.uint8]
"""Images as a person sees them: uint8 `[k, h, w, c]` with one channel or three."""


@dataclass(frozen=True)
class Estimate:
    """A mean and half the width of its 95 % interval (None for one run), as fractions."""

    mean: float
    half: float | None = None

    @classmethod
    def of(cls, values: Sequence[float]) -> Estimate:
        """Over seeds; raises `ValueError` for no values."""
        return cls(statistics.mean(values), statistics.half_width(values))

    @property
    def low(self) -> float:
        return self.mean - (self.half or 0.0)

    @property
    def high(self) -> float:
        return self.mean + (self.half or 0.0)

    def shown(self, sign: bool = False) -> str:
        """In per cent, such as "93.1 ± 0.6" or "+4.2 ± 1.1"; the minus is a real minus sign."""
        mean = f"{100 * self.mean:{'+' if sign else ''}.1f}".replace("-", "−")
        return mean if self.half is None else f"{mean} ± {100 * self.half:.1f}"


@dataclass(frozen=True)
class Whole:
    """All training rows of the data, with hard labels."""

    rows: int
    nbytes: int


@dataclass(frozen=True)
class Row:
    """One line of the tables: what was judged, on one network."""

    entry: Entry
    ipc: float
    """Rows after decoding, per class."""
    gain: Estimate | None = None
    """Over random rows at the same bytes; paired where both were judged on the same seeds."""
    make_seconds: float | None = None
    """Seconds it took to make the set, where that is known."""
    rival: str = "random"
    """Which random rows the gain is over: plain, or with the labels of a teacher where the set has soft labels."""
    place: str = ""
    """What its data and protocol have that those of others on the page have not: only rows of one place compare."""
    whole: Whole | None = None
    """All of the data that it was made from or drawn from, where their size is known."""


@dataclass(frozen=True, eq=False)
class Column:
    """One column of a gallery: for each shown class some pictures, and how many there are in all."""

    title: str
    pictures: tuple[Pixels, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Gallery:
    """Real pictures beside those of the compact sets of one size, class by class; the first column is the real one."""

    title: str
    class_names: tuple[str, ...]
    columns: tuple[Column, ...]
    left_out: int = 0
    """Classes that are not shown."""


@dataclass(frozen=True, eq=False)
class Heat:
    """Soft labels of one set: `values` is `[rows, classes]`, `names` holds the nominal class of each shown row."""

    title: str
    values: NDArray[np.float32]
    names: tuple[str, ...]
    class_names: tuple[str, ...]
    kind: str
    """ "probabilities" or "scores"."""
    left_out: int = 0
    """Rows that are not shown."""


@dataclass(frozen=True, eq=False)
class Contents:
    """A whole page."""

    source: str
    class_names: tuple[str, ...]
    shape: tuple[int, ...]
    train: int
    """Rows of the real training split."""
    protocol: str
    rows: tuple[Row, ...]
    galleries: tuple[Gallery, ...] = ()
    heats: tuple[Heat, ...] = ()
    matrices: tuple[tuple[str, Matrix], ...] = ()
    """Accuracies by network and augmentation, each with the name of its set."""
    scores: tuple[FairScore, ...] = ()
    """Fair scores of what was judged."""
    label_cards: tuple[tuple[str, Scorecard], ...] = ()
    """Labels kept in many ways, each with the name of its set."""
    findings: tuple[tuple[str, Finding], ...] = ()
    """What analyses found, each with the name of its set."""
    scored: tuple[tuple[str, ScoredRows], ...] = ()
    """Rows that stand out by their scores, each with the name of the scored folder."""
    facts: tuple[tuple[str, str], ...] = ()
    """Provenance: name and value."""
    commands: tuple[str, ...] = ()
    """Command lines that make the same results again."""
    notes: tuple[str, ...] = ()
    """What a reader must know to read the numbers right."""
    warnings: tuple[str, ...] = ()
    """What forbids comparing the numbers; stands at the top of the page."""

    @property
    def networks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.entry.network for row in self.rows))

    @property
    def places(self) -> tuple[str, ...]:
        """Of all rows; one where everything on the page may be compared."""
        return tuple(dict.fromkeys(row.place for row in self.rows))

    def full(self, network: str, place: str) -> Entry | None:
        """The entry of training `network` on all real rows of that place."""
        for row in self.rows:
            if (row.entry.kind, row.entry.name, row.entry.network, row.place) == ("baseline", "full", network, place):
                return row.entry
        return None

    def judged(self, network: str) -> list[Row]:
        """The rows asked about on that network."""
        return [row for row in self.rows if row.entry.kind == "judged" and row.entry.network == network]

    def best(self) -> Row | None:
        """The judged row of the first network with the best validation accuracy (test accuracy chooses nothing)."""
        judged = self.judged(self.networks[0]) if self.rows else []
        return max(judged, key=lambda row: statistics.mean(row.entry.val), default=None)
