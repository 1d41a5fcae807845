"""How fast this machine is: the one number by which `auto` chooses, measured for a few seconds."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import torch

from decoct.data.dataset import DataSpec
from decoct.networks.build import network
from decoct.networks.count import flops_forward
from decoct.networks.embedding import embed

SECONDS = 2.0
"""How long the machine is watched."""
ROWS = 64
"""Rows embedded at a time."""


def machine_rate(spec: DataSpec, name: str, device: str) -> float:
    """Floating-point operations a second of network `name` embedding rows like those of `spec` on `device`.

    Rounded to a power of two, so that the same machine tells the same number on most days.
    """
    module = network(name, spec.shape, spec.classes, 0).to(device).eval()
    rows = torch.zeros(ROWS, *spec.shape, device=device)
    with torch.no_grad():
        embed(module, rows)
        start, done = time.perf_counter(), 0
        while (spent := time.perf_counter() - start) < SECONDS:
            embed(module, rows).sum().item()
            done += 1
    return 2.0 ** round(math.log2(done * ROWS * flops_forward(module, spec.shape) / spent))


def kept_rate(folder: Path | None) -> float | None:
    """The number by which the run in `folder` was chosen, so that going on with it chooses the same.

    None where there is none, or a file that cannot be read: `Workplace` tells what is wrong with that one, as an
    `IntegrityError`.
    """
    try:
        found = json.loads((folder / "run.json").read_text(encoding="utf-8")) if folder is not None else None
    except (OSError, ValueError, RecursionError):
        return None
    rate = found.get("rate") if isinstance(found, dict) else None
    return float(rate) if isinstance(rate, float | int) else None
