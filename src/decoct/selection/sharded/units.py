"""One work unit: the picks of one coarse shard, kept in a file, so that a stopped selection goes on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from decoct.files import write_atomically
from decoct.selection.selector import Picks, Selector
from decoct.selection.sharded.partition import Shard, read_shard
from decoct.selection.sharded.turns import standing
from decoct.streams import Streams


@dataclass(frozen=True)
class Unit:
    """Everything that the picks of one shard follow from."""

    partition: str
    """Folder of the shards."""
    picked: str
    """Folder of the picks."""
    shard: Shard
    dtype: str
    width: int
    count: int
    method: Selector
    seed: int
    told: str
    """What was asked for, in words that another selection does not share: stands in the file of the picks."""

    @property
    def path(self) -> Path:
        return Path(self.picked) / f"{self.shard.name}.safetensors"


def pick_unit(unit: Unit) -> int:
    """Pick from the shard and keep the picks, with row numbers of the table; returns the rows of the shard.

    Their weights are the rows of the shard that each stands for.

    The same unit gives the same file, wherever and however often it runs.
    """
    features, numbers = read_shard(Path(unit.partition), unit.shard, unit.dtype, unit.width)
    found = unit.method.pick(features, unit.count, Streams(unit.seed)(f"select/{unit.shard.name}"))
    found = standing(found, unit.shard.rows)
    tensors = {"rows": numbers[found.rows], "weights": found.weights, "scores": found.scores.float()}
    tensors = {name: values.contiguous() for name, values in tensors.items()}
    write_atomically(unit.path, lambda file: save_file(tensors, file, {"unit": _told(unit)}))
    return unit.shard.rows


def finished(unit: Unit) -> Picks | None:
    """The kept picks of a unit; None where there are none, or those of something else."""
    if not unit.path.exists():
        return None
    try:
        with safe_open(unit.path, framework="pt") as file:
            if (file.metadata() or {}).get("unit") != _told(unit):
                return None
            rows, weights, scores = (file.get_tensor(name) for name in ("rows", "weights", "scores"))
    except (SafetensorError, ValueError):
        return None
    return Picks(rows.to(torch.int64), weights, scores)


def _told(unit: Unit) -> str:
    return json.dumps([2, unit.told, unit.shard.name, unit.shard.rows, unit.count, unit.seed])
