"""What ranking networks by small sets came to: order, choice, and the time it took, the making of the sets with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from decoct.analysis.finding import Cell, Chart, Finding, Series
from decoct.evaluation.ranking import Agreement

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Proxy:
    """One cheap way to rank networks, beside the full training."""

    name: str
    rows: int
    """Rows that every network is trained on."""
    nbytes: int
    agreement: Agreement
    """Of validation accuracy under the proxy with test accuracy after full training."""
    chosen: str
    """The network it would choose."""
    top_spearman: float | None
    """Spearman among the better half by full training, where it is hard; None for fewer than 6 networks."""
    seconds: float
    """Training time of all networks, one run each: the ranking, once there is a set."""
    made_seconds: float | None
    """Seconds that making the set took, by its own record; 0 where nothing is made, None where it is not known."""
    times_faster: float
    """Training time of the full way divided by `seconds`: ranking alone, as if the set had been there already."""
    times_faster_made: float | None
    """The same divided by `seconds + made_seconds`; below 1 the proxy took longer. None where making is not known."""
    accuracies: tuple[float, ...]
    """Mean validation accuracy of each network."""


@dataclass(frozen=True)
class ArchitectureSearch:
    """Proxies in the order they were given, and the full training of every network."""

    networks: tuple[str, ...]
    proxies: tuple[Proxy, ...]
    truth: tuple[float, ...]
    """Mean test accuracy of each network trained on all rows."""
    ceiling: Agreement
    """Of the validation accuracy of the full training itself with its test accuracy: as good as a ranking can be."""
    full_seconds: float
    """Training time of all networks on all rows, one run each."""
    seeds: int
    """How many runs of each network."""
    protocol: Mapping[str, Any]
    data: Mapping[str, Any]
    run_seeds: tuple[int, ...]
    """The seeds of these runs."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Networks of which a run diverged, which no number here counts, and what they were trained on there."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"kind": "architecture search", "schema_version": SCHEMA_VERSION, **asdict(self)}

    def finding(self) -> Finding:
        """Sentence, chart and table, for the report and the terminal."""
        best = max(range(len(self.truth)), key=lambda place: self.truth[place])
        first = max(self.proxies, key=lambda proxy: proxy.agreement.spearman.value)
        sentence = (
            f"{len(self.networks)} networks reach {100 * min(self.truth):.1f} to {100 * self.truth[best]:.1f} % when "
            f"trained on all rows; {first.name} ranks them best (Spearman {first.agreement.spearman.value:.2f}) and "
            f"chooses {first.chosen}, which loses {100 * first.agreement.regret.value:.1f} points. "
            f"{_spent(first, self.full_seconds)}"
        )
        series = tuple(
            Series(proxy.name, self.truth, proxy.accuracies, *([(None,) * len(self.truth)] * 2), line=False)
            for proxy in self.proxies
        )
        chart = Chart(
            "test accuracy after full training", "validation accuracy under the proxy, %", series, percent=True
        )
        notes = (
            "Intervals of the correlations resample networks and runs, those of the regret runs alone.",
            f"Validation accuracy of the full training itself: Spearman {self.ceiling.spearman.value:.2f}, regret "
            f"{100 * self.ceiling.regret.value:.1f} points; it takes {self.full_seconds:.0f} s a run of all networks.",
            "'times faster' is full training over ranking alone, as if the set had been there; 'set included' counts "
            "the making of the set once and the ranking once, and is below 1 where the proxy took longer.",
            *self._left_out(),
        )
        facts = {"data": dict(self.data), "seeds": list(self.run_seeds), "network": f"{len(self.networks)} networks"}
        return Finding("architectures", sentence, chart, tuple(map(_row, self.proxies)), ("regret",), notes, facts)

    def _left_out(self) -> tuple[str, ...]:
        told = ", ".join(f"{name} ({where})" for name, where in self.left_out.items())
        return (f"Left out of every number, because runs of them diverged: {told}.",) if told else ()

    def table(self) -> str:
        """For a person: a line for each proxy."""
        return self.finding().table()


def _row(proxy: Proxy) -> dict[str, Cell]:
    found = proxy.agreement
    return {
        "proxy": proxy.name,
        "rows": proxy.rows,
        "Spearman": found.spearman.to_json(),
        "Kendall": found.kendall.to_json(),
        "Spearman, better half": proxy.top_spearman,
        "regret": found.regret.to_json(),
        "chooses": proxy.chosen,
        "made in, s": proxy.made_seconds,
        "ranked in, s": proxy.seconds,
        "times faster": proxy.times_faster,
        "times faster, set included": proxy.times_faster_made,
    }


def _spent(proxy: Proxy, full_seconds: float) -> str:
    """One sentence about the time of a proxy, the making of its set with it."""
    said = (
        f"Ranking by it took {proxy.seconds:.1f} s where full training took {full_seconds:.1f} s "
        f"({proxy.times_faster:.1f} times faster)"
    )
    if proxy.made_seconds == 0:
        return f"{said}; there was nothing to make."
    if proxy.made_seconds is None or proxy.times_faster_made is None:
        return f"{said}; how long its set took to make is not known."
    total = f"with the {proxy.made_seconds:.1f} s of making the set the whole took"
    if proxy.times_faster_made < 1:
        return f"{said}; {total} {1 / proxy.times_faster_made:.1f} times longer than full training."
    return f"{said}; {total} {proxy.times_faster_made:.1f} times less."
