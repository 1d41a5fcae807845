"""What attacks came to: members found at low false-positive rates, beside the accuracy that was bought."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from decoct.analysis.finding import Chart, Finding, Series, estimate
from decoct.evaluation import statistics

SCHEMA_VERSION = 1
RATES = (0.001, 0.01)
"""False-positive rates at which members are counted."""


@dataclass(frozen=True, eq=False)
class Attacked:
    """One way of training, attacked: a value for each network."""

    way: str
    auc: tuple[float, ...]
    tpr: Mapping[float, tuple[float, ...]]
    """False-positive rate -> true-positive rate of each network under attack."""
    accuracy: tuple[float, ...]
    """Test accuracy of each network."""
    rows: int
    """Rows that each was trained on."""
    others: int
    """Fewest rows outside the training data of a network: what a low false-positive rate is measured on."""
    seconds: float


@dataclass(frozen=True, eq=False)
class Membership:
    """All ways."""

    ways: tuple[Attacked, ...]
    facts: Mapping[str, Any]
    """Data, seed, network, settings."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        ways = [{**vars(way), "tpr": {f"{rate:g}": values for rate, values in way.tpr.items()}} for way in self.ways]
        return {
            "kind": "membership inference", "schema_version": SCHEMA_VERSION, "facts": dict(self.facts), "ways": ways,
            "finding": self.finding().to_json(),
        }  # fmt: skip

    def finding(self) -> Finding:
        """Sentence, chart and table, for the report and the terminal."""
        low = RATES[0]
        told = ", ".join(f"{way.way} {statistics.show_percent(way.tpr[low])} %" for way in self.ways)
        sentence = (
            f"Of the rows that a network was made from, the attack finds at a false-positive rate of {100 * low:g} %: "
            f"{told}. A guess finds {100 * low:g} %."
        )
        places = [float(place) for place in range(len(self.ways))]
        series = [
            Series.of(f"at {100 * rate:g} %", places, [estimate(way.tpr[rate]) for way in self.ways], line=False)
            for rate in RATES
        ]
        chart = Chart("made from", "members found", tuple(series), percent=True, names=tuple(w.way for w in self.ways))
        names = [f"TPR at {100 * rate:g} % FPR" for rate in RATES]
        rows = tuple(
            {
                "made from": way.way,
                **{name: estimate(way.tpr[rate]) for name, rate in zip(names, RATES, strict=True)},
                "AUC": estimate(way.auc),
                "test accuracy": estimate(way.accuracy),
                "rows trained on": way.rows,
            }
            for way in self.ways
        )
        return Finding(
            "membership", sentence, chart, rows, (*names, "test accuracy"), self._notes(), self.facts
        )  # fmt: skip

    def _notes(self) -> tuple[str, ...]:
        others = min(way.others for way in self.ways)
        notes = [
            "Intervals are over the networks attacked, which are shadows for one another: somewhat too narrow.",
            "An attack that fails proves nothing about a stronger one; only the accountant of a private set does.",
        ]
        notes += [
            f"{others} rows outside are too few for a false-positive rate of {100 * rate:g} %: it means none at all."
            for rate in RATES
            if rate * others < 1
        ]
        return tuple(notes)

    def table(self) -> str:
        """For a person: a line for each way."""
        return self.finding().table()
