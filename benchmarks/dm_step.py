"""One DM step at the field's CIFAR-10 setting, beside the textbook loop over classes, in one run.

10 images per class, 256 real images per class, ConvNet-3 of width 128, 32 x 32 colour, CPU, made-up pixels (the time
does not depend on them). Textbook: one forward pass for each class and side, eager, as every paper repository does.
Ours: the step of `decoct`'s distribution objective, with fresh networks in float32, with bfloat16 embeddings of the
real images, and with a pool of networks whose class means are kept. Rounds alternate; ratios are of medians.

    python benchmarks/dm_step.py [--rounds 5]
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import tyro
from record import save
from torch import Tensor, nn

from decoct.augment.siamese import Siamese
from decoct.data.dataset import Dataset, DataSpec, Split
from decoct.data.transform import Standardise
from decoct.distillation.objective.distribution import Distribution, DistributionState
from decoct.distillation.problem import COLOUR_STRATEGY, Problem, RealSource, Synthetic
from decoct.networks.build import network
from decoct.networks.count import flops_forward
from decoct.networks.embedding import embed
from decoct.streams import Streams, derive_seed

CLASSES, IPC, REAL, SHAPE, NETWORK = 10, 10, 256, (3, 32, 32), "convnet3"


@dataclass(frozen=True)
class Options:
    """How long to measure."""

    rounds: int = 5
    """Timed steps of each kind, taken in turn."""


def made_up_data() -> Dataset:
    """1,000 random images of each class."""
    rng = np.random.default_rng(0)
    count = 1000 * CLASSES
    x = rng.integers(0, 256, (count, *SHAPE), dtype=np.uint8)
    split = Split(x, np.arange(count) % CLASSES, np.array([f"{i}" for i in range(count)]))
    transform = Standardise(torch.full((3,), 0.5), torch.full((3,), 0.25))
    spec = DataSpec("made up", SHAPE, tuple("abcdefghij"), transform, "made-up")
    return Dataset(spec, split, split.take(slice(0, 100)), split.take(slice(0, 100)))


def textbook_loss(number: int, images: Tensor, classes: Tensor, real: tuple[Tensor, Tensor], strategy: str) -> Tensor:
    """The loop over classes: two forward passes a class, augmentation shared inside the class."""
    module = network(NETWORK, SHAPE, CLASSES, derive_seed(0, "distribution", number))
    generator = torch.Generator()
    generator.manual_seed(derive_seed(0, "augmentation", number))
    siamese = Siamese(strategy, per_sample=True)
    parameters = siamese.draw(CLASSES, SHAPE, generator)
    loss = torch.zeros(())
    for label in range(CLASSES):
        rows, own = real[0][real[1] == label], images[classes == label]
        one = torch.tensor([label])
        rows = siamese.apply(rows, parameters.take(one.repeat(len(rows))))
        own = siamese.apply(own, parameters.take(one.repeat(len(own))))
        with torch.no_grad():
            mean = embed(module, rows).mean(0)
        loss = loss + (mean - embed(module, own).mean(0)).square().sum()
    return loss


def conv_rate(seconds: float = 4.0) -> float:
    """Operations a second of the network's three convolutions alone, compiled, at the piece that suits them best."""
    best = 0.0
    for piece in (8, 16, 32):
        layers = nn.ModuleList([nn.Conv2d(3, 128, 3, padding=1), *(nn.Conv2d(128, 128, 3, padding=1) for _ in "ab")])
        layers = layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        inputs = [torch.randn(piece, c, s, s).contiguous(memory_format=torch.channels_last) for c, s in
                  ((3, 32), (128, 16), (128, 8))]  # fmt: skip
        operations = piece * sum(2 * 9 * c * 128 * s * s for c, s in ((3, 32), (128, 16), (128, 8)))
        with torch.no_grad():
            for _ in range(3):
                [layer(x) for layer, x in zip(layers, inputs, strict=True)]
            start, done = time.perf_counter(), 0
            while time.perf_counter() - start < seconds / 3:
                [layer(x) for layer, x in zip(layers, inputs, strict=True)]
                done += 1
            best = max(best, operations * done / (time.perf_counter() - start))
    return best


