"""What is wanted of a table: the picks, at once or shard by shard, and the coreset that they make."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from decoct.compact.budget import Budget
from decoct.compact.coreset import Coreset
from decoct.data.dataset import DataSpec
from decoct.data.feature_table import FeatureTable
from decoct.data.transform import Standardise
from decoct.engine import Engine
from decoct.progress import progress
from decoct.selection.by_score import ByScore
from decoct.selection.lots import numbered_lots
from decoct.selection.methods import method_name
from decoct.selection.repeated import digest, occupied, standing
from decoct.selection.selector import SCORED, Picks, Selector
from decoct.selection.sharded.partition import Partition, partition
from decoct.selection.sharded.selector import Sharded
from decoct.selection.sharded.survey import Seen, survey
from decoct.selection.sharded.turns import joined, turns
from decoct.selection.sharded.units import Unit, finished, pick_unit
from decoct.streams import Streams, derive_seed

FIELDS = ("rows", "weights", "scores")


@dataclass(frozen=True, eq=False)
class Ask:
    """What is wanted of which table."""

    table: FeatureTable
    method: Selector
    labels: NDArray[np.int64] | None
    """Classes to be picked from one by one; None where the table is picked from as a whole."""
    wanted: tuple[int, ...]
    """Rows of each class, or of the whole."""
    seed: int
    shard_rows: int

    def at_once(self) -> tuple[Picks, Seen]:
        """By one number a row, all rows of a class together."""
        _, seen = self._look()
        by_score = isinstance(self.method, ByScore)
        values = self.table.read_scores() if by_score else np.zeros(self.table.rows, np.float32)
        parts, column = [], torch.from_numpy(values)[:, None]
        for group, count in enumerate(self.wanted):
            if not count:
                continue
            rows = torch.arange(len(column))
            if self.labels is not None:
                rows = torch.from_numpy(np.flatnonzero(self.labels == group))
            if by_score:
                # Equals are left in the order in which they are given: here by lot.
                rows = rows[np.argsort(numbered_lots(rows.numpy(), self.seed))]
            part = self.method.pick(column[rows], count, Streams(self.seed)(f"select/{group}"))
            parts.append(Picks(rows[part.rows], part.weights, part.scores))
        return _classes_in_turn(parts), seen

    def shard_by_shard(self, engine: Engine, work: Path, kept: Path) -> tuple[Picks, Seen]:
        """Cut the table, let the engine pick from every shard that has a share, and join the picks."""
        table, method = self.table, Sharded(self.method, self.shard_rows)
        where = kept / f"partition-{self._key()}"
        with progress(f"cutting {table.rows} rows into shards", float(2 * table.rows)) as tick:
            cut = partition(table, where, self.labels, derive_seed(self.seed, "partition"), tick)
        takers = self._takers(cut)
        shares = np.bincount(np.concatenate(takers), minlength=len(cut.shards))
        told = hashlib.sha256(f"{method!r} {self._key()}".encode()).hexdigest()
        shards, picked = str(where.resolve()), str(work.resolve())
        units = [
            Unit(shards, picked, shard, table.dtype, table.width, int(share), method, self.seed, told)
            for shard, share in zip(cut.shards, shares, strict=True) if share
        ]  # fmt: skip
        _run(engine, units, f"selecting by {method_name(self.method)}")
        parts = {unit.shard.name: finished(unit) for unit in units}
        by_class = []
        for own in takers:
            if len(own):
                found = [parts[cut.shards[number].name] for number in np.unique(own)]
                by_class.append(joined([part for part in found if part is not None], own))
        return _classes_in_turn(by_class), cut.seen

    def _takers(self, cut: Partition) -> list[NDArray[np.int64]]:
        """For each class, the shard of every turn."""
        found = []
        for group, count in enumerate(self.wanted):
            own = np.array([number for number, shard in enumerate(cut.shards) if shard.group == group], np.int64)
            found.append(own[turns([cut.shards[number].rows for number in own], count)] if count else own[:0])
        return found

    def _key(self) -> str:
        """What the shards follow from. A file that was written since is another one, whatever it holds: a hash of its
        contents would take a look at every row, which kept shards are to save."""
        status = self.table.path.stat()
        facts = [
            1, str(self.table.path.resolve()), status.st_size, status.st_mtime_ns, self.table.rows, self.table.width,
            self.seed, None if self.labels is None else hashlib.sha256(self.labels.tobytes()).hexdigest(),
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]

    @property
    def kind(self) -> str:
        """What rows are compared by."""
        scored = self.table.scores if isinstance(self.method, ByScore) else None
        return "features" if scored is None else f"{SCORED}{scored.name}"

    def asked(self, budget: Budget, balance: str, labels: NDArray[np.int64] | None) -> dict[str, Any]:
        """What is known of the answer before it is made: as `standing` compares it, and as its provenance has it.

        Raises `ConfigError` for settings that scores of the user's take the place of.
        """
        scored = self.table.scores if isinstance(self.method, ByScore) else None
        if isinstance(self.method, ByScore):
            self.method.require_used()
        return {
            "kind": "selection", "method": method_name(self.method), "config": self.method.settings(self.kind),
            "features": self.table.name, "shard_rows": self.shard_rows, "seed": self.seed,
            **({} if scored is None else {
                "scores": {"name": scored.name, "file": str(scored)}, "scores_key": digest(self.table.read_scores()),
            }),
            **({} if labels is None else {"labels_key": digest(labels)}),
            "budget": {unit: value for unit, value in vars(budget).items() if value is not None},
            "balance": balance,
        }  # fmt: skip

    def answered(self, place: Path, asked: dict[str, Any]) -> Coreset | None:
        """The coreset that stands there, if it was picked from these very rows; raises `OutputError` for another."""
        # Settings of a selector that is no dataclass are not known, so that nothing tells what it would pick.
        kept = standing(place, asked) if is_dataclass(self.method) else None
        if kept is None:
            return None
        rows = kept.indices.numpy()
        here = int(rows.max()) < self.table.rows and self.table.width == kept.raw.shape[1]
        same = here and np.array_equal(self.table.take(rows).astype(np.float32), kept.raw.numpy())
        if not same or self._look()[1].fingerprint != kept.spec.fingerprint:
            raise occupied(place, f"a finished selection from other rows than {self.table.path} holds now")
        return kept

    def _look(self) -> tuple[Float[Tensor, "s d"], Seen]:
        with progress(f"looking at {self.table.rows} rows", float(self.table.rows)) as tick:
            return survey(self.table, tick)

    def coreset(
        self, picks: Picks, seen: Seen, labels: NDArray[np.int64] | None, names: tuple[str, ...], asked: dict[str, Any]
    ) -> Coreset:
        """The rows themselves with what is known of them."""
        rows = picks.rows.numpy()
        raw = torch.from_numpy(self.table.take(rows).astype(np.float32))
        transform = Standardise(torch.tensor(seen.mean), torch.tensor(seen.std))
        said = [self.method.reason(score, self.kind) for score in picks.scores.tolist()]
        spec = DataSpec(self.table.name, (self.table.width,), names, transform, seen.fingerprint)
        return Coreset(
            spec=spec, raw=raw,
            classes=torch.zeros(len(rows), dtype=torch.int64) if labels is None else torch.from_numpy(labels[rows]),
            indices=picks.rows, ids=rows.astype(np.str_), weights=picks.weights, scores=picks.scores,
            reasons=np.array(said, dtype=np.str_), provenance=dict(asked),
        )  # fmt: skip


def _classes_in_turn(parts: list[Picks]) -> Picks:
    """The picks of all classes, one of each in turn as long as it has any."""
    if len(parts) == 1:
        return parts[0]
    rank = np.concatenate([np.arange(len(part.rows)) for part in parts])
    order = torch.from_numpy(np.argsort(rank, kind="stable"))
    return Picks(*(torch.cat([getattr(part, field) for part in parts])[order] for field in FIELDS))


def _run(engine: Engine, units: list[Unit], title: str) -> None:
    """Let the engine do what is not done yet."""
    left = [unit for unit in units if finished(unit) is None]
    total = sum(unit.shard.rows for unit in units)
    done = total - sum(unit.shard.rows for unit in left)
    with progress(title, float(total)) as tick:
        tick(done)
        for number, (_, rows) in enumerate(engine.map(pick_unit, left), 1):
            done += rows
            tick(done, f"shard {len(units) - len(left) + number} of {len(units)}")
