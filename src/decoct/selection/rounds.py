"""The rounds of active learning: the rows to choose from, those chosen so far, and the networks trained on these."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from decoct.networks.build import network as build_network
from decoct.networks.identity import network_identity
from decoct.progress import progress
from decoct.selection.content_order import marks
from decoct.selection.gradients import LastLayer
from decoct.selection.repeated import digest
from decoct.selection.selector import Picks, checked
from decoct.selection.sources import Sources
from decoct.selection.uncertainty import COMMITTEE, diverse, observed, uncertainty
from decoct.streams import derive_seed
from decoct.training.fit import fit_dataset
from decoct.training.halfway import Halfway

if TYPE_CHECKING:
    from decoct.selection.active import Active


class Rounds:
    """The rows to choose from, and those chosen so far."""

    def __init__(self, settings: Active, sources: Sources, groups: tuple[Tensor, ...], wanted: tuple[int, ...]) -> None:
        for rows, count in zip(groups, wanted, strict=True):
            if count:
                checked(torch.zeros(len(rows), 1), count)
        self._settings, self._sources, self._wanted = settings, sources, wanted
        # Rows are drawn, and equals left, by their place in a group: laid out by what they hold, not as in the file.
        raw = sources.data.train.x
        mark = torch.from_numpy(marks(raw.reshape(len(raw), -1)).view(np.int64))
        self._groups = tuple(rows[mark[rows].argsort(stable=True)] for rows in groups)
        self._table = LastLayer.of_table(checked(sources.table, 1)) if sources.kind == "array" else None
        self._chosen = torch.empty(0, dtype=torch.int64)
        self._scores = torch.empty(0)
        self._drawn = torch.empty(0, dtype=torch.bool)
        self._generator = torch.Generator().manual_seed(derive_seed(sources.seed, "active"))
        # What stands in the record already is of other loops.
        self._before = len(sources.record)

    def run(self) -> Rounds:
        """Choose until the budget is spent; every round goes into the record of the sources.

        Where the sources have a cache, each finished round is kept there until the last is done, and so are the passes
        of a training, where one network is trained a round: the same loop goes on with them, to the same bits.
        """
        settings, kept = self._settings, self._halfway("rounds")
        done = 0 if kept is None else self._go_on(kept)
        if not len(self._chosen):
            self._start()
        with progress("choosing in rounds", float(settings.rounds)) as tick:
            for number in range(1 + done, settings.rounds + 1):
                shares = self._shares(number)
                if sum(shares):
                    self._round(number, shares)
                    self._keep(kept, number)
                tick(float(number), f"{len(self._chosen)} rows")
        self._sources.record.extend(settings.closed(self._sources.record))
        if kept is not None:
            kept.drop()
        return self

    def _start(self) -> None:
        start = [
            rows[torch.randperm(len(rows), generator=self._generator)[:count]]
            for rows, count in zip(self._groups, self._shares(0), strict=True)
        ]
        self._draw(torch.cat(start))
        self._sources.record.append({"round": 0, "added": len(self._chosen)})

    def _halfway(self, what: str) -> Halfway | None:
        """Where the loop, or the training that it is at, is kept: a file that this very question alone is told by."""
        sources, spec = self._sources, self._sources.data.spec
        if sources.cache is None:
            return None
        groups = hashlib.sha256("/".join(digest(rows.numpy()) for rows in self._groups).encode()).hexdigest()
        facts = {
            "what": what, "settings": repr(self._settings), "seed": sources.seed, "device": sources.device,
            "fingerprint": spec.fingerprint, "transform": spec.transform.kind, "ids": sources.data.rows_key,
            "groups": groups, "wanted": self._wanted,
            "network": network_identity(sources.network, spec.shape, spec.classes),
            "table": None if self._table is None else digest(sources.table.numpy()),
        }  # fmt: skip
        key = hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
        return Halfway(Path(sources.cache) / f"active-{key}-halfway.safetensors", facts, dict, lambda _: None)

    def _keep(self, kept: Halfway | None, number: int) -> None:
        """Everything that moves, after this round."""
        if kept is not None:
            tensors = {"chosen": self._chosen, "scores": self._scores, "drawn": self._drawn,
                       "generator": self._generator.get_state()}  # fmt: skip
            kept.save(tensors, {"round": number, "record": self._sources.record[self._before :]})

    def _go_on(self, kept: Halfway) -> int:
        """Take back what was kept last: the number of the round after which that was."""
        found = kept.read()
        if found is None:
            return 0
        tensors, facts = found
        self._chosen, self._scores, self._drawn = (tensors[name] for name in ("chosen", "scores", "drawn"))
        self._generator.set_state(tensors["generator"])
        self._sources.record.extend(facts["record"])
        return facts["round"]

    def within(self, rows: Int64[Tensor, " m"]) -> Picks:
        """What was chosen of these rows, numbered within them."""
        place = torch.full((len(self._sources.data.train),), -1)
        place[rows] = torch.arange(len(rows))
        here = place[self._chosen]
        found = here[here >= 0]
        return Picks(found, torch.ones(len(found)), self._scores[here >= 0], self._drawn[here >= 0])

    def _shares(self, number: int) -> list[int]:
        """Rows that batch `number` takes from each group: as equal as can be, the earlier ones larger."""
        batches = self._settings.rounds + 1
        return [-(-count * (number + 1) // batches) + (-count * number // batches) for count in self._wanted]

    def _round(self, number: int, shares: list[int]) -> None:
        settings, data = self._settings, self._sources.data
        modules = self._train(number)
        features, probabilities = observed(modules, data, self._sources.device)
        unsure = uncertainty(probabilities, settings.strategy)
        compared = self._compared(features, probabilities)
        free = torch.ones(len(data.train), dtype=torch.bool)
        free[self._chosen] = False
        before = len(self._chosen)
        pool = torch.cat(self._groups)
        asked = unsure[pool[free[pool]]]
        for rows, count in zip(self._groups, shares, strict=True):
            left = rows[free[rows]]
            order = torch.sort(unsure[left], descending=True, stable=True).indices
            near = left[order[: max(count, int(settings.spread * count))]]
            added = diverse(compared, near, self._chosen, count - int(settings.explore * count))
            free[added] = False
            left = rows[free[rows]]
            self._add(added, unsure[added])
            self._draw(left[torch.randperm(len(left), generator=self._generator)[: count - len(added)]])
        facts: dict[str, Any] = {
            "round": number,
            "trained_on": before,
            "added": len(self._chosen) - before,
            **settings.measured(modules, self._sources),
            "uncertainty_of_pool": round(float(asked.mean()), 6),
            "uncertainty_of_batch": round(float(unsure[self._chosen[before:]].mean()), 6),
        }
        self._sources.record.append(facts)

    def _train(self, number: int) -> list[nn.Module]:
        """Networks trained from scratch on the chosen rows, and on their labels alone."""
        settings, sources = self._settings, self._sources
        data = sources.data.with_train(self._chosen)
        members = settings.networks if settings.strategy in COMMITTEE else 1
        seeds = [derive_seed(sources.seed, "active", number, member) for member in range(members)]

        def build(seed: int) -> nn.Module:
            return build_network(sources.network, data.spec.shape, data.spec.classes, seed)

        config = settings.training(len(self._chosen))
        # A committee is trained in one call, which no single training can be kept of.
        halfway = self._halfway(f"training of round {number}") if members == 1 else None
        found = fit_dataset(build, data, config, seeds, device=sources.device, halfway=halfway)
        sources.was_trained(sources.device)
        if halfway is not None:
            halfway.drop()
        return [fitted.module for fitted in found]

    def _compared(self, features: Tensor, probabilities: Tensor) -> LastLayer:
        """What rows differ by, as factors."""
        if self._settings.compare == "features":
            return self._table or LastLayer.of_table(features)
        p = probabilities[0]
        return LastLayer(p - F.one_hot(p.argmax(1), p.shape[1]), features)

    def _draw(self, rows: Int64[Tensor, " k"]) -> None:
        """Add rows that chance alone decided."""
        self._add(rows, torch.zeros(len(rows)), drawn=True)

    def _add(self, rows: Int64[Tensor, " k"], scores: Float[Tensor, " k"], drawn: bool = False) -> None:
        self._chosen = torch.cat([self._chosen, rows])
        self._scores = torch.cat([self._scores, scores])
        self._drawn = torch.cat([self._drawn, torch.full((len(rows),), drawn)])
