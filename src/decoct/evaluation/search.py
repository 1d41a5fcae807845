"""A small search of training settings on validation data: the same number of trials for everything that is judged."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any

from decoct.errors import ConfigError, DivergenceError
from decoct.evaluation.cells import Records
from decoct.evaluation.protocol import Protocol

FIRST_SEED = 1_000_003
"""Seeds of the trials start here, so that no trial is a run whose test accuracy counts."""


@dataclass(frozen=True)
class Search:
    """Which settings are tried. Each entry, set or baseline, gets all of them, on every network, and no others.

    A trial trains with the settings and looks at validation data after the last epoch; test data are not read. The
    candidate with the best mean wins, of equal ones the first. What differs between methods under one fixed
    protocol is partly how well its learning rate happens to suit them; with the search it is not, and since the
    baselines are searched as well, the search flatters nobody.
    """

    lr_factors: tuple[float, ...] = (1.0, 0.1, 0.3, 3.0, 10.0)
    """Learning rates that are tried, as multiples of the protocol's; of equal candidates the first wins."""
    weight_decay_factors: tuple[float, ...] = (1.0,)
    """The same for weight decay; every pair is a candidate."""
    seeds: int = 1
    """Trials of each candidate, each a network of its own."""

    def __post_init__(self) -> None:
        factors = (*self.lr_factors, *self.weight_decay_factors)
        good = self.lr_factors and self.weight_decay_factors and min(factors) > 0 and self.seeds >= 1
        if not good:
            raise ConfigError(
                "searching training settings",
                received=f"lr_factors={self.lr_factors}, weight_decay_factors={self.weight_decay_factors}, "
                f"seeds={self.seeds}",
                expected="at least one positive factor of each and at least one seed",
                remedy="leave the factors out to take the usual five learning rates",
            )

    @classmethod
    def of(cls, count: int) -> Search:
        """The protocol's own learning rate first, then `count - 1` others from a tenth of it to ten times it.

        They are evenly spaced in the logarithm on either side of its own; of an odd number of others the lower side
        has one more, since a step that is too long can break a training. Raises `ConfigError` for fewer than two.
        """
        if count < 2:
            raise ConfigError(
                "searching training settings",
                received=f"{count} candidates",
                expected="at least 2",
                remedy="write --search 5, or leave it out for the protocol's own settings",
            )
        below, above = count // 2, (count - 1) // 2
        lower = [10 ** (place / below - 1) for place in range(below)]
        upper = [10 ** ((place + 1) / above) for place in range(above)]
        return cls((1.0, *(round(factor, 4) for factor in (*lower, *upper))))

    @property
    def trials(self) -> int:
        """Trainings that every entry gets on every network."""
        return len(self.lr_factors) * len(self.weight_decay_factors) * self.seeds

    def candidates(self, protocol: Protocol) -> list[Protocol]:
        """The protocols that are tried, named alike."""
        fit = protocol.fit
        pairs = itertools.product(self.lr_factors, self.weight_decay_factors)
        fits = [replace(fit, lr=fit.lr * rate, weight_decay=fit.weight_decay * decay) for rate, decay in pairs]
        return [replace(protocol, fit=one) for one in fits]

    def facts(self, protocol: Protocol) -> dict[str, Any]:
        """What a scorecard says of the protocol with this search: its own name and a hash of both together."""
        said = {**protocol.facts(), "search": asdict(self), "trials": self.trials}
        text = json.dumps([protocol.hash, asdict(self)], sort_keys=True)
        name = f"{protocol.name}+search{self.trials}"
        return json.loads(json.dumps({**said, "name": name, "hash": hashlib.sha256(text.encode()).hexdigest()}))


Trial = Callable[[Protocol, int], float]
"""Validation accuracy after the last epoch of a training with this protocol and seed."""


def choose(
    search: Search, protocol: Protocol, key: dict[str, Any], trial: Trial, records: Records
) -> tuple[Protocol, str]:
    """The candidate that is best on validation data, and a sentence about it; finished trials are not done again.

    `key` names what is trained on: rows, data and network. A training that diverges counts as accuracy 0.
    """
    scores: list[float] = []
    candidates = search.candidates(protocol)
    for candidate in candidates:
        found = []
        for number in range(search.seeds):
            seed = FIRST_SEED + number
            full = {**key, "protocol": candidate.hash, "seed": seed, "for": "search"}
            record = records.find(full)
            if record is None:
                record = {"val": _tried(trial, candidate, seed)}
                records.keep(full, record)
            found.append(float(record["val"]))
        scores.append(fmean(found))
    best = max(range(len(scores)), key=scores.__getitem__)
    fit = candidates[best].fit
    decay = f", weight decay {fit.weight_decay:.3g}" if len(search.weight_decay_factors) > 1 else ""
    accuracy = f"{100 * scores[best]:.1f} %"
    return candidates[best], (
        f"step size {fit.lr:.3g}{decay} chosen on validation data ({accuracy}) in {search.trials} trials"
    )


def _tried(trial: Trial, candidate: Protocol, seed: int) -> float:
    try:
        return trial(candidate, seed)
    except DivergenceError:
        return 0.0


def silent(done: float | int, note: str = "") -> None:
    """The ticker of a trial, whose progress is that of the search."""
