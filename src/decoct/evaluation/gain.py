"""What an entry gains over random rows: labels of the same kind wherever they were judged."""

from __future__ import annotations

from dataclasses import dataclass

from decoct.evaluation.scorecard import Entry, Scorecard

RANDOM, TAUGHT = "random", "random+teacher"


@dataclass(frozen=True)
class Gain:
    """Accuracy of an entry minus that of random rows of the same bytes in the same run, as fractions."""

    rival: str
    """The baseline that it is over, as a table calls it: random rows, or those with the labels of a teacher."""
    values: tuple[float, ...]
    """By seed where both were judged on the same seeds; else one, the difference of the means."""


def gain_over_random(entry: Entry, card: Scorecard) -> Gain | None:
    """The gain of `entry`, or None where there is nothing to compare with.

    Soft labels alone lift random rows by several points, so an entry with soft labels is over `random+teacher`, random
    rows with the labels of a teacher, where that baseline is there, and over plain random rows, which the rival then
    says, where it is not. The baseline `random+teacher` itself is over plain random rows.
    """
    wanted = (RANDOM,) if entry.label_kind == "hard" or entry.name == TAUGHT else (TAUGHT, RANDOM)
    beside = {other.name: other for other in card.baselines if other.network == entry.network}
    rival = next((beside[name] for name in wanted if name in beside), None)
    if rival is None:
        return None
    if rival.seeds == entry.seeds:
        return Gain(rival.label, tuple(a - b for a, b in zip(entry.last, rival.last, strict=True)))
    return Gain(rival.label, (entry.mean - rival.mean,))
