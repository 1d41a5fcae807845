"""Expert trajectories: the weights of networks on their way through the real data, a vector after every pass."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from decoct.data.dataset import Dataset
from decoct.machine import available_memory, require_memory
from decoct.networks.build import network as build_network
from decoct.networks.identity import network_identity
from decoct.progress import Ticker, progress
from decoct.settings import require_settings
from decoct.streams import derive_seed
from decoct.training.config import FitConfig
from decoct.training.fit import train
from decoct.training.flat import FlatNetwork
from decoct.training.halfway import Halfway
from decoct.training.job import Job
from decoct.training.passes import Passes, Way
from decoct.training.together import Together, at_once, stackable
from decoct.training.trajectory_file import Trajectory, read_trajectory, write_trajectory

_FLOATS = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}
ASKED_SHARE = 0.125
"""Share of the free memory that states of experts may take which are kept because they may be asked for again."""
_FORMAT = 1
"""Raised when the content of the files changes; older ones are then trained again."""


@dataclass(frozen=True)
class Course:
    """How every expert is trained and kept."""

    network: str
    """Architecture by name."""
    config: FitConfig = field(default_factory=FitConfig)
    """Optimiser, passes, batch and augmentation of an expert."""
    rows: int | None = None
    """Rows of one pass: drawn anew for each pass, classes in equal shares; none means the whole training split."""
    sam_radius: float | int = 0.0
    """Above 0, sharpness-aware steps: the gradient is taken this far uphill (L2 norm), which leads to flat minima."""
    sam_adaptive: bool = False
    """Measure that way in units of each weight, as adaptive SAM does."""
    stored: Literal["float16", "bfloat16", "float32"] = "float16"
    """Type of the stored difference from one pass to the next."""

    def __post_init__(self) -> None:
        require_settings(
            self, "the training of experts",
            ("rows", self.rows is None or self.rows >= 1, "at least 1, or None for the whole split"),
            ("sam_radius", self.sam_radius >= 0, "a number of at least 0"),
            ("stored", self.stored in _FLOATS, "one of " + ", ".join(_FLOATS)),
        )  # fmt: skip


class Trajectories:
    """Experts of `data`, one for each of `seeds`, with their weights after every pass; `at(expert, epoch)` reads them.

    A trajectory `theta_0, ..., theta_E` `[E + 1, P]` of flat weights (in the order of `FlatNetwork`) is kept
    as `theta_0` in float32 and E differences in 16 bits. Each difference is taken from what the earlier ones
    add up to, so rounding never accumulates, and is relative to the size of the step, not of the weights: what a pass
    changed survives however small it is. Half the memory of float32.

    `train()` trains the experts that are missing. With `cache`, a folder, each is written there as soon as it is
    done and found again by the data, the network, the settings and its seed; a file that is damaged or of other
    facts is not used. One that is killed on its way goes on after a pass that ended about a minute before, to the same
    bits. Weights are copied at every pass, on the CPU too, where `.cpu()` copies nothing.

    On a processor experts are trained in turn, each by the engine of `fit`: stacked into one model they take 1.5 to 3
    times as long for ConvNets, because their convolutions become grouped ones (measured, see `fit`). On an accelerator,
    where small steps are bound by launches, `ON_ACCELERATOR` of them, or as many as `together` says, are stacked
    (`together.Together`): the same weights up to rounding, written when the last pass of all of them is done, and kept
    on their way together. An expert's bits then depend on those beside it, so all of them are trained where one is
    missing, and the others stay as they were. Networks that cannot be stacked, with batch normalisation or dropout
    (`together.stackable`), are trained in turn everywhere.
    """

    def __init__(
        self, data: Dataset, course: Course, seeds: Sequence[int], device: str = "cpu", cache: Path | None = None,
        together: int | None = None,
    ) -> None:  # fmt: skip
        self._data, self._course, self._seeds, self._device, self._cache = data, course, list(seeds), device, cache
        self._together = at_once(together, device)
        self._kept: dict[int, Trajectory] = {}
        self._asked: dict[tuple[int, int], Tensor] = {}
        self._room = 0

    def __len__(self) -> int:
        return len(self._seeds)

    @property
    def epochs(self) -> int:
        """Passes of each expert; `at` knows one state more."""
        return self._course.config.epochs

    def at(self, expert: int, epoch: int) -> Float[Tensor, " p"]:
        """Weights of this expert after so many passes, float32 on the CPU; 0 is where it started.

        The sum takes tens of milliseconds for a ConvNet, so the states last asked for are kept, in as much memory as
        the trajectories themselves take, or `ASKED_SHARE` of what is free where that is less.
        """
        state = self._asked.pop((expert, epoch), None)
        if state is None:
            state = _after(*self._kept[self._seeds[expert]], epoch)
            self._room = self._room or self._states_there_is_room_for()
        self._asked[expert, epoch] = state
        if len(self._asked) > self._room:
            del self._asked[next(iter(self._asked))]
        # A copy: what a caller does to it must not reach the next one.
        return state.clone()

    def _states_there_is_room_for(self) -> int:
        start, moves = next(iter(self._kept.values()))
        whole = len(self._kept) * moves.numel() * moves.element_size()
        return max(1, min(whole, int(ASKED_SHARE * available_memory())) // (start.numel() * start.element_size()))

    def train(self) -> int:
        """Train what is missing; the number of experts trained.

        Raises `MemoryEstimateError` where the trajectories would not fit, `DivergenceError` for a loss that is not
        finite, `OutputError` where the cache cannot be written, `ConfigError` for a network whose frozen weights or
        buffers differ between two seeds.
        """
        self._require_one_rest()
        self._kept |= {seed: kept for seed in self._seeds if seed not in self._kept and (kept := self._read(seed))}
        missing = [seed for seed in self._seeds if seed not in self._kept]
        if missing:
            self._train(missing)
        return len(missing)

    def _require_one_rest(self) -> None:
        """Two networks tell: what differs between seeds differs between any two."""
        other = max(self._seeds, default=0)
        FlatNetwork(self._build(0)).require_same_rest(self._build(other), f"training experts, {self._course.network}")

    def _train(self, missing: list[int]) -> None:
        course, epochs, seeds = self._course, self.epochs, self._seeds
        flat, before = FlatNetwork(self._build(0)), 0
        several = self._together > 1 and stackable(flat.module, self._data.spec.shape, course.config)
        size = self._together if several else 1
        remembered = len(missing) * (epochs + 2) * flat.count * _FLOATS[course.stored].itemsize
        remembered += (min(size, len(seeds)) - 1) * epochs * flat.count * torch.float32.itemsize
        require_memory("keeping the trajectories of experts", remembered, "train fewer experts, or for fewer epochs")
        with progress(f"training experts, {course.network}", float(len(missing) * epochs)) as tick:
            for group in (seeds[first : first + size] for first in range(0, len(seeds), size)):
                new = [seed for seed in group if seed not in self._kept]
                if not new:
                    continue
                told = f"{len(self._kept) + len(new)} of {len(seeds)} experts"

                def passes(
                    done: float | int, note: str = "", start: int = before, part: int = len(new), told: str = told
                ) -> None:
                    tick(start + part * done, f"{told}, {note}")

                found = dict(zip(group, self._trajectories(group, flat, passes), strict=True))
                for seed in new:
                    self._kept[seed] = found[seed]
                    self._write(seed)
                if path := self._halfway_path(group):
                    path.unlink(missing_ok=True)
                before += epochs * len(new)

    def _trajectories(self, seeds: list[int], flat: FlatNetwork, tick: Ticker) -> list[Trajectory]:
        """Experts of these seeds, together where there are several."""
        course = self._course
        way = Way([Passes(self._data, course.rows, derive_seed(seed, "passes"), self._device) for seed in seeds])
        path, facts = self._halfway_path(seeds), [self._facts(seed) for seed in seeds]
        known = facts[0] if len(seeds) == 1 else {"together": facts}
        halfway = None if path is None else Halfway(path, known, way.collected, way.restore)

        def look(module: nn.Module, epoch: int) -> float:
            way.passed(flat.flatten(module)[None])
            return float(epoch)

        jobs = [
            Job(self._build, source, source.targets, course.config, "hard", None, self._device, look, 1, False,
                sam_radius=course.sam_radius, sam_adaptive=course.sam_adaptive, shown_by=source.weights,
                halfway=halfway)
            for source in way.sources
        ]  # fmt: skip
        if len(seeds) == 1:
            train(jobs[0], seeds, tick)
        else:
            Together(jobs, seeds).run(way.passed, tick, halfway)
        starts = [flat.flatten(self._build(seed)) for seed in seeds]
        kind = _FLOATS[course.stored]
        return [(start, _moves(start, [part[n] for part in way.seen], kind)) for n, start in enumerate(starts)]

    def _build(self, seed: int) -> nn.Module:
        return build_network(self._course.network, self._data.spec.shape, self._data.spec.classes, seed)

    @cached_property
    def _identity(self) -> str:
        return network_identity(self._course.network, self._data.spec.shape, self._data.spec.classes)

    def _facts(self, seed: int) -> dict[str, Any]:
        spec, settings = self._data.spec, asdict(self._course)
        if not settings["sam_adaptive"]:
            del settings["sam_adaptive"]  # as in the files that were written before there was a choice
        return {
            "format": _FORMAT, "fingerprint": spec.fingerprint, "transform": spec.transform.kind,
            "train_rows": len(self._data.train), "ids": self._data.rows_key, "seed": seed, **settings,
            "network": self._identity,
        }  # fmt: skip

    def _path(self, seed: int) -> Path | None:
        key = hashlib.sha256(json.dumps(self._facts(seed), sort_keys=True).encode()).hexdigest()[:16]
        return None if self._cache is None else self._cache / f"trajectory-{key}.safetensors"

    def _halfway_path(self, seeds: list[int]) -> Path | None:
        if self._cache is None:
            return None
        stems = [path.stem for seed in seeds if (path := self._path(seed))]
        key = stems[0] if len(stems) == 1 else "together-" + hashlib.sha256("/".join(stems).encode()).hexdigest()[:16]
        return self._cache / f"{key}-halfway.safetensors"

    def _write(self, seed: int) -> None:
        if path := self._path(seed):
            write_trajectory(path, self._facts(seed), *self._kept[seed])

    def _read(self, seed: int) -> Trajectory | None:
        """The trajectory in the cache, or None where there is none of these facts."""
        path = self._path(seed)
        return None if path is None else read_trajectory(path, self._facts(seed), self.epochs)


def _moves(start: Float[Tensor, " p"], later: list[Tensor], dtype: torch.dtype) -> Tensor:
    """Differences `[E, P]`, each from what the earlier ones add up to."""
    moves = torch.zeros(len(later), len(start), dtype=dtype)
    for epoch, weights in enumerate(later):
        moves[epoch] = (weights - _after(start, moves, epoch)).to(dtype)
    return moves


def _after(start: Float[Tensor, " p"], moves: Tensor, epoch: int) -> Float[Tensor, " p"]:
    return start + moves[:epoch].sum(0, dtype=torch.float32)
