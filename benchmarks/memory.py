"""Resident memory of `distill` on all 60,000 images of Fashion-MNIST, beyond what importing torch takes.

Each recipe runs for some steps in a process of its own, at 10 images per class on ConvNet-3 width 128, validation
looks included; the peak is the kernel's own figure for that process.

    python benchmarks/memory.py [--steps 16]
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

import tyro
from real_sets import DATA
from record import save

CHILD = """
import json, sys
import torch
torch.ones(8, 8) @ torch.ones(8, 8)
from decoct.machine import peak_memory
before = peak_memory()
import decoct
data = decoct.open("npz:" + sys.argv[1])
opened = peak_memory()
decoct.distill(data, sys.argv[2], ipc=10, steps=int(sys.argv[3]), device="cpu")
print(json.dumps({"torch": before, "opened": opened, "peak": peak_memory(), "rows": len(data.train) + len(data.val)}))
"""


@dataclass(frozen=True)
class Options:
    """How long each recipe runs."""

    steps: int = 16
    """Outer steps; memory does not grow after the first few."""


def main(options: Options) -> None:
    """Measure every recipe and write results/memory.json."""
    found = {}
    for recipe in ("dm", "ridge"):
        command = [sys.executable, "-c", CHILD, str(DATA / "fashion-mnist.npz"), recipe, str(options.steps)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[recipe] = json.loads(done.stdout.splitlines()[-1])
        beyond = found[recipe]["peak"] - found[recipe]["torch"]
        print(f"{recipe}: {beyond / 1e9:.2f} GB beyond torch's own {found[recipe]['torch'] / 1e9:.2f} GB")
    save("memory", {"source": "fashion-mnist.npz", "ipc": 10, "steps": options.steps, "bytes": found})


if __name__ == "__main__":
    main(tyro.cli(Options))