class Ours:
    """A step of the objective with a source of real images that gives the same rows to every contender."""

    def __init__(self, data: Dataset, images: Tensor, classes: Tensor, **options: object) -> None:
        problem = Problem(data, IPC, NETWORK, "cpu", COLOUR_STRATEGY, work=1e15)
        objective = Distribution(real_per_class=REAL, **options)  # type: ignore[arg-type]
        state = objective.init(problem, Streams(0))
        assert isinstance(state, DistributionState)
        self.state, self.data = state, data
        self.images, self.classes = images.clone().requires_grad_(True), classes
        self.real = RealSource(data, "cpu", torch.Generator().manual_seed(1))

    def step(self) -> float:
        self.images.grad = None
        one_hot = nn.functional.one_hot(self.classes, CLASSES).float()
        loss = self.state.loss(Synthetic(self.images, one_hot, self.classes), self.real)
        loss.backward()
        return loss.item()


class Textbook:
    """The loop over classes on the same rows."""

    def __init__(self, data: Dataset, images: Tensor, classes: Tensor) -> None:
        self.images, self.classes, self.number = images.clone().requires_grad_(True), classes, 0
        self.real = RealSource(data, "cpu", torch.Generator().manual_seed(1))

    def step(self) -> float:
        self.images.grad = None
        rows = self.real.per_class(REAL)
        loss = textbook_loss(self.number, self.images, self.classes, rows, COLOUR_STRATEGY)
        self.number += 1
        loss.backward()
        return loss.item()


def main(options: Options) -> None:
    """Measure and write results/dm_step.json."""
    data = made_up_data()
    images = torch.randn(CLASSES * IPC, *SHAPE, generator=torch.Generator().manual_seed(0))
    classes = torch.arange(CLASSES).repeat_interleave(IPC)
    contenders: dict[str, Callable[[], float]] = {
        "textbook": Textbook(data, images, classes).step,
        "float32": Ours(data, images, classes, bfloat16=False).step,
        "bfloat16": Ours(data, images, classes, bfloat16=True).step,
        "pool": Ours(data, images, classes, bfloat16=True, pool=20, renew_every=4).step,
    }
    for _ in range(24):
        contenders["pool"]()
    losses = {name: step() for name, step in contenders.items()}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(options.rounds):
        for name, step in contenders.items():
            repeats = 8 if name == "pool" else 1
            start = time.perf_counter()
            for _ in range(repeats):
                step()
            times[name].append((time.perf_counter() - start) / repeats)
    median = {name: statistics.median(values) for name, values in times.items()}
    rate = conv_rate()
    module = network(NETWORK, SHAPE, CLASSES, 0)
    operations = CLASSES * (REAL + 2 * IPC) * flops_forward(module, SHAPE)  # no gradient for the weights
    save("dm_step", {
        "setting": {"classes": CLASSES, "ipc": IPC, "real_per_class": REAL, "network": NETWORK, "shape": list(SHAPE)},
        "rounds": options.rounds,
        "seconds": times,
        "median_seconds": median,
        "times_faster": {name: median["textbook"] / value for name, value in median.items()},
        "first_loss": {name: value for name, value in losses.items() if name != "pool"},
        "flop_per_step": operations,
        "achieved_flops_float32": operations / median["float32"],
        "convolutions_alone_flops_float32": rate,
        "share_of_convolution_rate": operations / median["float32"] / rate,
    })  # fmt: skip
    for name, value in median.items():
        print(f"{name:10s} {value:7.3f} s  {median['textbook'] / value:6.1f} x")


if __name__ == "__main__":
    main(tyro.cli(Options))
