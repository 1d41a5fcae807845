"""Hyper-parameter search on small sets: do their validation losses order candidates as all of the data do?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from decoct.analysis.finding import Cell, Chart, Finding, Series
from decoct.applications.candidates import Candidates, Search, losses_on
from decoct.compact.compact_set import CompactSet
from decoct.data.dataset import Dataset
from decoct.errors import ConfigError
from decoct.evaluation.data_facts import data_facts
from decoct.evaluation.match import require_match
from decoct.evaluation.ranking import Agreement, Correlation, agreement, spearman_gain
from decoct.machine import usable_device
from decoct.networks.build import network as build_network
from decoct.streams import Streams
from decoct.training.flat import FlatNetwork
from decoct.training.space import Space

SCHEMA_VERSION = 1
WHOLE = "whole split"
RANDOM = "random"


@dataclass(frozen=True)
class Ordering:
    """How one validation set orders the candidates."""

    name: str
    rows: int
    """Validation rows."""
    agreement: Agreement
    """Of its losses with those of networks trained on all rows, on the whole validation split; regret in nats. Every
    run ranks alone, since runs may have validation sets of their own."""
    same_networks: Agreement
    """Of its losses with those of the same networks (trained on the small set) on the whole validation split."""
    losses: tuple[float, ...]
    """Mean loss of each candidate."""
    gains: Mapping[str, Correlation]
    """Spearman less that of each other validation set on the same candidates and networks, by its name."""


@dataclass(frozen=True)
class HyperparameterSearch:
    """Validation sets in the order they were given, the whole split last."""

    names: tuple[str, ...]
    """Of the hyper-parameters."""
    candidates: tuple[tuple[float, ...], ...]
    """Their values in [0, 1]."""
    orderings: tuple[Ordering, ...]
    truth: tuple[float, ...]
    """Mean validation loss of each candidate, trained and measured on all rows."""
    seconds: float
    """Training all candidates on the small set, one run each; neither making sets nor measuring is counted."""
    full_seconds: float
    """The same on all rows."""
    seeds: int
    network: str
    train_rows: int
    search: Mapping[str, Any]
    data: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"kind": "hyper-parameter search", "schema_version": SCHEMA_VERSION, **asdict(self)}

    def finding(self) -> Finding:
        """Sentence, chart and table, for the report and the terminal."""
        small = [one for one in self.orderings if one.name != WHOLE]
        first = max(small, key=lambda one: one.agreement.spearman.value)
        sentence = (
            f"Of {len(small)} small validation sets {first.name} ({first.rows} rows) orders {len(self.candidates)} "
            f"candidates most like all of the data do: Spearman {first.agreement.spearman.value:.2f}; its choice loses "
            f"{first.agreement.regret.value:.3f} nats. {_time_told(self.seconds, self.full_seconds)}"
        )
        blank = (None,) * len(self.truth)
        series = tuple(Series(one.name, self.truth, one.losses, blank, blank, line=False) for one in self.orderings)
        chart = Chart("validation loss, trained and measured on all rows", "loss on the validation set", series)
        notes = (
            "Intervals of the correlations resample candidates and runs, those of the regret runs alone. Gains over "
            f"{RANDOM} are of the same candidates and runs: one whose interval lies above 0 is one.",
            f"Networks are trained on {self.train_rows} rows of a small set; '{WHOLE}' measures these on every "
            "validation row, which is as well as a small validation set can do.",
        )
        facts = {"data": dict(self.data), "seeds": list(range(self.seeds)), "network": self.network}
        return Finding("hyperparameters", sentence, chart, tuple(map(_row, self.orderings)), (), notes, facts)

    def table(self) -> str:
        """For a person: a line for each validation set."""
        return self.finding().table()


def _time_told(seconds: float, full_seconds: float) -> str:
    """What was timed on the small set and on all rows, in a sentence."""
    ratio = full_seconds / max(seconds, 1e-9)
    said = f"{ratio:.1f} times less time" if ratio >= 1 else f"{1 / max(ratio, 1e-9):.1f} times longer"
    return f"Training all candidates on the small set takes {said} than on all rows; making the sets is not counted."


def _row(one: Ordering) -> dict[str, Cell]:
    return {
        "validation set": one.name,
        "rows": one.rows,
        "Spearman": one.agreement.spearman.to_json(),
        f"gain over {RANDOM}": one.gains[RANDOM].to_json() if RANDOM in one.gains else None,
        "Kendall": one.agreement.kendall.to_json(),
        "Spearman, same networks": one.same_networks.spearman.to_json(),
        "regret, nats": one.agreement.regret.to_json(),
    }


def condensing(data: Dataset) -> Dataset:
    """The same data with the validation split in the place of the training rows: what standard methods condense to
    make a validation set. They may choose by validation accuracy, which is on the rows that they condense.
    """
    return replace(data, train=data.val)


def hyperparameter_search(
    data: Dataset,
    train_set: CompactSet,
    validation_sets: Mapping[str, CompactSet | Sequence[CompactSet]],
    space: Space | None = None,
    *,
    network: str = "convnet2-w8",
    search: Search | None = None,
    seeds: int = 3,
    random_rows: int | None = None,
    out: str | Path | None = None,
    device: str | None = None,
) -> HyperparameterSearch:
    """Train every candidate on `train_set` and on all rows, and compare the orders that validation losses put them in.

    A validation set is one compact set, or one for each seed; `random` draws `random_rows` rows of the split for each
    seed (as many as the largest set) in equal shares of the classes, rounded up, unless that is 0. With `out` trained
    weights are kept, so that the same call with other validation sets trains nothing again. The test split is never
    read.

    Cost: candidates x seeds x (steps on the small set + steps on all rows). Raises `MismatchError` for a set of other
    data, `ConfigError` for too few candidates, no small validation set at all or another number of sets than seeds,
    `DivergenceError`, `OutputError`.
    """
    space, search, device = space or Space(), search or Search(), usable_device(device)
    listed = _listed(validation_sets, seeds, data, train_set)
    _require_random(listed, random_rows)
    net = FlatNetwork(build_network(network, data.spec.shape, data.spec.classes, 0).to(device))
    candidates = space.candidates(net, search.candidates, Streams(search.seed)("candidates")).to(device)
    bench = Candidates(data, train_set, space, network, net, search, None if out is None else Path(out), device)
    trained = bench.all(candidates, seeds)
    rows = max((len(sets[0]) for sets in listed.values()), default=10 * data.spec.classes)
    count = rows if random_rows is None else random_rows
    measured = {name: [bench.rows_of(one) for one in sets] for name, sets in listed.items()}
    if count:
        measured[RANDOM] = [bench.random(count, seed) for seed in range(seeds)]
    measured[WHOLE] = [bench.whole()] * seeds
    small, full = [[one[0] for one in runs] for runs in trained], [[one[1] for one in runs] for runs in trained]
    truth = losses_on(net, full, measured[WHOLE])
    same = losses_on(net, small, measured[WHOLE])
    tables = {name: losses_on(net, small, sets) for name, sets in measured.items()}
    orderings = tuple(
        Ordering(
            name, len(measured[name][0].inputs), agreement(-table, -truth, runs="alone"),
            agreement(-table, -same, runs="paired"),
            tuple(table.mean(0).tolist()),
            {other: spearman_gain(-table, -its, -truth) for other, its in tables.items() if other != name},
        )
        for name, table in tables.items()
    )  # fmt: skip
    times = np.array([[one[2:] for one in runs] for runs in trained]).mean(0).sum(0)
    return HyperparameterSearch(
        space.names(net), tuple(map(tuple, candidates.tolist())), orderings, tuple(truth.mean(0).tolist()),
        float(times[0]), float(times[1]), seeds, network, len(train_set), asdict(search), data_facts(data),
    )  # fmt: skip


def _require_random(listed: Mapping[str, Sequence[CompactSet]], random_rows: int | None) -> None:
    """Raise `ConfigError` for a number of random rows below 0, or of 0 where there is no other small set."""
    least = 0 if listed else 1
    if random_rows is not None and random_rows < least:
        raise ConfigError(
            "searching hyper-parameters",
            received=f"random_rows={random_rows} beside {len(listed)} validation sets",
            expected=f"{least} or more" + ("" if listed else ": one small validation set at least is compared"),
            remedy="give a validation set, or leave random_rows out",
        )


def _listed(
    given: Mapping[str, CompactSet | Sequence[CompactSet]], seeds: int, data: Dataset, train_set: CompactSet
) -> dict[str, list[CompactSet]]:
    """Every validation set as a list of one, or of one for each seed."""
    if seeds < 1:
        raise ConfigError(
            "searching hyper-parameters", received=f"seeds={seeds}", expected="1 or more", remedy="give more seeds"
        )
    found = {name: [one] if isinstance(one, CompactSet) else list(one) for name, one in given.items()}
    for name, sets in found.items():
        if name in (RANDOM, WHOLE) or len(sets) not in (1, seeds):
            raise ConfigError(
                "searching hyper-parameters",
                received=f"{len(sets)} validation sets called {name!r} and {seeds} seeds",
                expected=f"one, or one for each seed, and a name other than {RANDOM!r} and {WHOLE!r}",
                remedy="give one set, or as many as seeds",
            )
    called = "searching hyper-parameters with compact sets"
    for one in [train_set, *(one for sets in found.values() for one in sets)]:
        require_match(one.spec, data.spec, called)
        if one.label_kind == "scores":
            raise ConfigError(
                called, received="a set whose labels are scores of a regression",
                expected="hard labels or probabilities: candidates are compared by cross-entropy",
                remedy="make the set with hard labels",
            )  # fmt: skip
        if one.temperature != 1:
            raise ConfigError(
                called, received=f"a set whose labels were made at temperature {one.temperature:g}",
                expected="hard labels, or probabilities at temperature 1: candidates are trained and compared by "
                "cross-entropy at 1",
                remedy="make the set with hard labels, or with Teacher(temperature=1)",
            )  # fmt: skip
    return found
