"""What watching every row costs: a training by itself beside the same training with all scores of every row.

Rows are looked at after each pass, or in their batches during it. 10,000 images of Fashion-MNIST, ConvNet-3 of width
32; the three take turns in one process, a first round is not counted. The training alone is asked for its validation
accuracy after each pass, as both others are.

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
from decoct.training.accuracy import accuracy
from decoct.training.dynamics import dynamics_config
from decoct.training.fit import fit_dataset

ALONE = "training alone"


@dataclass(frozen=True)
class Options:
    """How long to measure."""

    passes: int = 8
    """Passes of every training."""
    rounds: int = 3
    """Timed rounds."""
    name: str = "convnet3-w32"
    """Network."""
    work: Path = Path("runs/benchmarks/score_cost")
    """Folder of the cached data."""


def main(options: Options) -> None:
    """Time all three in turn and write results/score_cost.json."""
    data, _ = pool("fashion-mnist", 0.0, options.work)
    config = dynamics_config(len(data.train), options.passes)
    shape, classes = data.spec.shape, data.spec.classes
    seconds: dict[str, list[float]] = {ALONE: [], "after": [], "during": []}
    for number in range(options.rounds + 1):
        for name, spent in seconds.items():
            began = time.process_time()
            if name == ALONE:
                fit_dataset(
                    lambda start: network(options.name, shape, classes, start), data, config, [number], device="cpu",
                    evaluate=lambda module, _: accuracy(module, data, data.val), evaluate_every=1,
                )  # fmt: skip
            else:
                decoct.score(data, network=options.name, epochs=options.passes, seed=number, look=name)  # pyright: ignore
            if number:
                spent.append(time.process_time() - began)
    each = {
        look: [watched / alone for alone, watched in zip(seconds[ALONE], seconds[look], strict=True)]
        for look in ("after", "during")
    }
    for look, times in each.items():
        print(f"all {len(SCORES)} scores, looks {look}: {min(times):.2f} to {max(times):.2f} times one training")
    save("score_cost", {
        "rows": len(data.train), "network": options.name, "passes": options.passes, "scores": list(SCORES),
        "processor_seconds": seconds, "times_one_training": each,
    })  # fmt: skip


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
