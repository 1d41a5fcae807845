"""A set with everything that was found about it, as one entry of a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from decoct.analysis.finding import Finding
from decoct.compact.compact_set import CompactSet
from decoct.evaluation.matrix import Matrix
from decoct.evaluation.scorecard import Scorecard
from decoct.report.scored_rows import ScoredRows


@dataclass(frozen=True, eq=False)
class Judged:
    """One set with its scorecard, where it has been judged."""

    name: str
    compact_set: CompactSet | None = None
    scorecard: Scorecard | None = None
    ipc: float | None = None
    """Rows per class that were asked for; without it, counted."""
    seconds: float | None = None
    """Seconds it took to make the set."""
    matrix: Matrix | None = field(default=None, kw_only=True)
    """How it was judged under several augmentations, where it was."""
    label_card: Scorecard | None = field(default=None, kw_only=True)
    """How its rows were judged with labels kept in many ways, where they were."""
    notes: tuple[str, ...] = field(default=(), kw_only=True)
    """What was found beside it and is not shown."""
    findings: tuple[Finding, ...] = ()
    """What analyses of the set found."""
    scored: ScoredRows | None = field(default=None, kw_only=True)
    """Training rows that stand out by their scores, where the folder was scored."""

    @property
    def size(self) -> float:
        """Rows per class."""
        if self.ipc is not None:
            return self.ipc
        if self.compact_set is not None:
            return len(self.compact_set) / self.compact_set.spec.classes
        judged = self.scorecard.judged if self.scorecard else ()
        classes = len(class_names_of(self.scorecard)) if self.scorecard else 1
        return judged[0].rows / max(classes, 1) if judged else 0.0


def with_refused(judged: Sequence[Judged], refused: Sequence[str]) -> list[Judged]:
    """The sets of a comparison, the first with a note for each method that was refused in it."""
    first = [replace(one, notes=(*one.notes, *refused)) for one in judged[:1]]
    return [*first, *judged[1:]]


def class_names_of(card: Scorecard | None) -> tuple[str, ...]:
    return tuple(map(str, card.data.get("class_names", ()))) if card else ()
