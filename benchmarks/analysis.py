"""Every analysis of `decoct analyze` on a small pool: what distilled sets teach, compared with what the papers found.

Fashion-MNIST at 14x14, 5,000 training rows, 2,000 validation and 2,000 test rows drawn once; a narrow ConvNet (an MLP
for influence, whose hundred copies it trains as one model). The step size of all trainings is chosen on validation
data among three, on real images alone. Two sets are made from the pool, and every analysis is asked about both; what
is about the data alone is done once. Whatever is finished is kept in `--work` and never done again, so the script may
be stopped at any time; each finding goes to results/analysis/ as soon as it is whole, and one that is there is not
asked again: remove its file to measure it anew. 12 minutes of one core of a Zen 5 processor, the sets included.

    python benchmarks/analysis.py [--what mixing agreement] [--sets dm mtt]
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
import tyro
from real_sets import DATA
from record import RESULTS, save

import decoct
from decoct.analysis.agreement import Agreement
from decoct.analysis.analyze import analyze
from decoct.analysis.curvature import Curvature
from decoct.analysis.influence import Influence
from decoct.analysis.mixing import Mixing
from decoct.analysis.removed import Removed
from decoct.analysis.routine import Routine
from decoct.analysis.scaling import Scaling
from decoct.analysis.study import Analysis, Study
from decoct.analysis.substitutability import Substitutability
from decoct.compact.compact_set import CompactSet
from decoct.data.dataset import Dataset, Split
from decoct.files import write_json
from decoct.streams import Streams

NETWORK, MLP = "convnet3-w8", "mlp-w32"
LRS = (0.01, 0.03, 0.1)
WIDE = "convnet3-w32"
SETS: dict[str, dict[str, Any]] = {
    "dm": {"ipc": 10, "steps": 500, "network": WIDE},
    "mtt": {"ipc": 1, "budget": 150.0, "network": WIDE},
}
"""Made with a wider network than those that are analysed: the narrow one is too weak a student to choose a step by."""
ASKED: dict[str, tuple[Analysis, str]] = {
    "mixing": (Mixing(), NETWORK),
    "substitutability": (Substitutability(epochs=40), NETWORK),
    "agreement": (Agreement(looks=20, shares=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1)), NETWORK),
    "curvature": (Curvature(looks=12, probes=10), NETWORK),
    "influence": (Influence(shown=6), MLP),
    "scaling": (Scaling(ipc=(1, 3, 10, 30), entries=(1, 2, 4, 10), epochs=(5, 40)), NETWORK),
    "removed": (Removed(epochs=40), NETWORK),
}
ABOUT_DATA = ("scaling",)
"""Analyses whose main finding is the same for every set; asked about the first only."""


@dataclass(frozen=True)
class Options:
    """What is asked about which sets."""

    what: tuple[str, ...] = tuple(ASKED)
    """Analyses, in this order."""
    sets: tuple[str, ...] = tuple(SETS)
    """The sets, by their recipe."""
    seeds: int = 4
    """Networks of each kind."""
    work: Path = Path("runs/benchmarks/analysis")
    """Folder of sets and finished trainings."""


def drawn(split: Split, count: int, name: str) -> Split:
    """`count` rows of a split, the same every time."""
    return split.take(torch.randperm(len(split), generator=Streams(0)(name))[:count].sort().values)


def pool() -> Dataset:
    """The small version of the data."""
    data = decoct.open(f"npz:{DATA / 'fashion-mnist.npz'}", size=14)
    # Where the file lies on this machine is nobody's business.
    spec = replace(data.spec, source="npz:fashion-mnist.npz")
    return replace(data, spec=spec, train=drawn(data.train, 5000, "train"), val=drawn(data.val, 2000, "val"),
                   test=drawn(data.test, 2000, "test"))  # fmt: skip


def made(data: Dataset, recipe: str, options: Options) -> CompactSet:
    """The set of a recipe, made once."""
    folder = options.work / recipe
    if (folder / "manifest.json").exists():
        return decoct.load(folder)
    return decoct.distill(data, recipe, device="cpu", out=folder, **SETS[recipe])


def pilot(data: Dataset, network: str, options: Options) -> dict[str, float]:
    """Validation accuracy of each step size, trained on 250 real images of each class; measured once."""
    path = options.work / f"pilot-{network}.json"
    if not path.exists():
        study = Study.of(decoct.select(data, "random", ipc=1), data, network, 2, device="cpu")
        found = {}
        for lr in LRS:
            rows = [study.rows_per_class(250, seed, "pilot") for seed in (0, 1)]
            modules = [study.train(study.real(own), Routine(lr=lr), seed) for seed, own in enumerate(rows)]
            found[str(lr)] = fmean(study.accuracy(module, data.val) for module in modules)
        write_json(path, found)
    return json.loads(path.read_text(encoding="utf-8"))


def main(options: Options) -> None:
    """Ask what was not answered yet."""
    (RESULTS / "analysis").mkdir(exist_ok=True)
    data = pool()
    for what in options.what:
        settings, network = ASKED[what]
        lrs = pilot(data, network, options)
        routine = Routine(lr=float(max(lrs, key=lambda lr: lrs[lr])))
        analysis = replace(settings, routine=routine)  # pyright: ignore[reportArgumentType]
        for recipe in options.sets[:1] if what in ABOUT_DATA else options.sets:
            name = f"analysis/{what}-{recipe}"
            if (RESULTS / f"{name}.json").exists():
                print(f"results/{name}.json is there already")
                continue
            small = made(data, recipe, options)
            start = time.perf_counter()
            # One folder for all sets, so that what is about the data alone is done once.
            out = options.work / "shared"
            found = analyze(analysis, small, data, network=network, seeds=options.seeds, out=out, device="cpu")
            found.save(options.work / recipe / "analysis" / f"{what}.json")
            print(found.table(), flush=True)
            told = {key: value for key, value in found.to_json().items() if key != "pictures"}
            about = {key: small.provenance.get(key) for key in ("recipe", "steps_done", "seconds", "best_val_accuracy")}
            # Seconds of this call: only where nothing was finished before, they are those of the whole.
            seconds = round(time.perf_counter() - start, 1)
            facts = {"made": about, "pilot": lrs, "threads": torch.get_num_threads(), "seconds_here": seconds}
            save(name, {**told, **facts})


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
