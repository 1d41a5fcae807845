"""Hyper-parameter search on small sets: do their validation losses order candidates as all of the data do?"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from decoct.analysis.finding import Cell, Chart, Finding, Series
from decoct.compact.compact_set import CompactSet
from decoct.data.dataset import Dataset, Split
from decoct.errors import ConfigError
from decoct.evaluation.data_facts import data_facts, data_key
from decoct.evaluation.match import require_match
from decoct.evaluation.ranking import FEWEST_ITEMS, Agreement, agreement
from decoct.files import write_atomically
from decoct.machine import usable_device
from decoct.networks.build import network as build_network
from decoct.progress import progress
from decoct.streams import Streams, derive_seed
from decoct.training.flat import FlatNetwork
from decoct.training.hyperparameters import Space
from decoct.training.responses import PIECE, Rows, train_at

SCHEMA_VERSION = 1
WHOLE = "whole split"
RANDOM = "random"


@dataclass(frozen=True)
class Search:
    """Which candidates there are, and how a network is trained at each."""

    candidates: int = 40
    """Hyper-parameters to be ordered: uniform in continuous kinds, pure choices in discrete ones."""
    steps: int = 150
    """Training steps on the small set, all rows in one."""
    full_steps: int = 300
    """Training steps on all rows."""
    full_batch: int = 64
    """Rows of one of these."""
    lr: float = 0.01
    """Step size of Adam, cosine down to 0."""
    seed: int = 0
    """Of the candidates."""

    def __post_init__(self) -> None:
        for name, low in (("candidates", FEWEST_ITEMS), ("steps", 1), ("full_steps", 1), ("full_batch", 1)):
            if getattr(self, name) < low:
                raise ConfigError(
                    f"setting {name} of a Search", received=repr(getattr(self, name)), expected=f"{low} or more",
                    remedy=f"give another {name}",
                )  # fmt: skip


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
    """Training and measuring all candidates on the small set, one run each."""
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
            f"{first.agreement.regret.value:.3f} nats. The search takes {self.full_seconds / self.seconds:.1f} times "
            "less time."
        )
        blank = (None,) * len(self.truth)
        series = tuple(Series(one.name, self.truth, one.losses, blank, blank, line=False) for one in self.orderings)
        chart = Chart("validation loss, trained and measured on all rows", "loss on the validation set", series)
        notes = (
            "Intervals of the correlations resample candidates and runs, those of the regret runs alone.",
            f"Networks are trained on {self.train_rows} rows of a small set; '{WHOLE}' measures these on every "
            "validation row, which is as well as a small validation set can do.",
        )
        facts = {"data": dict(self.data), "seeds": list(range(self.seeds)), "network": self.network}
        return Finding("hyperparameters", sentence, chart, tuple(map(_row, self.orderings)), (), notes, facts)

    def table(self) -> str:
        """For a person: a line for each validation set."""
        return self.finding().table()


def _row(one: Ordering) -> dict[str, Cell]:
    return {
        "validation set": one.name,
        "rows": one.rows,
        "Spearman": one.agreement.spearman.to_json(),
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
    seed (as many as the largest set, in equal shares of the classes), unless that is 0. With `out` trained weights are
    kept, so that the same call with other validation sets trains nothing again. The test split is never read.

    Cost: candidates x seeds x (steps on the small set + steps on all rows). Raises `MismatchError` for a set of other
    data, `ConfigError` for too few candidates or another number of sets than seeds, `DivergenceError`, `OutputError`.
    """
    space, search, device = space or Space(), search or Search(), usable_device(device)
    listed = _listed(validation_sets, seeds, data, train_set)
    net = FlatNetwork(build_network(network, data.spec.shape, data.spec.classes, 0).to(device))
    candidates = space.candidates(net, search.candidates, Streams(search.seed)("candidates")).to(device)
    bench = _Bench(data, train_set, space, network, net, search, None if out is None else Path(out), device)
    trained = bench.all(candidates, seeds)
    rows = max((len(sets[0]) for sets in listed.values()), default=10 * data.spec.classes)
    count = rows if random_rows is None else random_rows
    measured = {name: [bench.rows_of(one) for one in sets] for name, sets in listed.items()}
    if count:
        measured[RANDOM] = [bench.random(count, seed) for seed in range(seeds)]
    measured[WHOLE] = [bench.whole()] * seeds
    small, full = [[one[0] for one in runs] for runs in trained], [[one[1] for one in runs] for runs in trained]
    truth = _losses(net, full, measured[WHOLE])
    same = _losses(net, small, measured[WHOLE])
    tables = {name: _losses(net, small, sets) for name, sets in measured.items()}
    orderings = tuple(
        Ordering(
            name, len(measured[name][0].inputs), agreement(-table, -truth, runs="alone"),
            agreement(-table, -same, runs="paired"),
            tuple(table.mean(0).tolist()),
        )
        for name, table in tables.items()
    )  # fmt: skip
    times = np.array([[one[2:] for one in runs] for runs in trained]).mean(0).sum(0)
    return HyperparameterSearch(
        space.names(net), tuple(map(tuple, candidates.tolist())), orderings, tuple(truth.mean(0).tolist()),
        float(times[0]), float(times[1]), seeds, network, len(train_set), asdict(search), data_facts(data),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Bench:
    """Trains candidates, and keeps what it trained."""

    data: Dataset
    train_set: CompactSet
    space: Space
    network: str
    net: FlatNetwork
    search: Search
    out: Path | None
    device: str

    def all(self, candidates: Tensor, seeds: int) -> list[list[tuple[Tensor, Tensor, float, float]]]:
        """For each seed and candidate: weights from the small set, weights from all rows, and the seconds of either."""
        small, full = self.rows_of(self.train_set), self._split(self.data.train)
        runs = []
        with progress("training candidates", seeds * len(candidates)) as tick:
            for seed in range(seeds):
                runs.append([])
                for number, u in enumerate(candidates):
                    runs[-1].append(self._one(u, seed, small, full))
                    tick(seed * len(candidates) + number + 1)
        return runs

    def _one(self, u: Tensor, seed: int, small: Rows, full: Rows) -> tuple[Tensor, Tensor, float, float]:
        key = {
            "set": self.train_set.content_hash, "data": data_key(self.data), "network": self.network,
            "space": repr(self.space), "search": {**asdict(self.search), "candidates": 0}, "u": u.tolist(),
            "seed": seed, "schema": SCHEMA_VERSION,
        }  # fmt: skip
        name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
        path = None if self.out is None else self.out / "candidates" / f"{name}.safetensors"
        if path is not None and path.exists() and (found := _read(path, self.device)) is not None:
            return found
        module = build_network(self.network, self.data.spec.shape, self.data.spec.classes, derive_seed(seed, "search"))
        start = self.net.flatten(module).to(self.device)
        weights, seconds = [], []
        for rows, steps, batch in (
            (small, self.search.steps, None),
            (full, self.search.full_steps, self.search.full_batch),
        ):
            began = time.perf_counter()
            generator = Streams(derive_seed(seed, "search"))("batches")
            weights.append(
                train_at(
                    self.net, self.space, u, start, start, rows, steps=steps, lr=self.search.lr, batch=batch,
                    generator=generator,
                )
            )  # fmt: skip
            seconds.append(time.perf_counter() - began)
        if path is not None:
            kept = {"small": weights[0].cpu(), "full": weights[1].cpu()}
            kept["seconds"] = torch.tensor(seconds, dtype=torch.float64)
            write_atomically(path, lambda file: save_file(kept, file))
        return weights[0], weights[1], seconds[0], seconds[1]

    def rows_of(self, compact_set: CompactSet) -> Rows:
        inputs, targets, _ = compact_set.materialize()
        return self._rows(inputs, targets)

    def whole(self) -> Rows:
        return self._split(self.data.val)

    def random(self, count: int, seed: int) -> Rows:
        """Random rows of the validation split, classes in equal shares."""
        generator = Streams(derive_seed(seed, "search"))("random")
        share = -(-count // self.data.spec.classes)
        picked = [
            torch.from_numpy(members)[torch.randperm(len(members), generator=generator)[:share]]
            for members in self.data.val.class_rows(self.data.spec.classes)
        ]
        return self._split(self.data.val.take(torch.cat(picked)))

    def _split(self, split: Split) -> Rows:
        return self._rows(self.data.inputs(split), split.labels())

    def _rows(self, inputs: Tensor, targets: Tensor) -> Rows:
        soft = targets if targets.is_floating_point() else F.one_hot(targets, self.data.spec.classes).float()
        return Rows(inputs.to(self.device), soft.to(self.device))


def _read(path: Path, device: str) -> tuple[Tensor, Tensor, float, float] | None:
    try:
        found = load_file(path)
        first, second = found["seconds"].tolist()
        return found["small"].to(device), found["full"].to(device), first, second
    except (OSError, KeyError, ValueError, SafetensorError):
        return None


def _losses(net: FlatNetwork, weights: list[list[Tensor]], sets: Sequence[Rows]) -> np.ndarray:
    """`[seeds, candidates]`: losses of the networks of each seed on the validation set of that seed."""
    many = sets if len(sets) > 1 else [sets[0]] * len(weights)
    with torch.no_grad():
        found = [[_loss(net, theta, rows) for theta in runs] for runs, rows in zip(weights, many, strict=True)]
    return np.array(found, dtype=np.float64)


def _loss(net: FlatNetwork, theta: Tensor, rows: Rows) -> float:
    pieces = zip(rows.inputs.split(PIECE), rows.targets.split(PIECE), strict=True)
    return sum(float(F.cross_entropy(net.logits(theta, x), y, reduction="sum")) for x, y in pieces) / len(rows.inputs)


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
    return found
