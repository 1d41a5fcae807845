"""The file of one expert trajectory: where it started, what every pass changed, and of what it is."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor

from decoct.tensor_file import write_tensors

Trajectory = tuple[Tensor, Tensor]
"""The first weights `[P]`, and the changes of each pass `[E, P]`."""


def write_trajectory(path: Path, facts: dict[str, Any], start: Float[Tensor, " p"], moves: Tensor) -> None:
    """Write it atomically, with the facts and a hash of its content; raises `OutputError`."""
    told = {"facts": json.dumps(facts, sort_keys=True), "sha256": _digest(start, moves)}
    write_tensors(path, {"start": start, "moves": moves}, told)


def read_trajectory(path: Path, facts: dict[str, Any], epochs: int) -> Trajectory | None:
    """What stands there, or None where there is none of these facts, whole and of so many passes."""
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            told = file.metadata() or {}
            start, moves = file.get_tensor("start"), file.get_tensor("moves")
    except (SafetensorError, OSError, RuntimeError, ValueError):
        return None
    known = told.get("facts") == json.dumps(facts, sort_keys=True)
    whole = told.get("sha256") == _digest(start, moves)
    return (start, moves) if known and whole and moves.shape == (epochs, len(start)) else None


def _digest(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
