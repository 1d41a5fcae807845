"""What sharing between clients came to: accuracy against bytes sent, in both directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
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

    affordable: int
    """Whole rounds that these bytes pay for, both directions counted."""
    affordable_up: int
    """Whole rounds that they pay for where only uploads count."""
    rounds: int
    """Those of `affordable` that were followed: fewer say nothing of what FedAvg would have reached."""
    rounds_up: int
    """Those of `affordable_up` that were followed."""
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

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Federated:
        """What `to_json` gave; sentences, tables and equal bytes are counted anew. Raises `KeyError`, `TypeError`."""
        names = {item.name for item in fields(Sharing)}
        found = tuple(Sharing.of(one["way"], one["seed"], {k: one[k] for k in names}) for one in value["found"])
        makers = tuple(dict.fromkeys(one.way for one in found if one.way not in ("all rows", "fedavg")))
        return cls(makers, found, value["facts"])

    def up_bytes(self, one: Sharing) -> int:
        """Bytes that one round of FedAvg sends up; every client with rows takes part."""
        return sum(1 for rows in one.rows_held if rows) * int(self.facts["weight_bytes"])

    def bytes_of(self, one: Sharing, rounds: int) -> tuple[int, int]:
        """Bytes of so many rounds, up and down: the weights that all begin with follow from a shared seed."""
        size = self.up_bytes(one)
        return rounds * size, max(0, rounds - 1) * size

    def equal(self) -> tuple[Equal, ...]:
        """FedAvg at the bytes of the first maker, by seed."""
        return tuple(
            self._equal(first, other) for first, other in zip(self.of(self.makers[0]), self.of("fedavg"), strict=True)
        )

    def _equal(self, first: Sharing, other: Sharing) -> Equal:
        size, last = self.up_bytes(other), len(other.accuracies) - 1
        # r rounds cost r uploads and r - 1 downloads.
        paid, paid_up = (first.total_up + size) // (2 * size), first.total_up // size
        rounds, rounds_up = min(last, paid), min(last, paid_up)
        better = [r for r, value in enumerate(other.accuracies) if value >= first.accuracies[0]]
        needed = better[0] if better else None
        return Equal(
            paid, paid_up, rounds, rounds_up, other.accuracies[rounds], other.accuracies[rounds_up], needed,
            None if needed is None else sum(self.bytes_of(other, needed)),
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
            f"{first} sets reach {_percent(self.of(first))} % with {sent:,.0f} bytes sent once; for these bytes, "
            f"both directions counted, FedAvg gets {_range([one.affordable for one in equal])} "
            f"round(s){_followed(equal)} and {statistics.show_percent([one.accuracy for one in equal])} %; {reach}."
        )
        chart = Chart("bytes sent, both directions", "test accuracy", self._series(), log_x=True, percent=True)
        rows = tuple(self._row(way) for way in (*self.makers, "all rows"))
        return Finding(
            "federated", sentence, chart, (*rows, *self._fedavg_rows(equal)), ("accuracy",), self._notes(), self.facts
        )

    def _series(self) -> tuple[Series, ...]:
        runs = self.of("fedavg")
        places = range(1, len(runs[0].accuracies))
        sizes = [statistics.mean([float(sum(self.bytes_of(one, r))) for one in runs]) for r in places]
        curve = Series.of("fedavg", sizes, [estimate([one.accuracies[r] for one in runs]) for r in places])
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

        def row(name: str, values: Sequence[float], rounds: Sequence[int]) -> dict[str, Any]:
            sent = [self.bytes_of(one, count) for one, count in zip(runs, rounds, strict=True)]
            up, down = (round(statistics.mean([float(pair[side]) for pair in sent])) for side in (0, 1))
            return {
                "way": name, "accuracy": estimate(values), "bytes up": up, "bytes down": down, "rounds": _range(rounds),
            }  # fmt: skip

        return [
            row("fedavg, equal bytes", [one.accuracy for one in equal], [one.rounds for one in equal]),
            row("fedavg, equal bytes up", [one.accuracy_up for one in equal], [one.rounds_up for one in equal]),
            row("fedavg, all rounds", [one.accuracies[-1] for one in runs], [last] * len(runs)),
        ]

    def _notes(self) -> tuple[str, ...]:
        held = [one.classes_held for one in self.of(self.makers[0])]
        config = self.facts["config"]
        local = config["local"]
        dtype = config.get("weights_dtype", "float32")
        few = [sum(1 for count in counts if count == 1) for counts in held]
        none = [sum(1 for count in counts if count == 0) for counts in held]
        notes = (
            f"{config['clients']} clients, Dirichlet {config['alpha']:g}: {_range(few)} with one class, "
            f"{_range(none)} with no rows. Classes of which a client has at most {config['ipc']} rows are not sent.",
            f"Sets go up once; a round of FedAvg sends all weights down and up as {dtype}, the first one up alone, "
            "since they begin with a shared seed. The finished network counts for none.",
            "FedAvg with 0 rounds is the untrained network.",
            f"Clients of FedAvg train {local['epochs']} pass(es) a round, {local['optimizer']} of step size "
            f"{local['lr']:g}. Neither was searched for: others may reach more in as many bytes.",
        )
        short = [one for one in self.equal() if one.rounds < one.affordable or one.rounds_up < one.affordable_up]
        if short:
            notes += (
                f"The bytes of the sets would pay for more rounds than were followed with {len(short)} of "
                f"{len(self.facts['seeds'])} seeds: FedAvg at equal bytes may be better than is shown here.",
            )
        return notes if len(self.facts["seeds"]) > 1 else (*notes, "One seed: no interval can be given.")

    def table(self) -> str:
        """For a person: a line for each way."""
        return self.finding().table()


def _followed(equal: Sequence[Equal]) -> str:
    """Said only where the bytes would pay for more rounds than were followed."""
    if all(one.rounds == one.affordable for one in equal):
        return ""
    return f", of which only {_range([one.rounds for one in equal])} were followed,"


def _percent(runs: Sequence[Sharing]) -> str:
    return statistics.show_percent([one.accuracies[0] for one in runs])


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"
