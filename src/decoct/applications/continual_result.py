"""What continual learning came to: accuracies by task, and the three numbers that sum them up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from decoct.analysis.finding import Chart, Finding, Series, estimate
from decoct.evaluation import statistics

SCHEMA_VERSION = 1
Matrix = Sequence[Sequence[float]]
"""Row t holds the accuracy after task t on each of the tasks 0 to t, as fractions."""


def after_each(matrix: Matrix) -> tuple[float, ...]:
    """`A_t = mean_{i <= t} a[t, i]`, for every t."""
    return tuple(statistics.mean(row) for row in matrix)


def final_accuracy(matrix: Matrix) -> float:
    """`A_T`: the mean over all tasks after the last one."""
    return after_each(matrix)[-1]


def average_accuracy(matrix: Matrix) -> float:
    """`mean_t A_t`: what the learner was worth on the way."""
    return statistics.mean(after_each(matrix))


def forgetting(matrix: Matrix) -> float | None:
    """`mean_{i < T} (max_{i <= t < T} a[t, i] - a[T, i])`; None for one task. Below 0, old tasks got better.

    Paper: Chaudhry et al., "Riemannian Walk for Incremental Learning" (2018, https://arxiv.org/abs/1801.10112).
    """
    last = len(matrix) - 1
    if last == 0:
        return None
    return statistics.mean([max(matrix[t][i] for t in range(i, last)) - matrix[last][i] for i in range(last)])


@dataclass(frozen=True)
class Run:
    """One memory with one seed."""

    memory: str
    seed: int
    matrix: tuple[tuple[float, ...], ...]
    nbytes: tuple[int, ...]
    """Bytes of the memory after each task."""
    rows: tuple[int, ...]
    """Rows that it taught."""
    tasks: tuple[tuple[int, ...], ...]
    """Classes of each task."""
    seconds: float

    @classmethod
    def of(cls, memory: str, seed: int, cell: Mapping[str, Any]) -> Run:
        """From a finished cell."""
        matrix, tasks = (tuple(tuple(row) for row in cell[name]) for name in ("matrix", "tasks"))
        return cls(memory, seed, matrix, tuple(cell["bytes"]), tuple(cell["rows"]), tasks, cell["seconds"])


@dataclass(frozen=True)
class Continual:
    """All memories, seed by seed."""

    memories: tuple[str, ...]
    runs: tuple[Run, ...]
    facts: Mapping[str, Any]
    """Data, seeds, network, settings."""

    def of(self, memory: str) -> tuple[Run, ...]:
        """The runs of one memory, by seed."""
        return tuple(run for run in self.runs if run.memory == memory)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "kind": "continual learning", "schema_version": SCHEMA_VERSION, "facts": dict(self.facts),
            "runs": [asdict(run) for run in self.runs], "finding": self.finding().to_json(),
        }  # fmt: skip

    def finding(self) -> Finding:
        """Sentence, chart and table, for the report and the terminal."""
        finals = {name: [final_accuracy(run.matrix) for run in self.of(name)] for name in self.memories}
        best = max(self.memories, key=lambda name: statistics.mean(finals[name]))
        told = ", ".join(f"{name} {statistics.show_percent(finals[name])} %" for name in self.memories)
        limit, tasks = self.facts["config"]["nbytes"], len(self.runs[0].matrix)
        sentence = f"After {tasks} tasks with {limit:,} bytes of memory: {told}. {best} ends highest."
        series = tuple(_series(name, self.of(name)) for name in self.memories)
        chart = Chart("task", "accuracy on all classes so far", series, percent=True)
        shares = ("final", f"final over {self.memories[0]}", "average", "forgetting")
        rows = tuple(self._row(name) for name in self.memories)
        return Finding("continual", sentence, chart, rows, shares, self._notes(), self.facts)

    def _row(self, name: str) -> dict[str, Any]:
        runs = self.of(name)
        lost = [value for run in runs if (value := forgetting(run.matrix)) is not None]
        return {
            "memory": name,
            "final": estimate([final_accuracy(run.matrix) for run in runs]),
            f"final over {self.memories[0]}": self._over_first(name),
            "average": estimate([average_accuracy(run.matrix) for run in runs]),
            "forgetting": estimate(lost) if lost else None,
            "bytes": max(max(run.nbytes) for run in runs),
            "rows": max(run.rows[-1] for run in runs),
        }

    def _over_first(self, name: str) -> dict[str, Any] | None:
        """Final accuracy minus that of the first memory, paired by seed: both had the same order of classes."""
        if name == self.memories[0]:
            return None
        pairs = zip(self.of(name), self.of(self.memories[0]), strict=True)
        return estimate([final_accuracy(own.matrix) - final_accuracy(first.matrix) for own, first in pairs])

    def _notes(self) -> tuple[str, ...]:
        way = self.facts["config"]["way"]
        told = "a new network on the memory alone" if way == "scratch" else "one network on the new task and the memory"
        # Beside the rows of a new task every class weighs the same, whatever the memory.
        weighed = ", and its rows are weighted so that every class counts the same" if way == "scratch" else ""
        notes = (
            f"After every task: {told}. Every seed has an order of classes of its own, the same for all memories.",
            "A class's share of the bytes is reserved from the start; a reservoir is full from the first task on"
            f"{weighed}.",
        )
        return notes if len(self.facts["seeds"]) > 1 else (*notes, "One seed: no interval can be given.")

    def table(self) -> str:
        """For a person: a line for each memory."""
        return self.finding().table()


def _series(name: str, runs: Sequence[Run]) -> Series:
    rows = [after_each(run.matrix) for run in runs]
    places = range(1, len(rows[0]) + 1)
    return Series.of(name, [float(t) for t in places], [estimate([row[t - 1] for row in rows]) for t in places])
