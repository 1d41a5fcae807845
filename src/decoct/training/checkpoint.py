"""The state of a run or of a training in one file, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from decoct.errors import IntegrityError
from decoct.tensor_file import write_tensors

Tensors = dict[str, Tensor]


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """The moments of an optimiser as flat tensors, `index.name`."""
    found: Tensors = {}
    for index, moments in optimizer.state_dict()["state"].items():
        found |= {f"{index}.{name}": value for name, value in moments.items() if isinstance(value, Tensor)}
    return found


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Put the moments of `optimizer_tensors` back, each laid out in memory as its parameter is."""
    moments: dict[int, Tensors] = {}
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for key, value in tensors.items():
        place, name = key.split(".", 1)
        index, like = int(place), parameters[int(place)]
        # Fused updates walk through memory and take no notice of strides.
        laid = torch.empty_like(like, dtype=value.dtype).copy_(value) if value.shape == like.shape else value
        moments.setdefault(index, {})[name] = laid.detach()
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> Tensors:
    """The same tensors with `prefix.` before every name."""
    return {f"{prefix}.{name}": value for name, value in tensors.items()}


def under(prefix: str, tensors: Mapping[str, Tensor]) -> Tensors:
    """The tensors whose name starts with `prefix.`, without it."""
    mark = f"{prefix}."
    return {name.removeprefix(mark): value for name, value in tensors.items() if name.startswith(mark)}


def save_checkpoint(path: Path, tensors: Tensors, facts: dict[str, Any], kept: Tensors | None = None) -> None:
    """Write tensors and plain facts into one safetensors file, atomically; raises `OutputError`.

    `kept` are copies on the CPU already, contiguous and apart from each other, and are not copied once more.
    """
    separate = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()} | (kept or {})
    head = {"facts": json.dumps(facts), "sha256": _digest(separate, facts)}
    write_tensors(path, separate, head)


def load_checkpoint(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """Read what `save_checkpoint` wrote; raises `IntegrityError` for a damaged file."""
    try:
        with safe_open(path, framework="pt") as file:
            head = file.metadata()
            facts = json.loads(head["facts"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if head["sha256"] != _digest(tensors, facts):
            raise ValueError("its content does not match its sha256")
        return tensors, facts
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise IntegrityError(
            f"resuming from {path}",
            received=f"a file that cannot be read ({error})",
            expected="the checkpoint of an interrupted run",
            remedy=f"delete {path.parent} to start this run anew",
        ) from error


def _digest(tensors: Tensors, facts: dict[str, Any]) -> str:
    """sha256 of the facts and of every tensor with its name, type and shape."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
