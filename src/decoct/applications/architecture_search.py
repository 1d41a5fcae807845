"""Architecture search: rank networks by what they learn from a small set, and compare with training on all rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
from torch import nn

from decoct.applications.architecture_result import ArchitectureSearch, Proxy
from decoct.applications.memory import row_cost
from decoct.compact.compact_set import CompactSet
from decoct.data.dataset import Dataset
from decoct.errors import ConfigError, DecoctError, DivergenceError
from decoct.evaluation import statistics
from decoct.evaluation.bench import Bench
from decoct.evaluation.data_facts import data_facts
from decoct.evaluation.protocol import Protocol
from decoct.evaluation.ranking import FEWEST_FOR_INTERVAL, FEWEST_ITEMS, agreement
from decoct.evaluation.scorecard import Entry
from decoct.networks.build import network
from decoct.training.config import FitConfig

BASELINES = ("random", "herding")
EARLY = "early stopping"
FULL = "all rows"
_STEPS = FitConfig(optimizer="adamw", lr=2e-3, weight_decay=0.01, epochs=60, batch_size=64, schedule="cosine")
PROTOCOL = Protocol("architectures", _STEPS, full_epochs=12, full_samples=60_000, full_batch=64, checks=4)
"""How networks are trained: 60 passes over a small set, up to 12 over all rows. Nothing is augmented."""


@dataclass(frozen=True)
class Space:
    """ConvNets of every combination, in the grammar of `networks.build`: 48 unless told otherwise.

    The space of "Dataset Condensation with Gradient Matching" (Zhao, Mopuri, Bilen, 2021,
    https://arxiv.org/abs/2006.05929, code https://github.com/VICO-UoE/DatasetCondensation) crosses the same five
    choices, with widths of 32 to 256 (720 networks); the narrow ones here train in seconds on a processor.
    """

    depths: tuple[int, ...] = (1, 2, 3)
    """Blocks of a network."""
    widths: tuple[int, ...] = (8, 16)
    """Channels of every block."""
    norms: tuple[str, ...] = ("in", "none")
    """Normalisations: in, bn, ln, gn, none."""
    activations: tuple[str, ...] = ("relu", "sigmoid")
    """relu, leaky, sigmoid, gelu, softplus."""
    poolings: tuple[str, ...] = ("avg", "max")
    """avg, max, nopool."""

    def names(self) -> tuple[str, ...]:
        """All networks by name."""
        parts = product(self.depths, self.widths, self.norms, self.activations, self.poolings)
        return tuple(f"convnet{d}-w{w}-{norm}-{act}-{pool}" for d, w, norm, act, pool in parts)


def architecture_search(
    data: Dataset,
    sets: Mapping[str, CompactSet],
    networks: Space | Sequence[str] | None = None,
    *,
    seeds: int | Sequence[int] = 3,
    protocol: Protocol = PROTOCOL,
    early_epochs: int | None = None,
    baselines: Sequence[str] = BASELINES,
    ipc: int = 10,
    out: str | Path | None = None,
    device: str | None = None,
) -> ArchitectureSearch:
    """Train every network on every set, on baselines of the bytes of the largest set, and on all rows, and compare.

    Where there is no set, baselines have `ipc` rows of each class.

    A proxy ranks networks by mean validation accuracy; the truth is mean test accuracy after full training. "early
    stopping" trains on all rows for `early_epochs` passes, by default as many as show about as many rows as a set
    does, at least 1. With `out` every finished run is kept and the same call goes on. The seconds that a set took to
    make are those of its provenance, and are counted beside the seconds of ranking by it. A network of which a run
    diverged, on all rows or under a proxy, is left out of every number, and named.

    Cost: networks x seeds x (sets + baselines + 2) runs. Raises `ConfigError` for fewer than 3 networks, one that
    cannot take these inputs or no early passes, `MismatchError` for a set of other data, `DivergenceError` where so
    many networks diverge that too few are left to be ranked, `UnknownNameError`, `OutputError`.
    """
    from decoct.evaluation.contender import Judged
    from decoct.evaluation.withheld import in_terms_of

    names = ranked_networks(networks, data)
    _require_a_proxy(sets, baselines)
    _require_early(early_epochs)
    called = "ranking networks by a compact set"
    sets = {name: in_terms_of(one, data.spec, called)[0] for name, one in sets.items()}
    rows = max((len(one) for one in sets.values()), default=ipc * data.spec.classes)
    nbytes = max((one.nbytes.total for one in sets.values()), default=rows * row_cost(data))
    shown = max(1, round(protocol.fit.epochs * rows / max(1, len(data.train))))
    early = shown if early_epochs is None else early_epochs

    def bench(used: Protocol) -> Bench:
        own = Bench.of(data, used, names, seeds, baselines=(), out=out, device=device)
        return replace(own, goes_on=True)  # one network of many that diverges does not end the others

    whole, short = bench(protocol), bench(replace(protocol, name=f"{protocol.name}-early", full_epochs=early))
    groups = {
        FULL: whole.entries(whole.contenders(["full"], nbytes)[0]),
        **{name: whole.entries([Judged.of(one, name)]) for name, one in sets.items()},
        **{c.label: whole.entries([c]) for c in whole.contenders(list(baselines), nbytes)[0]},
        EARLY: short.entries(short.contenders(["full"], nbytes)[0]),
    }
    made = {**{name: _made_seconds(one) for name, one in sets.items()}, "random": 0.0, EARLY: 0.0}
    lost = _lost(names, groups, whole.seeds)
    left = tuple(name for name in names if name not in lost)
    _require_enough(names, left, lost)
    kept = {name: [entry for entry in own if entry.network in left] for name, own in groups.items()}
    return _compared(left, kept.pop(FULL), kept, made, whole, lost)


def _lost(names: tuple[str, ...], groups: dict[str, list[Entry]], seeds: tuple[int, ...]) -> dict[str, str]:
    """The networks of which a run diverged, and what they were trained on there. Means of fewer runs are no table."""
    whole = {group: {entry.network for entry in own if entry.seeds == seeds} for group, own in groups.items()}
    lost = {name: ", ".join(group for group, found in whole.items() if name not in found) for name in names}
    return {name: where for name, where in lost.items() if where}


def _made_seconds(compact_set: CompactSet) -> float | None:
    """What the set itself says of the time it took; nothing where it came from elsewhere."""
    said = compact_set.provenance.get("seconds")
    return float(said) if isinstance(said, int | float) else None


def _compared(
    names: tuple[str, ...], full: list[Entry], groups: dict[str, list[Entry]], made: dict[str, float | None],
    bench: Bench, lost: dict[str, str],
) -> ArchitectureSearch:  # fmt: skip
    truth = _table(full, "last")
    seconds = sum(entry.seconds for entry in full)
    proxies = tuple(_proxy(name, own, truth, names, seconds, made.get(name)) for name, own in groups.items())
    return ArchitectureSearch(
        names, proxies, tuple(truth.mean(0).tolist()), agreement(_table(full, "val"), truth), seconds,
        len(bench.seeds), bench.protocol.facts(), data_facts(bench.data), bench.seeds, lost,
    )  # fmt: skip


def _proxy(
    name: str, entries: list[Entry], truth: np.ndarray, names: tuple[str, ...], full_seconds: float, made: float | None
) -> Proxy:
    found = _table(entries, "val")
    seconds = sum(entry.seconds for entry in entries)
    measured = agreement(found, truth)
    better = np.argsort(-truth.mean(0), kind="stable")[: len(names) // 2]
    top = agreement(found[:, better], truth[:, better]).spearman.value if len(better) >= FEWEST_ITEMS else None
    return Proxy(
        name, entries[0].rows, entries[0].nbytes, measured, names[measured.chosen], top, seconds,
        made, full_seconds / max(seconds, 1e-9),
        None if made is None else full_seconds / max(seconds + made, 1e-9),
        tuple(statistics.mean(entry.val) for entry in entries),
    )  # fmt: skip


def _table(entries: list[Entry], field: str) -> np.ndarray:
    """`[seeds, networks]`."""
    return np.array([getattr(entry, field) for entry in entries], dtype=np.float64).T


def ranked_networks(networks: Space | Sequence[str] | None, data: Dataset) -> tuple[str, ...]:
    """The networks, each built once; raises `ConfigError` naming the one that cannot take these inputs."""
    space = networks or Space()
    names = tuple(dict.fromkeys(space.names() if isinstance(space, Space) else space))
    if len(names) < FEWEST_ITEMS:
        raise ConfigError(
            "ranking networks",
            received=f"{len(names)} networks",
            expected=f"at least {FEWEST_ITEMS}; 48 or more for an interval that says something",
            remedy="name more, or take Space()",
        )
    for name in names:
        try:
            found: nn.Module = network(name, data.spec.shape, data.spec.classes, 0)
        except DecoctError as error:
            raise ConfigError(
                f"ranking networks, {name!r} among them",
                received=error.received,
                expected=f"networks that take inputs of shape {list(data.spec.shape)}: {error.expected}",
                remedy="leave that network out, use fewer blocks or another normalisation, or open the data larger",
            ) from error
        del found
    return names


def require_proxy_names(names: Iterable[str]) -> None:
    """Raise `ConfigError` for a set that is called as a baseline."""
    taken = {"random", "herding", "random + teacher", "full", FULL, EARLY} & set(names)
    if taken:
        raise ConfigError(
            "ranking networks",
            received=f"a set called {sorted(taken)[0]!r}",
            expected="names that no baseline has",
            remedy="call it something else",
        )


def _require_a_proxy(sets: Mapping[str, CompactSet], baselines: Sequence[str]) -> None:
    require_proxy_names(sets)
    if "full" in baselines:
        raise ConfigError(
            "ranking networks", received="the baseline 'full'", expected="cheap baselines: full training is the truth",
            remedy="leave it out",
        )  # fmt: skip


def _require_enough(names: tuple[str, ...], left: tuple[str, ...], lost: dict[str, str]) -> None:
    """Raise `DivergenceError` where divergence took the networks that a rank correlation, or its interval, needs."""
    least = FEWEST_FOR_INTERVAL if len(names) >= FEWEST_FOR_INTERVAL else FEWEST_ITEMS
    if lost and len(left) < least:
        told = ", ".join(f"{name} ({where})" for name, where in list(lost.items())[:5])
        raise DivergenceError(
            "ranking networks",
            received=f"{len(lost)} of {len(names)} networks with runs that diverged: {told}"
            + (", ..." if len(lost) > 5 else ""),
            expected=f"at least {least} networks all of whose runs come to an end",
            remedy="take a protocol with a smaller step size, or other networks: finished runs are kept",
        )


def _require_early(epochs: int | None) -> None:
    if epochs is not None and epochs < 1:
        raise ConfigError(
            "ranking networks", received=f"early_epochs={epochs}", expected="1 or more passes over all rows, or none",
            remedy="leave it out: as many rows are then shown as by a small set",
        )  # fmt: skip
