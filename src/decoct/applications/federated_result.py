"""What sharing between clients came to: accuracy against bytes sent, in both directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from decoct.analysis.finding import Chart, Finding, Series, estimate
from decoct.evaluation import statistics

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Sharing:
    """One way of sharing with one seed."""

    way: str
    seed: int
    accuracies: tuple[float, ...]
    """Test accuracy; for FedAvg before the first round and after each."""
    up: tuple[int, ...]
    """Bytes that each sending client sent; empty for FedAvg, whose rounds all weigh the same."""
    rows: int
    """Rows that the server trained on."""
    rows_held: tuple[int, ...]
    """Rows of every client."""
    classes_held: tuple[int, ...]
    """Classes of every client."""
    seconds: float

    @classmethod
    def of(cls, way: str, seed: int, cell: Mapping[str, Any]) -> Sharing:
        """From a finished cell."""
        lists = {name: tuple(cell[name]) for name in ("accuracies", "up", "rows_held", "classes_held")}
        return cls(way=way, seed=seed, rows=cell["rows"], seconds=cell["seconds"], **lists)

    @property
    def total_up(self) -> int:
        """Bytes sent by all clients together."""
        return sum(self.up)


@dataclass(frozen=True)
class Equal:
    """FedAvg at the bytes of the first maker's sets, one seed."""

    rounds: int
    """Whole rounds that fit, weights up and down counted."""
    rounds_up: int
    """Whole rounds that fit where only uploads count."""
    accuracy: float
    """After `rounds`."""
    accuracy_up: float
    """After `rounds_up`."""
    needed: int | None
    """Rounds until it is as accurate as the first maker's sets; None where that did not happen."""
    bytes_needed: int | None
    """Bytes of those rounds, both directions."""


