"""SIGKILL at 20 random moments of `distill`, each followed by the same call: are the bits those of a run left alone?

Real digits, both recipes in turn, 10 runs each. Every run is a fork of a warmed-up process, so that the moments fall
into the run itself and not into importing torch; a checkpoint is written after every step.

    python benchmarks/kill_resume.py [--kills 20]
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from record import save

import decoct
from decoct.data.dataset import Dataset
from decoct.distillation.workplace import Workplace
from decoct.files import sha256

NETWORK = "convnet3-w16"


@dataclass(frozen=True)
class Options:
    """How often to kill."""

    kills: int = 20
    """Runs that are killed once each."""
    steps: int = 40
    """Outer steps of a run."""
    seed: int = 0
    """Seed of the moments."""


def start(data: Dataset, recipe: str, folder: Path, steps: int) -> int:
    """Begin or resume a run in a child process; returns its number."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            decoct.distill(data, recipe, ipc=1, steps=steps, network=NETWORK, out=folder, device="cpu")
            status = 0
        finally:
            os._exit(status)
    return child


def main(options: Options) -> None:
    """Kill, resume, compare, and write results/kill_resume.json."""
    torch.set_num_threads(1)  # forked children may not inherit a pool of threads
    Workplace.checkpoint_seconds = 0.0
    data, dice = decoct.open("digits"), random.Random(options.seed)
    found = []
    with tempfile.TemporaryDirectory() as temporary:
        for recipe in ("dm", "ridge"):
            whole = Path(temporary) / recipe
            assert os.waitpid(start(data, recipe, Path(temporary) / f"{recipe}-first", options.steps), 0)[1] == 0
            began = time.monotonic()
            assert os.waitpid(start(data, recipe, whole, options.steps), 0)[1] == 0
            seconds = time.monotonic() - began
            for number in range(options.kills // 2):
                folder, moment = Path(temporary) / f"{recipe}-{number}", dice.uniform(0, seconds)
                child = start(data, recipe, folder, options.steps)
                time.sleep(moment)
                os.kill(child, signal.SIGKILL)
                killed = os.waitpid(child, 0)[1] == signal.SIGKILL
                assert os.waitpid(start(data, recipe, folder, options.steps), 0)[1] == 0
                same = sha256(folder / "set.safetensors") == sha256(whole / "set.safetensors")
                found.append({"recipe": recipe, "after": moment, "of": seconds, "killed": killed, "same_bits": same})
                print(found[-1], flush=True)
    killed = sum(one["killed"] for one in found)
    same = sum(one["same_bits"] for one in found)
    save("kill_resume", {"steps": options.steps, "runs": found, "killed": killed, "same_bits": same})


if __name__ == "__main__":
    main(tyro.cli(Options))
