"""One-shot federated learning: clients send small sets once, a server trains on them; beside FedAvg at equal bytes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from decoct.applications.class_subset import real_rows, rows_of_set, together
from decoct.applications.client_split import dirichlet_split
from decoct.applications.client_work import FederatedConfig, Unit, client_units, made_by_client
from decoct.applications.fedavg import LOCAL, fedavg, weight_bytes
from decoct.applications.federated_result import Federated, Sharing
from decoct.applications.memory import row_cost
from decoct.applications.small_set import is_recipe, require_maker, require_usable
from decoct.compact.compact_set import CompactSet
from decoct.data.dataset import Dataset
from decoct.engine import Engine, Local
from decoct.errors import ConfigError
from decoct.evaluation.cells import Records
from decoct.evaluation.contender import Material
from decoct.evaluation.data_facts import data_facts, data_key
from decoct.files import make_folder
from decoct.networks.build import default_network, network
from decoct.networks.identity import network_identity
from decoct.progress import progress
from decoct.selection.driver import select
from decoct.streams import derive_seed
from decoct.training.accuracy import accuracy

MAKERS = ("dm", "random")
ALL_ROWS = "all rows"


def federated(
    data: Dataset,
    makers: Sequence[str] = MAKERS,
    config: FederatedConfig | None = None,
    *,
    seeds: int | Sequence[int] = 3,
    engine: Engine | None = None,
    out: str | Path | None = None,
) -> Federated:
    """Split the training rows over clients, let each send one small set, train on their union, and measure on test.

    The first maker decides the bytes: a recipe sends `ipc` images of each class of which a client has more than `ipc`
    rows (a tenth of a client's rows watch its distillation); classes with fewer are not sent, since a set that is as
    large as the rows would be the rows. Every later selector sends as many real rows as fit into what that client sent
    for the first maker. FedAvg is followed for `rounds` rounds and compared at the same bytes; where these
    would pay for more rounds than were followed, the result says so. Sets go up once and nothing comes down before
    training; a round of FedAvg sends all weights up, and down before it, in `weights_dtype`. The weights that it starts
    from follow from a shared seed and are not sent. The finished network, which every way would send down once, is
    counted for none. Clients train as `config.local` says; nothing is searched for, and the result says so.

    Setting: "Distilled One-Shot Federated Learning" (Zhou et al., 2020, https://arxiv.org/abs/2009.07999), "Federated
    Learning via Decentralized Dataset Distillation in Resource-Constrained Edge Environments" (FedD3, Song et al.,
    2022, https://arxiv.org/abs/2208.11311). Differs: any recipe; normalisation constants are those of all rows, which
    clients are taken to know; sets of different clients count the same, whatever they stand for.

    Clients run on `engine`, by default one after the other; results do not depend on it. Every (way, seed) is a cell,
    kept in `out/cells` and never done twice. One seed gives no interval.

    Raises `UnknownNameError`, `ConfigError` (clients, alpha, seeds, a recipe that learns scores, a selector that cannot
    honour the weights of rows), `BudgetError` where no client has more than `ipc` rows of any class, and what the
    makers raise.
    """
    config, names = config or FederatedConfig(), tuple(dict.fromkeys(makers))
    chosen = tuple(dict.fromkeys(range(seeds) if isinstance(seeds, int) else seeds))
    _require(data, names, config, chosen)
    config = replace(config, network=config.network or default_network(data.spec.shape))
    name = str(config.network)
    size = weight_bytes(network(name, data.spec.shape, data.spec.classes, 0), config.weights_dtype)
    work = _Work(data, config, engine or Local(), Records(None if out is None else make_folder(Path(out) / "cells")))
    found: list[Sharing] = []
    ways = [(way, seed) for seed in chosen for way in (*names, ALL_ROWS, "fedavg")]
    with progress("sharing between clients", float(len(ways))) as tick:
        for done, (way, seed) in enumerate(ways):
            tick(done, f"{way}, seed {seed}")
            found.append(work.share(way, names[0], seed))
    facts = {
        "data": data_facts(data), "seeds": list(chosen), "network": name, "weight_bytes": size,
        "config": asdict(config),
    }  # fmt: skip
    return Federated(names, tuple(found), facts)


@dataclass(frozen=True, eq=False)
class _Work:
    data: Dataset
    config: FederatedConfig
    engine: Engine
    records: Records

    def share(self, way: str, first: str, seed: int) -> Sharing:
        """One way of sharing with one seed, from its cell where there is one."""
        key = {
            "federated": 4 if self.data.weighted else 3, "data": data_key(self.data), "way": way, "first": first,
            "seed": seed, "config": self._told(way),
        }  # fmt: skip
        found = self.records.find(key)
        if found is None:
            found = self._shared(way, first, seed)
            self.records.keep(key, found)
        return Sharing.of(way, seed, found)

    def _told(self, way: str) -> dict[str, Any]:
        """The settings that a cell depends on: what clients do in a round is nothing to those that send sets."""
        config = self.config if way == "fedavg" else replace(self.config, local=LOCAL)
        return {**asdict(config), "network": self._identity}

    @cached_property
    def _identity(self) -> str:
        # By its name alone a network that was edited would be given the results of the old one.
        return network_identity(str(self.config.network), self.data.spec.shape, self.data.spec.classes)

    def _shared(self, way: str, first: str, seed: int) -> dict[str, Any]:
        began, config = time.monotonic(), self.config
        clients = dirichlet_split(self.data, config.clients, config.alpha, seed)
        facts = {"rows_held": [len(client) for client in clients], "classes_held": [len(c.classes) for c in clients]}
        if way == "fedavg":
            curve = fedavg(
                self.data, clients, config.rounds, name=str(config.network), seed=seed, engine=self.engine,
                measure=self._measure, config=config.local, dtype=config.weights_dtype,
            )  # fmt: skip
            return {**facts, "accuracies": curve, "up": [], "rows": 0, "seconds": time.monotonic() - began}
        if way == ALL_ROWS:
            rows = torch.arange(len(self.data.train))
            up = [len(client) * row_cost(self.data) for client in clients]
            made: Material = real_rows(self.data, rows)
        else:
            units = client_units(self.data, clients, first, config, seed)
            sets = self._sets(units, way, first, seed)
            total = self.data.spec.classes
            made = together([rows_of_set(one, unit.classes, total) for unit, one in zip(units, sets, strict=True)])
            up = [one.nbytes.total for one in sets]
        value = self._trained(made, way, seed)
        return {**facts, "accuracies": [value], "up": up, "rows": len(made.inputs), "seconds": time.monotonic() - began}

    def _sets(self, units: list[Unit], way: str, first: str, seed: int) -> list[CompactSet]:
        """What every client sends, in the order of the clients."""
        if way == first or is_recipe(way):
            # Results come in any order.
            done = dict(self.engine.map(made_by_client, [replace(unit, maker=way) for unit in units]))
            return [done[place] for place in range(len(units))]
        cost, sent = row_cost(self.data), self.share(first, first, seed).up
        return [
            select(unit.data, way, count=min(len(unit.data.train), nbytes // cost), seed=unit.seed)
            for unit, nbytes in zip(units, sent, strict=True)
        ]

    def _trained(self, made: Material, way: str, seed: int) -> float:
        spec, name = self.data.spec, str(self.config.network)
        config = self.config.server
        if way == ALL_ROWS:
            # All rows are shown about as often in all as the rows of a small set.
            config = replace(config, epochs=max(1, config.epochs // 10))
        fitted = made.student(
            lambda start: network(name, spec.shape, spec.classes, start), config, derive_seed(seed, "server")
        )
        return self._measure(fitted.module)

    def _measure(self, module: nn.Module) -> float:
        return accuracy(module, self.data, self.data.test)


def _require(data: Dataset, names: tuple[str, ...], config: FederatedConfig, seeds: tuple[int, ...]) -> None:
    for name in names:
        require_maker(name)
    for option, good, received, expected in (
        ("makers", bool(names), "none", "at least one recipe or selector"),
        ("seeds", bool(seeds), "none", "at least one seed, two or more for an interval"),
        ("ipc", config.ipc >= 1, config.ipc, "at least 1 image of a class"),
        ("rounds", config.rounds >= 1, config.rounds, "at least 1 round of FedAvg"),
    ):
        if not good:
            raise ConfigError(
                "sharing between clients", received=f"{option}: {received}", expected=expected, remedy=f"give {option}"
            )
    require_usable(data, names, config.ipc, config.network)
