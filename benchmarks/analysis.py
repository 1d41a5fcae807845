"""Every analysis of `decoct analyze` on a small pool: what distilled sets teach, compared with what the papers found.

Fashion-MNIST at 14x14, 5,000 training rows, 2,000 validation and 2,000 test rows drawn once; a narrow ConvNet (an MLP
for influence, whose hundred copies it trains as one model). Two sets of 10 images per class are made from the pool,
each in a fixed number of seconds, and every analysis is asked about both; those that are about the data alone share
their work. Whatever is finished is kept in `--work` and never done again, so the script may be stopped at any time;
each finding goes to results/analysis/ as soon as it is whole.

    python benchmarks/analysis.py [--what mixing agreement] [--recipes dm mtt]
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro
from record import RESULTS, save

import decoct
from decoct.analysis.agreement import Agreement
from decoct.analysis.analyze import analyze
from decoct.analysis.curvature import Curvature
from decoct.analysis.influence import Influence
from decoct.analysis.mixing import Mixing
from decoct.analysis.removed import Removed
from decoct.analysis.scaling import Scaling
from decoct.analysis.study import Analysis
from decoct.analysis.substitutability import Substitutability
from decoct.compact.compact_set import CompactSet
from decoct.data.dataset import Dataset, Split
from decoct.streams import Streams

DATA = Path(os.environ.get("DECOCT_DATA", Path(__file__).parents[2] / "shared" / "data"))
NETWORK = "convnet3-w8"
ASKED: dict[str, tuple[Analysis, str]] = {
    "mixing": (Mixing(), NETWORK),
    "substitutability": (Substitutability(epochs=20), NETWORK),
    "agreement": (Agreement(looks=16, shares=(0.005, 0.01, 0.02, 0.05, 0.1)), NETWORK),
    "curvature": (Curvature(looks=12, probes=10), NETWORK),
    "influence": (Influence(shown=6), "mlp-w32"),
    "removed": (Removed(epochs=10), NETWORK),
    "scaling": (Scaling(ipc=(1, 3, 10, 30), entries=(1, 2, 4, 10), epochs=(1, 10)), NETWORK),
}
ABOUT_DATA = ("scaling",)
"""Analyses whose main finding is the same for every set; asked about the first only."""


@dataclass(frozen=True)
class Options:
    """What is asked about which sets."""

    what: tuple[str, ...] = tuple(ASKED)
    """Analyses, in this order."""
    recipes: tuple[str, ...] = ("dm", "mtt")
    """Recipes that make the sets."""
    seconds: float = 60.0
    """Time by the clock to make each set."""
    seeds: int = 3
    """Networks of each kind."""
    work: Path = Path("runs/benchmarks/analysis")
    """Folder of sets and finished trainings."""


def drawn(split: Split, count: int, name: str) -> Split:
    """`count` rows of a split, the same every time."""
    return split.take(torch.randperm(len(split), generator=Streams(0)(name))[:count].sort().values)


def pool() -> Dataset:
    """The small version of the data."""
    data = decoct.open(f"npz:{DATA / 'fashion-mnist.npz'}", size=14)
    return replace(data, train=drawn(data.train, 5000, "train"), val=drawn(data.val, 2000, "val"),
                   test=drawn(data.test, 2000, "test"))  # fmt: skip


def made(data: Dataset, recipe: str, options: Options) -> CompactSet:
    """The set of a recipe, made once."""
    folder = options.work / recipe
    if (folder / "manifest.json").exists():
        return decoct.load(folder)
    return decoct.distill(data, recipe, ipc=10, budget=options.seconds, network=NETWORK, device="cpu", out=folder)


def main(options: Options) -> None:
    """Ask what was not answered yet."""
    (RESULTS / "analysis").mkdir(exist_ok=True)
    data = pool()
    for what in options.what:
        analysis, network = ASKED[what]
        for recipe in options.recipes[:1] if what in ABOUT_DATA else options.recipes:
            name = f"analysis/{what}-{recipe}"
            if (RESULTS / f"{name}.json").exists():
                continue
            small = made(data, recipe, options)
            start = time.perf_counter()
            # One folder for all sets, so that what is about the data alone is done once.
            out = options.work / "shared"
            found = analyze(analysis, small, data, network=network, seeds=options.seeds, out=out, device="cpu")
            found.save(options.work / recipe / "analysis" / f"{what}.json")
            print(found.table(), flush=True)
            told = {key: value for key, value in found.to_json().items() if key != "pictures"}
            # Only of a run that was never stopped is this the whole time.
            seconds = round(time.perf_counter() - start, 1)
            keys = ("recipe", "steps_done", "seconds", "best_val_accuracy")
            about = {key: small.provenance.get(key) for key in keys}
            save(name, {**told, "made": about, "threads": torch.get_num_threads(), "seconds_here": seconds})


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
