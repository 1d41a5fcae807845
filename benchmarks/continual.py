"""Class-incremental learning with a memory of 20 kB: distilled, herding, random and reservoir memories.

Fashion-MNIST at 14 x 14 pixels, 500 training rows a class, five tasks of two classes in an order of each seed's own.
Every (way, memory, seed) is a cell that is never done twice: stop the script at any time and start it again.

    python benchmarks/continual.py                 # 6 minutes of one core of a Zen 5 processor
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro
from pools import pool
from record import save

from decoct.applications.continual import MEMORIES, ContinualConfig, Way, continual


@dataclass(frozen=True)
class Options:
    """What is run."""

    source: str = "fashion-mnist"
    """Data set: the stem of an npz file in DECOCT_DATA."""
    per_class: int = 500
    """Training rows of every class."""
    size: int = 14
    """Height and width of the images."""
    nbytes: int = 20_000
    """Bytes of the memory: ten images a class."""
    ways: tuple[Way, ...] = ("scratch", "continue")
    """How networks are trained after each task."""
    memories: tuple[str, ...] = MEMORIES
    """Memories."""
    seeds: int = 8
    """Orders of classes."""
    steps: int = 150
    """Steps of each distillation."""
    network: str = "convnet2-w16"
    """Network that distils and learns."""
    work: Path = Path("runs/benchmarks/continual")
    """Folder of finished cells."""


def main(options: Options) -> None:
    """Run what is missing; write results/continual.json."""
    data = pool(options.source, options.per_class, options.size)
    results = {}
    facts = {"source": options.source, "size": options.size, "per_class": options.per_class}
    for way in options.ways:
        config = ContinualConfig(
            nbytes=options.nbytes, way=way, steps=options.steps, network=options.network
        )  # fmt: skip
        result = continual(data, options.memories, config, seeds=options.seeds, out=options.work, device="cpu")
        print(result.table(), flush=True)
        results[way] = result.to_json()
        save("continual", {**facts, "ways": results})


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
