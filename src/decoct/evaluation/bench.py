"""`Bench`: one way of judging on one data set, run by run, where no run is done twice."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from decoct.compact.compact_set import CompactSet
from decoct.data.dataset import Dataset, Split
from decoct.errors import ConfigError, DivergenceError
from decoct.evaluation.baselines import BASELINES, baseline
from decoct.evaluation.cells import Cell, Cells, Records, cell_name
from decoct.evaluation.contender import HARD_LABELS, Contender, Judged, Training
from decoct.evaluation.data_facts import data_facts, data_key, require_rows
from decoct.evaluation.entry import entry_of, nothing_left
from decoct.evaluation.match import require_match
from decoct.evaluation.protocol import Protocol, protocol_from
from decoct.evaluation.reads import Reads
from decoct.evaluation.scorecard import Entry, Scorecard
from decoct.evaluation.search import FIRST_SEED, Search, choose, silent
from decoct.evaluation.teacher import Teacher
from decoct.files import make_folder
from decoct.machine import hardware, library_versions, usable_device
from decoct.networks.build import default_network, network
from decoct.networks.identity import network_identity
from decoct.progress import Ticker, progress
from decoct.registry import unknown_name
from decoct.streams import derive_seed
from decoct.training.accuracy import accuracy
from decoct.training.job import Fitted
from decoct.training.sources import Replay

KNOWN = (*BASELINES, HARD_LABELS)


@dataclass(frozen=True, eq=False)
class Bench:
    """One way of judging on one data set; several sets judged on one bench share their baselines."""

    data: Dataset
    protocol: Protocol
    networks: tuple[str, ...]
    seeds: tuple[int, ...]
    baselines: tuple[str, ...]
    cells: Cells
    teacher: Teacher
    device: str
    data_key: str
    reads: Reads
    trials: Records
    search: Search | None = None
    goes_on: bool = False
    """Whether a run that diverges is kept as such and the others go on; else it ends everything."""
    _choices: dict[tuple[str, str, str], tuple[Protocol, str]] = field(default_factory=dict, repr=False)
    """What the search chose for rows, network and protocol, so that it is looked up once."""
    _identities: dict[str, str] = field(default_factory=dict, repr=False)
    """What networks are by name and content."""

    @classmethod
    def of(
        cls, data: Dataset, protocol: str | Protocol, networks: Sequence[str] | None, seeds: int | Sequence[int], *,
        baselines: Sequence[str], out: str | Path | None, device: str | None, search: Search | None = None,
    ) -> Bench:  # fmt: skip
        """Check everything that can be checked before the first run; raises what `evaluate` raises."""
        protocol = protocol_from(protocol)
        names = tuple(dict.fromkeys((default_network(data.spec.shape),) if networks is None else networks))
        chosen = tuple(dict.fromkeys(range(seeds) if isinstance(seeds, int) else seeds))
        _require(bool(names), "networks", repr(networks), "at least one network")
        _require(bool(chosen), "seeds", repr(seeds), "at least one seed")
        for name in baselines:
            if name not in KNOWN:
                raise unknown_name("baseline", name, list(KNOWN))
        for name in names:
            network(name, data.spec.shape, data.spec.classes, 0)
        identities = {name: network_identity(name, data.spec.shape, data.spec.classes) for name in names}
        require_rows(data)
        device = usable_device(device)
        folder = None if out is None else make_folder(Path(out))
        passes = protocol.full_passes(len(data.train))
        key = data_key(data)
        teacher = Teacher(data, names[0], passes, device, None if folder is None else folder / "teacher" / key[:16])
        cells = Cells(None if folder is None else make_folder(folder / "cells"))
        trials = Records(None if folder is None or search is None else make_folder(folder / "trials"))
        asked = tuple(dict.fromkeys(baselines))
        return cls(
            data, protocol, names, chosen, asked, cells, teacher, device, key, Reads(folder), trials, search,
            _identities=identities,
        )  # fmt: skip

    def judge(
        self, compact_set: CompactSet, name: str | None = None, *, baselines: Sequence[str] | None = None
    ) -> Scorecard:
        """The scorecard of a set, named `name` or as its provenance says. Raises `MismatchError`."""
        require_match(compact_set.spec, self.data.spec)
        judged = Judged.of(compact_set, name)
        chosen = self.baselines if baselines is None else baselines
        others, notes = self.contenders(chosen, compact_set.nbytes.total)
        own = [judged.with_hard_labels()] if HARD_LABELS in chosen and compact_set.label_kind != "hard" else []
        entries = self.entries([judged, *own, *others])
        provenance = {"content_hash": compact_set.content_hash, "made": compact_set.provenance, **self.provenance}
        replay = Replay.of(compact_set)
        return self.scorecard(entries, {**provenance, **({"views": replay.count} if replay else {})}, notes)

    def judge_baseline(self, name: str, nbytes: int, *, baselines: Sequence[str] | None = None) -> Scorecard:
        """The scorecard of a baseline as the thing that is asked about: its rows drawn afresh for each seed."""
        chosen = self.baselines if baselines is None else baselines
        asked, missing = self.contenders([name], nbytes)
        others, notes = self.contenders([other for other in chosen if other != name], nbytes)
        entries = [
            replace(entry, kind="judged") if entry.name == name else entry for entry in self.entries([*asked, *others])
        ]
        return self.scorecard(entries, self.provenance, [*missing, *notes])

    def contenders(self, names: Sequence[str], nbytes: int) -> tuple[list[Contender], list[str]]:
        """The baselines of these names at these bytes, and a note for each that cannot be that small."""
        asked = [name for name in names if name != HARD_LABELS]
        found = {name: baseline(name, self.data, nbytes, self.teacher) for name in asked}
        notes = [
            f"{name}: {nbytes} bytes are less than one row with its label" for name, c in found.items() if c is None
        ]
        return [contender for contender in found.values() if contender is not None], notes

    def scorecard(self, entries: Sequence[Entry], provenance: dict[str, Any], notes: Sequence[str]) -> Scorecard:
        facts = self.protocol.facts() if self.search is None else self.search.facts(self.protocol)
        looked = {"test_reads": self.reads.facts()} if self.reads.folder else {}
        told = (*notes, *self.cells.notes, *self.trials.notes)
        return Scorecard(tuple(entries), facts, data_facts(self.data), {**provenance, **looked}, told)

    @property
    def provenance(self) -> dict[str, Any]:
        """What the runs ran on."""
        return {
            "hardware": hardware(), "versions": library_versions(), "device": self.device,
            "teacher": self.teacher.key, "networks": list(self.networks), "seeds": list(self.seeds),
        }  # fmt: skip

    def entries(self, contenders: Sequence[Contender]) -> list[Entry]:
        """Every contender on every network, running what has not been run."""
        self._search(contenders)
        runs = [(c, name, seed) for c in contenders for name in self.networks for seed in self.seeds]
        missing = [run for run in runs if not self._is_done(self._key(*run))]
        with progress(f"judging {contenders[0].label}", float(len(missing)) or 1.0) as tick:
            for done, (contender, name, seed) in enumerate(missing):
                self._run(contender, name, seed, _after(tick, done, f"{contender.label} on {name}, seed {seed}"))
        found = [self._entry(contender, name) for contender in contenders for name in self.networks]
        return [entry for entry in found if entry is not None]

    def _is_done(self, key: dict[str, Any]) -> bool:
        return self.cells.find(key) is not None or (self.goes_on and self.cells.diverged(key) is not None)

    def _key(self, contender: Contender, name: str, seed: int) -> dict[str, Any]:
        return {
            "rows": contender.key(seed), "data": self.data_key, "protocol": self._chosen(contender, name)[0].hash,
            "network": self._identities[name], "seed": seed,
        }  # fmt: skip

    def _chosen(self, contender: Contender, name: str) -> tuple[Protocol, str]:
        """The protocol for this contender on this network, and how it came about: after a search, its winner."""
        if self.search is None:
            return self.protocol, ""
        rows = contender.key(FIRST_SEED)
        place = (rows, name, self.protocol.hash)
        if place not in self._choices:
            key = {"rows": rows, "data": self.data_key, "network": self._identities[name]}

            def trial(protocol: Protocol, seed: int) -> float:
                return contender.train(seed, self._training(name, protocol), silent).last or 0.0

            self._choices[place] = choose(self.search, self.protocol, key, trial, self.trials)
        return self._choices[place]

    def _search(self, contenders: Sequence[Contender]) -> None:
        if self.search is None:
            return
        pairs = [(contender, name) for contender in contenders for name in self.networks]
        with progress("searching training settings", float(len(pairs))) as tick:
            for done, (contender, name) in enumerate(pairs):
                tick(done, f"{contender.label} on {name}")
                self._chosen(contender, name)

    def _training(self, name: str, protocol: Protocol) -> Training:
        shape, classes = self.data.spec.shape, self.data.spec.classes
        return Training(
            lambda start: network(name, shape, classes, start), self.data, protocol, self.device, self._check
        )

    def _run(self, contender: Contender, name: str, seed: int, tick: Ticker) -> None:
        """Train one network, read test data at its end, and keep the cell."""
        key = self._key(contender, name, seed)
        try:
            fitted = contender.train(seed, self._training(name, self._chosen(contender, name)[0]), tick)
        except DivergenceError as error:
            if not self.goes_on:
                raise
            return self.cells.keep_diverged(key, error.received)
        measured = 1 if _other_weights(fitted) is None else 2
        facts = {"network": name, "seed": seed, "rows_of": key["rows"], "measured": measured}
        self.reads.note(cell_name(key), len(self.data.test), facts)
        self.cells.keep(key, self._measured(fitted))

    def _check(self, module: nn.Module, epoch: int) -> float:
        return accuracy(module, self.data, self._val)

    def _measured(self, fitted: Fitted) -> Cell:
        last = accuracy(fitted.module, self.data, self.data.test)
        selected, chosen = last, _other_weights(fitted)
        if chosen is not None:
            best = copy.deepcopy(fitted.module)
            best.load_state_dict(chosen)
            selected = accuracy(best, self.data, self.data.test)
        return Cell(
            last, selected, fitted.best or 0.0, fitted.best_epoch, fitted.seconds, fitted.samples_seen,
            fitted.distinct_samples, fitted.peak_memory, fitted.how,
        )  # fmt: skip

    def _entry(self, contender: Contender, name: str) -> Entry | None:
        """The entry of the runs that came to an end; None, and a note, where none did."""
        keys = {seed: self._key(contender, name, seed) for seed in self.seeds}
        cells = {seed: cell for seed, key in keys.items() if (cell := self.cells.find(key)) is not None}
        lost = {seed: self.cells.diverged(key) or "" for seed, key in keys.items() if seed not in cells}
        if cells:
            return entry_of(contender, name, cells, lost, self._chosen(contender, name)[1])
        told = nothing_left(contender, name, self.protocol.name, lost)
        self.cells.notes.extend([told] if told not in self.cells.notes else [])
        return None

    @cached_property
    def _val(self) -> Split:
        """At most `Protocol.val_rows` validation rows, the same for everything on this bench."""
        count, split = self.protocol.val_rows, self.data.val
        if len(split) <= count:
            return split
        generator = torch.Generator().manual_seed(derive_seed(0, "judge", "val"))
        return split.take(torch.randperm(len(split), generator=generator)[:count].sort().values)


def _other_weights(fitted: Fitted) -> dict[str, Tensor] | None:
    """The weights that validation chose; None where they are those after the last pass, so that one look is enough."""
    return None if fitted.best_epoch == fitted.history[-1][0] else fitted.best_state


def _after(tick: Ticker, before: int, title: str) -> Ticker:
    """A ticker for one run, after `before` others."""

    def inner(done: float, note: str = "") -> None:
        tick(before + done, f"{title} {note}".rstrip())

    return inner


def _require(good: bool, name: str, received: str, expected: str) -> None:
    if not good:
        raise ConfigError(
            "judging a compact set", received=f"{name}={received}", expected=expected, remedy=f"give {name}"
        )
