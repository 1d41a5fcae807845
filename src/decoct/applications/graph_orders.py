"""Filters of a graph ordered by condensed validation graphs, beside the order by all validation nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np
from torch import Tensor

from decoct.analysis.finding import Cell, Chart, Finding, Series
from decoct.applications.graph_model import DECAY, FILTERS, GraphSearch, Model, Response
from decoct.applications.graph_search import Method, condense, losses_on
from decoct.data.graph import Graph
from decoct.errors import ConfigError
from decoct.evaluation.cells import Records
from decoct.evaluation.ranking import Agreement, agreement
from decoct.files import make_folder
from decoct.progress import progress
from decoct.registry import unknown_name

SCHEMA_VERSION = 1
METHODS: tuple[Method, ...] = ("random", "distribution", "hcdc")


@dataclass(frozen=True)
class Ordering:
    """How condensed graphs of one method order the candidates; each ranks alone, measures are their means."""

    name: str
    nodes: int
    """Of each condensed graph."""
    agreement: Agreement
    """Of its losses with those on all validation nodes; regret in nats."""
    losses: tuple[float, ...]
    """Mean loss of each candidate."""
    choice: str
    """The candidate with the least mean loss."""


@dataclass(frozen=True)
class GraphOrders:
    """The candidates, and what each method makes of their order."""

    candidates: tuple[str, ...]
    truth: tuple[float, ...]
    """Loss of each candidate on all validation nodes."""
    orderings: tuple[Ordering, ...]
    facts: Mapping[str, Any]
    """Graph, settings, seeds."""

    @property
    def best(self) -> str:
        """The candidate that all validation nodes choose."""
        return self.candidates[int(np.argmin(self.truth))]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"kind": "order of graph filters", "schema_version": SCHEMA_VERSION, "best": self.best, **asdict(self)}

    def finding(self) -> Finding:
        """Sentence, chart and table, for the report and the terminal."""
        first = max(self.orderings, key=lambda one: one.agreement.spearman.value)
        sentence = (
            f"Of {len(self.orderings)} ways to condense {self.facts['graph']['val']} validation nodes {first.name} "
            f"({first.nodes} nodes) orders {len(self.candidates)} filters most like all of them do: Spearman "
            f"{first.agreement.spearman.value:.2f}; its choice loses {first.agreement.regret.value:.3f} nats. All "
            f"nodes choose {self.best}."
        )
        blank = (None,) * len(self.truth)
        series = tuple(Series(one.name, self.truth, one.losses, blank, blank, line=False) for one in self.orderings)
        chart = Chart("loss on all validation nodes", "loss on the condensed graph", series)
        notes = (
            "Every condensed graph orders alone, and measures are means over the seeds.",
            "Intervals of the correlations resample candidates and seeds, those of the regret seeds alone.",
        )
        return Finding("graph", sentence, chart, tuple(map(_row, self.orderings)), (), notes, self.facts)

    def table(self) -> str:
        """For a person: a line for each method."""
        return self.finding().table()


def _row(one: Ordering) -> dict[str, Cell]:
    return {
        "condensed by": one.name, "nodes": one.nodes, "Spearman": one.agreement.spearman.to_json(),
        "Kendall": one.agreement.kendall.to_json(), "regret, nats": one.agreement.regret.to_json(),
        "chooses": one.choice,
    }  # fmt: skip


def order_filters(
    graph: Graph,
    methods: Sequence[Method | str] = METHODS,
    search: GraphSearch | None = None,
    *,
    per_class: int = 1,
    seeds: int = 3,
    out: str | Path | None = None,
) -> GraphOrders:
    """Fit every candidate of `search` on the training nodes, condense the validation nodes to `per_class` of each class
    by each of `methods` (`graph_search.condense`) and each seed, and compare the orders that losses put candidates in.

    With `out` losses are kept in `out/cells` and never measured twice. Test nodes are never read. Cost: a fit for each
    candidate and each point of the trajectories, and `search.steps` steps for each graph that is learned.

    Raises `UnknownNameError` for a method that does not exist, `ConfigError` for no methods or seeds, `BudgetError`
    where a class has fewer validation nodes, `DataError` for fewer than 3 candidates, `DivergenceError`, `OutputError`.
    """
    search, names = search or GraphSearch(), tuple(dict.fromkeys(methods))
    _require(names, per_class, seeds)
    work = _Work(graph, search, Records(None if out is None else make_folder(Path(out) / "cells")))
    truth = np.array([work.truth()])
    tables: dict[str, np.ndarray] = {}
    with progress("condensing validation graphs", float(len(names) * seeds)) as tick:
        for place, name in enumerate(names):
            losses = []
            for seed in range(seeds):
                tick(place * seeds + seed, f"{name}, seed {seed}")
                losses.append(work.condensed(name, per_class, seed))
            tables[name] = np.array(losses)
    candidates = candidate_names(search)
    orderings = tuple(
        Ordering(
            name, per_class * graph.classes, agreement(-table, -truth, runs="alone"), tuple(table.mean(0).tolist()),
            candidates[int(table.mean(0).argmin())],
        )
        for name, table in tables.items()
    )  # fmt: skip
    facts = {
        "graph": graph.facts(), "search": asdict(search), "per_class": per_class, "seeds": list(range(seeds)),
    }  # fmt: skip
    return GraphOrders(candidates, tuple(truth[0].tolist()), orderings, facts)


def candidate_names(search: GraphSearch) -> tuple[str, ...]:
    """What each row of `search.grid()` is, in words."""
    grid = search.grid()
    decays = [f"decay {float(search.decay(u)):.1e}" for u in grid]
    if search.discrete:
        words = [list(FILTERS)[int(u[1:].argmax())] for u in grid]
    else:
        words = [" ".join(f"{value:+.2f}" for value in search.coefficients(u).tolist()) for u in grid]
    return tuple(f"{word}, {decay}" for word, decay in zip(words, decays, strict=True))


@dataclass(frozen=True)
class _Work:
    """Losses of all candidates; networks are trained only where a loss is missing."""

    graph: Graph
    search: GraphSearch
    records: Records

    def truth(self) -> list[float]:
        return self._once({"on": "all validation nodes"}, lambda: self._losses_of(None))

    def condensed(self, method: Any, per_class: int, seed: int) -> list[float]:
        def measured() -> list[float]:
            points = self._points if method.startswith("hcdc") else None
            return self._losses_of(condense(self._model, method, per_class, seed, points))

        return self._once({"on": method, "per_class": per_class, "seed": seed}, measured)

    def _once(self, key: dict[str, Any], work: Any) -> list[float]:
        # Filters and the range of decays are no settings, and yet decide.
        full = {
            "graph": self.graph.key(), "search": repr(self.search), "space": repr((FILTERS, DECAY)), "filters": 1,
            **key,
        }  # fmt: skip
        found = self.records.find(full)
        if found is None:
            found = {"losses": work()}
            self.records.keep(full, found)
        return found["losses"]

    def _losses_of(self, condensed: Any) -> list[float]:
        return losses_on(self._model, condensed, self._weights)

    @cached_property
    def _model(self) -> Model:
        return Model(self.graph, self.search)

    @cached_property
    def _weights(self) -> list[Tensor]:
        with progress("training filters", float(len(self.search.grid()))) as tick:
            found = []
            for number, u in enumerate(self.search.grid()):
                found.append(self._model.fit(u))
                tick(number + 1)
        return found

    @cached_property
    def _points(self) -> list[Response]:
        return self._model.points(0)


def _require(names: tuple[str, ...], per_class: int, seeds: int) -> None:
    for name in names:
        if name not in get_args(Method):
            raise unknown_name("way to condense a graph", name, sorted(get_args(Method)))
    for option, good, received, expected in (
        ("methods", bool(names), "none", "at least one"),
        ("nodes of each class", per_class >= 1, per_class, "at least 1"),
        ("seeds", seeds >= 1, seeds, "at least 1, two or more for an interval of the regret"),
    ):
        if not good:
            raise ConfigError(
                "ordering filters on a graph", received=f"{option}: {received}", expected=expected,
                remedy=f"give more {option}",
            )  # fmt: skip