@dataclass(frozen=True)
class Federated:
    """All ways, seed by seed."""

    makers: tuple[str, ...]
    found: tuple[Sharing, ...]
    facts: Mapping[str, Any]
    """Data, seeds, network, bytes of its weights, settings."""

    def of(self, way: str) -> tuple[Sharing, ...]:
        """One way, by seed."""
        return tuple(one for one in self.found if one.way == way)

    def round_bytes(self, one: Sharing) -> tuple[int, int]:
        """Bytes of one round of FedAvg: up, and down; every client with rows takes part."""
        taking = sum(1 for rows in one.rows_held if rows)
        size = taking * int(self.facts["weight_bytes"])
        return size, size

    def equal(self) -> tuple[Equal, ...]:
        """FedAvg at the bytes of the first maker, by seed."""
        return tuple(
            self._equal(first, other) for first, other in zip(self.of(self.makers[0]), self.of("fedavg"), strict=True)
        )

    def _equal(self, first: Sharing, other: Sharing) -> Equal:
        up, down = self.round_bytes(other)
        last = len(other.accuracies) - 1
        rounds, rounds_up = min(last, first.total_up // (up + down)), min(last, first.total_up // up)
        better = [r for r, value in enumerate(other.accuracies) if value >= first.accuracies[0]]
        needed = better[0] if better else None
        return Equal(
            rounds, rounds_up, other.accuracies[rounds], other.accuracies[rounds_up], needed,
            None if needed is None else needed * (up + down),
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "kind": "federated learning", "schema_version": SCHEMA_VERSION, "facts": dict(self.facts),
            "found": [asdict(one) for one in self.found], "equal": [asdict(one) for one in self.equal()],
            "finding": self.finding().to_json(),
        }  # fmt: skip

    def finding(self) -> Finding:
        """Sentence, chart and table, for the report and the terminal."""
        first, equal = self.makers[0], self.equal()
        sent = statistics.mean([float(one.total_up) for one in self.of(first)])
        needed = [one.needed for one in equal if one.needed is not None]
        reach = (
            f"it needs {min(needed)} to {max(needed)} rounds to be as accurate"
            if len(needed) == len(equal)
            else f"with {len(equal) - len(needed)} of {len(equal)} seeds it is never as accurate in the rounds followed"
        )
        sentence = (
            f"{first} sets reach {_percent(self.of(first))} % with {sent:,.0f} bytes sent once; for these bytes, both "
            f"directions counted, FedAvg gets {_range([one.rounds for one in equal])} round(s) and "
            f"{statistics.show_percent([one.accuracy for one in equal])} %; {reach}."
        )
        chart = Chart("bytes sent, both directions", "test accuracy", self._series(), log_x=True, percent=True)
        rows = tuple(self._row(way) for way in (*self.makers, "all rows"))
        return Finding(
            "federated", sentence, chart, (*rows, *self._fedavg_rows(equal)), ("accuracy",), self._notes(), self.facts
        )

    def _series(self) -> tuple[Series, ...]:
        runs = self.of("fedavg")
        size = statistics.mean([float(sum(self.round_bytes(one))) for one in runs])
        places = range(1, len(runs[0].accuracies))
        curve = Series.of(
            "fedavg", [float(r * size) for r in places], [estimate([one.accuracies[r] for one in runs]) for r in places]
        )
        return (*(self._point(way, quiet=False) for way in self.makers), self._point("all rows", quiet=True), curve)

    def _point(self, way: str, quiet: bool) -> Series:
        runs = self.of(way)
        sent = statistics.mean([float(one.total_up) for one in runs])
        return Series.of(way, [float(sent)], [estimate([one.accuracies[0] for one in runs])], line=False, quiet=quiet)

    def _row(self, way: str) -> dict[str, Any]:
        runs = self.of(way)
        return {
            "way": way,
            "accuracy": estimate([one.accuracies[0] for one in runs]),
            "bytes up": round(statistics.mean([float(one.total_up) for one in runs])),
            "bytes down": 0,
            "rounds": 1,
        }

    def _fedavg_rows(self, equal: Sequence[Equal]) -> list[dict[str, Any]]:
        runs, last = self.of("fedavg"), len(self.of("fedavg")[0].accuracies) - 1
        size = statistics.mean([float(self.round_bytes(one)[0]) for one in runs])

        def row(name: str, values: Sequence[float], rounds: Sequence[int]) -> dict[str, Any]:
            sent = round(statistics.mean([float(r) for r in rounds]) * size)
            return {
                "way": name, "accuracy": estimate(values), "bytes up": sent, "bytes down": sent,
                "rounds": _range(rounds),
            }  # fmt: skip

        return [
            row("fedavg, equal bytes", [one.accuracy for one in equal], [one.rounds for one in equal]),
            row("fedavg, equal bytes up", [one.accuracy_up for one in equal], [one.rounds_up for one in equal]),
            row("fedavg, all rounds", [one.accuracies[-1] for one in runs], [last]),
        ]

    def _notes(self) -> tuple[str, ...]:
        held = [one.classes_held for one in self.of(self.makers[0])]
        config = self.facts["config"]
        few = [sum(1 for count in counts if count == 1) for counts in held]
        none = [sum(1 for count in counts if count == 0) for counts in held]
        notes = (
            f"{config['clients']} clients, Dirichlet {config['alpha']:g}: {_range(few)} with one class, "
            f"{_range(none)} with no rows. Classes of which a client has at most {config['ipc']} rows are not sent.",
            "Sets go up once; a round of FedAvg sends all weights down and up. The finished network counts for none.",
            "FedAvg with 0 rounds is the untrained network.",
        )
        return notes if len(self.facts["seeds"]) > 1 else (*notes, "One seed: no interval can be given.")

    def table(self) -> str:
        """For a person: a line for each way."""
        return self.finding().table()


def _percent(runs: Sequence[Sharing]) -> str:
    return statistics.show_percent([one.accuracies[0] for one in runs])


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"
