"""The candidates of a hyper-parameter search: what they are, networks trained at each of them, and their losses."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from decoct.compact.compact_set import CompactSet
from decoct.data.dataset import Dataset, Split
from decoct.evaluation.data_facts import data_key
from decoct.evaluation.ranking import FEWEST_ITEMS
from decoct.networks.build import network as build_network
from decoct.networks.identity import network_identity
from decoct.progress import progress
from decoct.settings import require_at_least
from decoct.streams import Streams, derive_seed
from decoct.tensor_file import write_tensors
from decoct.training.flat import FlatNetwork
from decoct.training.responses import train_at, validation_loss
from decoct.training.space import Space
from decoct.training.weighted_rows import Rows, pieces

KEY_VERSION = 2


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
        require_at_least(self, "a Search", candidates=FEWEST_ITEMS, steps=1, full_steps=1, full_batch=1)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Trains candidates, and keeps what it trained.

    Rows of sets and of splits count by their weights, in training and in every loss.
    """

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
            "set": self.train_set.content_hash, "data": data_key(self.data), "network": self._identity,
            "space": repr(self.space), "search": {**asdict(self.search), "candidates": 0}, "u": u.tolist(),
            "seed": seed, "schema": KEY_VERSION,
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
            write_tensors(path, kept)
        return weights[0], weights[1], seconds[0], seconds[1]

    @cached_property
    def _identity(self) -> str:
        # By its name alone a network that was edited would be given the weights of the old one.
        return network_identity(self.network, self.data.spec.shape, self.data.spec.classes)

    def rows_of(self, compact_set: CompactSet) -> Rows:
        return self._rows(*compact_set.materialize())

    def whole(self) -> Rows:
        return self._split(self.data.val)

    def random(self, count: int, seed: int) -> Rows:
        """`count` random rows of the validation split, rounded up to equal shares of the classes: up to a row less than
        one a class more. A class with fewer rows than its share gives all it has."""
        generator = Streams(derive_seed(seed, "search"))("random")
        share = -(-count // self.data.spec.classes)
        picked = [
            torch.from_numpy(members)[torch.randperm(len(members), generator=generator)[:share]]
            for members in self.data.val.class_rows(self.data.spec.classes)
        ]
        return self._split(self.data.val.take(torch.cat(picked)))

    def _split(self, split: Split) -> Rows:
        return self._rows(self.data.inputs(split), split.labels(), split.weight())

    def _rows(self, inputs: Tensor, targets: Tensor, weights: Tensor | None) -> Rows:
        return Rows.of(inputs, targets, weights, self.data.spec.classes, self.device)


def _read(path: Path, device: str) -> tuple[Tensor, Tensor, float, float] | None:
    try:
        found = load_file(path)
        first, second = found["seconds"].tolist()
        return found["small"].to(device), found["full"].to(device), first, second
    except (OSError, KeyError, ValueError, SafetensorError):
        return None


def losses_on(net: FlatNetwork, weights: list[list[Tensor]], sets: Sequence[Rows]) -> np.ndarray:
    """`[seeds, candidates]`: losses of the networks of each seed on the validation set of that seed."""
    many = sets if len(sets) > 1 else [sets[0]] * len(weights)
    with torch.no_grad():
        found = [[_loss(net, theta, rows) for theta in runs] for runs, rows in zip(weights, many, strict=True)]
    return np.array(found, dtype=np.float64)


def _loss(net: FlatNetwork, theta: Tensor, rows: Rows) -> float:
    parts = [len(piece.inputs) * float(validation_loss(net, theta, piece)) for piece in pieces(rows)]
    return sum(parts) / len(rows.inputs)
