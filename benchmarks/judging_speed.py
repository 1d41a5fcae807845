"""Judging: 5 networks (ConvNet-3 w128) trained on 100 images for 300 passes, beside the textbook loop, in one run.

100 real images (10 of each of 10 classes) of a set with 10 classes, batches of 256 (so one step a pass), SGD 0.01
with momentum 0.9 and weight decay 5e-4, learning rate times 0.1 at half. Textbook: one network after the other, eager,
`DataLoader(TensorDataset)`. Ours: `decoct.training.fit`, in float32 and in bfloat16, with the seconds of compiling.
Rounds alternate; each round trains every seed once in every way. Accuracies are those on test rows.

    python benchmarks/judging_speed.py [--source npz:PATH] [--rounds 3] [--epochs 300]

Textbook times are measured over `--textbook-epochs` passes of the same loop and scaled to all; accuracies of the
textbook loop come from whole trainings, which are run once.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import tyro
from real_sets import DATA
from record import save
from scipy import stats
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import decoct
from decoct.data.dataset import Dataset
from decoct.networks.build import network
from decoct.streams import Streams, derive_seed
from decoct.training.accuracy import accuracy
from decoct.training.config import FitConfig
from decoct.training.fit import fit

NETWORK, PER_CLASS = "convnet3", 10


@dataclass(frozen=True)
class Options:
    """What to measure, and for how long."""

    source: str = f"npz:{DATA / 'fashion-mnist.npz'}"
    """A set of images with 10 classes, as `decoct.open` takes it."""
    seeds: int = 5
    """Networks of one round."""
    epochs: int = 300
    """Passes of one training."""
    textbook_epochs: int = 30
    """Passes of the textbook loop that are timed in a round, and scaled to `epochs`."""
    rounds: int = 3
    """Rounds, which alternate."""
    test_rows: int = 2000
    """Test rows for the accuracies, spread over the split."""
    textbook_accuracy: bool = True
    """Train every seed in the textbook loop to the end as well (minutes), to set both accuracies side by side."""
    name: str = "judging_speed"
    """Name of the result."""


def a_small_set(data: Dataset) -> tuple[Tensor, Tensor]:
    """The same random `PER_CLASS` images of each class for everyone."""
    generator = Streams(0)("images")
    rows = [
        torch.from_numpy(members)[torch.randperm(len(members), generator=generator)[:PER_CLASS]]
        for members in data.train.class_rows(data.spec.classes)
    ]
    chosen = torch.cat(rows)
    return data.inputs(data.train, chosen), data.train.labels(chosen)


def textbook(build: Callable[[int], nn.Module], images: Tensor, labels: Tensor, seed: int, passes: int) -> nn.Module:
    """The loop that stands in the field's repositories."""
    module = build(seed).train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    generator = torch.Generator()
    generator.manual_seed(derive_seed(seed, "textbook"))
    loader = DataLoader(TensorDataset(images, labels), batch_size=256, shuffle=True, generator=generator)
    for epoch in range(passes):
        if epoch == passes // 2:
            optimizer.param_groups[0]["lr"] = 0.001
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(module(x), y).backward()
            optimizer.step()
    return module.eval()


def interval(values: list[float]) -> dict[str, Any]:
    """Mean and 95 % interval by Student's t; no interval for one value."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return {"values": values, "mean": mean}
    half = float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return {"values": values, "mean": mean, "low": mean - half, "high": mean + half}


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Wall seconds of `work`, and what it returned."""
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def main(options: Options) -> None:
    """Measure and write `results/<name>.json`."""
    data = decoct.open(options.source)
    images, labels = a_small_set(data)
    step = max(1, len(data.test) // options.test_rows)
    test = data.test.take(slice(0, None, step))
    seeds = list(range(options.seeds))

    def build(seed: int) -> nn.Module:
        return network(NETWORK, data.spec.shape, data.spec.classes, seed)

    config = {
        kind: FitConfig(epochs=options.epochs, batch_size=256, schedule="step", precision=kind)
        for kind in ("float32", "bfloat16")
    }
    times: dict[str, list[float]] = {"textbook": [], "float32": [], "bfloat16": []}
    found: dict[str, list[float]] = {}
    how: dict[str, str] = {}
    for round_ in range(options.rounds):
        spent, _ = seconds(lambda: [textbook(build, images, labels, seed, options.textbook_epochs) for seed in seeds])
        times["textbook"].append(spent * options.epochs / options.textbook_epochs)
        for kind, chosen in config.items():
            spent, fitted = seconds(lambda chosen=chosen: fit(build, images, labels, chosen, seeds))
            times[kind].append(spent)
            how[kind] = fitted[0].how
            if round_ == 0:
                found[kind] = [accuracy(one.module, data, test) for one in fitted]
        print(f"round {round_ + 1}: " + ", ".join(f"{kind} {spent[-1]:.1f} s" for kind, spent in times.items()))
    if options.textbook_accuracy:
        found["textbook"] = [
            accuracy(textbook(build, images, labels, seed, options.epochs), data, test) for seed in seeds
        ]
    ratios = {kind: interval([a / b for a, b in zip(times["textbook"], times[kind], strict=True)]) for kind in config}
    result = {
        "what": f"{options.seeds} x {NETWORK} on {len(images)} images {list(data.spec.shape)}, {options.epochs} passes",
        "source": Path(options.source).name, "seeds": seeds, "rounds": options.rounds,
        "threads": torch.get_num_threads(),
        "textbook_epochs_timed": options.textbook_epochs, "how": how,
        "seconds_all_seeds": {kind: interval(values) for kind, values in times.items()},
        "times_faster": ratios,
        "test_accuracy": {kind: interval(values) for kind, values in found.items()},
    }  # fmt: skip
    save(options.name, result)
    for kind, ratio in ratios.items():
        print(f"{kind}: {ratio['mean']:.2f} times faster, accuracies {found}")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
