"""Expert trajectories: the weights of networks on their way through the real data, a vector after every pass."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from decoct.data.dataset import Dataset
from decoct.files import write_atomically
from decoct.machine import available_memory, require_memory
from decoct.networks.build import network as build_network
from decoct.progress import Ticker, progress
from decoct.settings import require_settings
from decoct.streams import derive_seed
from decoct.training.checkpoint import prefixed, under
from decoct.training.config import FitConfig
from decoct.training.fit import train
from decoct.training.flat import FlatNetwork
from decoct.training.halfway import Halfway
from decoct.training.job import Job
from decoct.training.passes import Passes

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

    Experts are trained in turn, each by the engine of `fit`, and not stacked into one model: on a processor that takes
    1.5 to 3 times as long for ConvNets, because their convolutions become grouped ones (measured, see `fit`); the bits
    of an expert would depend on how many there are; and each is kept as soon as it is done.
    """

    def __init__(
        self, data: Dataset, course: Course, seeds: Sequence[int], device: str = "cpu", cache: Path | None = None
    ) -> None:
        self._data, self._course, self._seeds, self._device, self._cache = data, course, list(seeds), device, cache
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}
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
        finite, `OutputError` where the cache cannot be written.
        """
        self._kept |= {seed: kept for seed in self._seeds if seed not in self._kept and (kept := self._read(seed))}
        missing = [seed for seed in self._seeds if seed not in self._kept]
        if missing:
            self._train(missing)
        return len(missing)

    def _train(self, seeds: list[int]) -> None:
        course = self._course
        flat = FlatNetwork(self._build(0))
        remembered = len(seeds) * (course.config.epochs + 2) * flat.count * _FLOATS[course.stored].itemsize
        require_memory("keeping the trajectories of experts", remembered, "train fewer experts, or for fewer epochs")
        epochs = course.config.epochs
        with progress(f"training experts, {course.network}", float(len(seeds) * epochs)) as tick:
            for place, seed in enumerate(seeds):
                shown = f"expert {place + 1} of {len(seeds)}"

                def passes(done: float | int, note: str = "", before: int = place * epochs, shown: str = shown) -> None:
                    tick(before + done, f"{shown}, {note}")

                self._kept[seed] = self._trajectory(seed, flat, passes)
                self._write(seed)
                if path := self._halfway_path(seed):
                    path.unlink(missing_ok=True)

    def _trajectory(self, seed: int, flat: FlatNetwork, tick: Ticker) -> tuple[Tensor, Tensor]:
        course, seen = self._course, list[Tensor]()
        source = Passes(self._data, course.rows, derive_seed(seed, "passes"), self._device)

        def look(module: nn.Module, epoch: int) -> float:
            seen.append(flat.flatten(module).cpu())
            source.renew()
            return float(epoch)

        def restore(tensors: dict[str, Tensor]) -> None:
            source.load_state_dict(under("source", tensors))
            weights = under("pass", tensors)
            seen.extend(weights[str(place)] for place in range(len(weights)))

        path = self._halfway_path(seed)
        halfway = None if path is None else Halfway(
            path, self._facts(seed),
            lambda: {**prefixed("source", source.state_dict()), **{f"pass.{i}": part for i, part in enumerate(seen)}},
            restore,
        )  # fmt: skip
        job = Job(self._build, source, source.targets, course.config, "hard", None, self._device, look, 1, False,
                  sam_radius=course.sam_radius, shown_by=source.weights, halfway=halfway)  # fmt: skip
        train(job, [seed], tick)
        start = flat.flatten(self._build(seed))
        return start, _moves(start, seen, _FLOATS[course.stored])

    def _build(self, seed: int) -> nn.Module:
        return build_network(self._course.network, self._data.spec.shape, self._data.spec.classes, seed)

    def _facts(self, seed: int) -> dict[str, Any]:
        spec = self._data.spec
        return {
            "format": _FORMAT, "fingerprint": spec.fingerprint, "transform": spec.transform.kind,
            "train_rows": len(self._data.train), "ids": self._data.rows_key, "seed": seed, **asdict(self._course),
        }  # fmt: skip

    def _path(self, seed: int) -> Path | None:
        key = hashlib.sha256(json.dumps(self._facts(seed), sort_keys=True).encode()).hexdigest()[:16]
        return None if self._cache is None else self._cache / f"trajectory-{key}.safetensors"

    def _halfway_path(self, seed: int) -> Path | None:
        path = self._path(seed)
        return None if path is None else path.with_name(f"{path.stem}-halfway.safetensors")

    def _write(self, seed: int) -> None:
        path = self._path(seed)
        if path is None:
            return
        start, moves = self._kept[seed]
        told = {"facts": json.dumps(self._facts(seed), sort_keys=True), "sha256": _digest(start, moves)}
        write_atomically(path, lambda temporary: save_file({"start": start, "moves": moves}, temporary, told))

    def _read(self, seed: int) -> tuple[Tensor, Tensor] | None:
        """The trajectory in the cache, or None where there is none of these facts, whole and of this shape."""
        path = self._path(seed)
        if path is None or not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                told = file.metadata() or {}
                start, moves = file.get_tensor("start"), file.get_tensor("moves")
        except (SafetensorError, OSError, RuntimeError, ValueError):
            return None
        known = told.get("facts") == json.dumps(self._facts(seed), sort_keys=True)
        whole = told.get("sha256") == _digest(start, moves)
        return (start, moves) if known and whole and moves.shape == (self.epochs, len(start)) else None


def _moves(start: Float[Tensor, " p"], later: list[Tensor], dtype: torch.dtype) -> Tensor:
    """Differences `[E, P]`, each from what the earlier ones add up to."""
    moves = torch.zeros(len(later), len(start), dtype=dtype)
    for epoch, weights in enumerate(later):
        moves[epoch] = (weights - _after(start, moves, epoch)).to(dtype)
    return moves


def _after(start: Float[Tensor, " p"], moves: Tensor, epoch: int) -> Float[Tensor, " p"]:
    return start + moves[:epoch].sum(0, dtype=torch.float32)


def _digest(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
