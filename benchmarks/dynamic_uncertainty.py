"""All of Fashion-MNIST beside three quarters of it: dynamic uncertainty, random rows, everything.

Each seed records one training, chooses 75 % of the training rows over all classes together as the paper does, and
trains one student on them, one on random rows, one on everything, with the same number of passes; last epoch, test data
read once. Recordings and students are kept: stop at any time, start again.

    python benchmarks/dynamic_uncertainty.py
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import tyro
from real_sets import DATA
from record import save

import decoct
from decoct.data.dataset import Dataset
from decoct.evaluation import statistics
from decoct.evaluation.bench import Bench
from decoct.evaluation.protocol import PROTOCOLS, Protocol


@dataclass(frozen=True)
class Options:
    """What is run, and where its work is kept."""

    fraction: float = 0.75
    """Share of the training rows that is kept."""
    seeds: int = 3
    """Recordings, draws and students."""
    passes: int = 12
    """Passes of every student over its rows."""
    network: str = "convnet3-w32"
    """Student."""
    work: Path = Path("runs/benchmarks/dynamic_uncertainty")
    """Folder of recordings and finished students."""
    device: str = "cpu"
    """Where networks are trained."""


def main(options: Options) -> None:
    """Choose, train, compare seed by seed, write."""
    # 600 of the 60,000 rows are for validation, which nothing here is chosen by.
    data = decoct.open(f"npz:{DATA / 'fashion-mnist.npz'}", val_fraction=0.01, cache=options.work / "cache")
    found: dict[str, list[float]] = {"dyn-unc": [], "random": [], "all": []}
    for seed in range(options.seeds):
        for name, accuracy in one_seed(data, seed, options).items():
            found[name].append(accuracy)
        gaps = {name: [a - b for a, b in zip(found[name], found["all"], strict=True)] for name in ("dyn-unc", "random")}
        save("dynamic_uncertainty", {
            "source": "fashion-mnist", "rows": len(data.train), "fraction": options.fraction,
            "network": options.network, "device": options.device,
            "protocol": protocol(options).facts(), "last": found, "below_all": gaps,
            "intervals": {name: statistics.interval(values) for name, values in found.items()},
            "gap_intervals": {name: statistics.interval(values) for name, values in gaps.items()},
        })  # fmt: skip


def one_seed(data: Dataset, seed: int, options: Options) -> dict[str, float]:
    """Accuracy of the student on each of the three sets of rows."""
    bench = Bench.of(
        data, protocol(options), [options.network], [seed],
        baselines=(), out=options.work / "students", device=options.device,
    )  # fmt: skip
    core = decoct.select(
        data, "dyn-unc", fraction=options.fraction, balance="global", seed=seed, cache=options.work / "dynamics",
        device=options.device,
    )  # fmt: skip
    nbytes = core.nbytes.total
    entries = {
        "dyn-unc": bench.judge(core, f"dyn-unc {seed}").entries[0],
        "random": bench.judge_baseline("random", nbytes).entries[0],
        "all": bench.entries(bench.contenders(["full"], nbytes)[0])[0],
    }
    return {name: entry.last[0] for name, entry in entries.items()}


def protocol(options: Options) -> Protocol:
    """AdamW on batches of 64, the same for rows chosen and for everything, no augmentation."""
    fit = replace(PROTOCOLS["soft-300"].fit, epochs=options.passes, batch_size=64, augment="", precision="bfloat16")
    return Protocol(f"{options.passes}-passes", fit, full_epochs=options.passes, full_samples=10**9, full_batch=64,
                    checks=1)  # fmt: skip


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
