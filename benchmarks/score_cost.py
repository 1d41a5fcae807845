"""What watching every row costs: a training by itself beside the same training with all scores of every row.

10,000 images of Fashion-MNIST, ConvNet-3 of width 32; the two take turns in one process, a first pair is not counted.

    python benchmarks/score_cost.py
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import tyro
from record import save
from selection_table import pool

import decoct
from decoct.networks.build import network
from decoct.selection.scores import SCORES
from decoct.training.dynamics import dynamics_config
from decoct.training.fit import fit_dataset


@dataclass(frozen=True)
class Options:
    """How long to measure."""

    passes: int = 8
    """Passes of every training."""
    rounds: int = 3
    """Timed pairs."""
    name: str = "convnet3-w32"
    """Network."""
    work: Path = Path("runs/benchmarks/score_cost")
    """Folder of the cached data."""


def main(options: Options) -> None:
    """Time both in turn and write results/score_cost.json."""
    data, _ = pool("fashion-mnist", 0.0, options.work)
    config = dynamics_config(len(data.train), options.passes)
    shape, classes = data.spec.shape, data.spec.classes
    seconds: dict[str, list[float]] = {"training alone": [], "with every score": []}
    for number in range(options.rounds + 1):
        times = [time.process_time()]
        fit_dataset(lambda start: network(options.name, shape, classes, start), data, config, [number], device="cpu")
        times.append(time.process_time())
        decoct.score(data, network=options.name, epochs=options.passes, seed=number)
        times.append(time.process_time())
        if number:
            for name, first, last in zip(seconds, times, times[1:], strict=False):
                seconds[name].append(last - first)
    each = [watched / alone for alone, watched in zip(*seconds.values(), strict=True)]
    print(f"all {len(SCORES)} scores take {min(each):.2f} to {max(each):.2f} times one training")
    save("score_cost", {
        "rows": len(data.train), "network": options.name, "passes": options.passes, "scores": list(SCORES),
        "processor_seconds": seconds, "times_one_training": each,
    })  # fmt: skip


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
