"""Bias of distilled and selected sets of biased images, 5 % of the rows conflicting, with and without weights.

For each seed a biased source is drawn (which rows, which colours), the same rows also without bias. Cells: (maker,
weights, images per class), and the whole source, each measured by group on the unbiased test, 10,000 images, with the
last weights of one network; test data are read once a cell and choose nothing. The intervals are over the seeds: other
rows, colours, weights, sets and networks. Settings of the weights (one pass, bandwidth from the tenth neighbour) were
looked at on another draw (seed 99) by the share of weight that conflicting rows get, never by accuracy.

    python benchmarks/bias.py --source npz:PATH [--seeds 3] [--makers dm random] [--ipc 10 50]
    python benchmarks/bias.py --source npz:PATH --kind corrupted --severities 2 4 --makers dm random

Kinds of damage take 4 minutes a seed on one core of a Zen 5 processor; 27 were measured on a slower one.

Makers are recipes and selectors; a selector that cannot draw by weights has the cells without weights alone. Finished
cells and sets are kept in --work and never made again; results are written after each cell, the figure after each seed.
Coloured images of severity 4 have results/bias.json and docs/bias.png, every other kind and severity files of its own
(bias-corrupted-2). Lines of other makers and sizes that are there already, of the same settings, stay.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import tyro
from bias_table import COLUMNS, Cell, figure, table, with_kept
from real_sets import DATA
from record import RESULTS, save

import decoct
from decoct.applications.small_set import is_recipe, require_maker
from decoct.compact.compact_set import CompactSet
from decoct.compact.load import load
from decoct.data.dataset import Dataset
from decoct.data.sample_weights import SampleWeights
from decoct.distillation.objective.distribution import Distribution
from decoct.distillation.recipe import Recipe
from decoct.distillation.recipes.table import resolve
from decoct.distillation.recipes.task import Task
from decoct.distillation.storage.pixels import Pixels
from decoct.evaluation.contender import Judged
from decoct.evaluation.protocol import Protocol
from decoct.selection.methods import METHODS
from decoct.selection.selector import Selector
from decoct.training.config import FitConfig
from decoct.trust.bias.attributes import unbiased_rate
from decoct.trust.bias.make import PAINTS, Bias, BiasedSource, Kind, make_biased
from decoct.trust.bias.measure import BiasExam, GroupScores
from decoct.trust.bias.reweight import by_density, by_early_errors, by_groups

NETWORK = "convnet3-w16"
PROTOCOL = Protocol(
    "bias", FitConfig(optimizer="adamw", lr=1e-3, weight_decay=0.01, epochs=60, batch_size=64, schedule="cosine"),
    full_epochs=6, full_samples=10**9, full_batch=64,
)  # fmt: skip
WEIGHTS = ("none", "density", "errors", "groups")
"""What the real rows are weighed by; "unbiased" besides is the source without bias, with no weights."""


@dataclass(frozen=True)
class Options:
    """Which cells."""

    source: str = f"npz:{DATA / 'mnist.npz'}"
    """Images as a source."""
    name: str = "MNIST"
    """What the results call it."""
    kind: Kind = "coloured"
    """coloured: each class has its colour; corrupted: each class has its kind of damage."""
    seeds: int = 3
    """Biased sources, each with its own weights, sets and networks."""
    makers: tuple[str, ...] = ("dm", "random")
    """Recipes and selectors."""
    ipc: tuple[int, ...] = (10, 50)
    """Images per class."""
    rows: int = 5000
    """Training rows of a source."""
    correlation: float = 0.95
    """Share of rows with the attribute of their class."""
    severities: tuple[int, ...] = (4,)
    """How strong the cue is, 1 to 4; each of them is a table of its own."""
    steps: int = 60
    """Steps of a distillation."""
    work: Path = Path("runs/benchmarks/bias")
    """Folder of sources, sets and finished cells."""


@dataclass(frozen=True)
class Place:
    """One kind and severity: where its sets are, and what its results are called."""

    options: Options
    severity: int

    @property
    def mark(self) -> str:
        """Nothing for the kind and severity of docs/bias.md."""
        own = (self.options.kind, self.severity)
        return "" if own == ("coloured", 4) else f"-{self.options.kind}-{self.severity}"

    @property
    def work(self) -> Path:
        return self.options.work / self.mark.removeprefix("-")

    def settings(self) -> dict[str, Any]:
        """What two lines of one table have in common."""
        own = asdict(self.options)
        shared = {name: own[name] for name in ("name", "kind", "rows", "correlation", "steps")}
        return {**shared, "severity": self.severity, "network": NETWORK, "protocol": PROTOCOL.facts()}

    def sources(self, data: Dataset, seed: int) -> dict[bool, BiasedSource]:
        """The biased source of one seed, and by True the same rows without bias."""
        options = self.options
        plain = Bias(options.kind, options.correlation, self.severity, seed, options.rows)
        fair = replace(plain, correlation=unbiased_rate(min(data.spec.classes, PAINTS[options.kind][1])))
        folder = self.work / f"{seed}"
        return {False: make_biased(data, plain, folder / "biased"), True: make_biased(data, fair, folder / "unbiased")}


def honours_weights(maker: str) -> bool:
    """Recipes draw real rows by their weights; of the selectors those that have a weighted form do."""
    return is_recipe(maker) or METHODS.load(maker).pick_weighted is not Selector.pick_weighted


def cells(options: Options) -> Iterator[Cell]:
    """The whole source first, then sets, size by size."""
    for weights in (*WEIGHTS, "unbiased"):
        yield Cell("full", weights, 0)
    for ipc in options.ipc:
        for maker in options.makers:
            for weights in (*(WEIGHTS if honours_weights(maker) else ("none",)), "unbiased"):
                yield Cell(maker, weights, ipc)


def weights_of(kind: str, source: BiasedSource, seed: int, path: Path) -> SampleWeights | None:
    """The weights of this kind, made once."""
    if kind in ("none", "unbiased"):
        return None
    if not path.exists():
        table = {
            "groups": lambda: by_groups(source.data, source.groups),
            "density": lambda: by_density(source.data, seed=seed),
            "errors": lambda: by_early_errors(source.data, seed=seed),
        }[kind]()
        table.save(path)
    return SampleWeights.load(path)


def recipe_of(maker: str, source: BiasedSource, ipc: int) -> Recipe:
    """The recipe of a maker on the network of this benchmark."""
    base, _, start = maker.partition("+")
    recipe = replace(resolve(base, Task(source.data.spec, ipc)), network=NETWORK)
    if start:
        recipe = replace(recipe, storage=Pixels(init_from=start))  # pyright: ignore[reportArgumentType]
    if base != "dm":
        return recipe
    # A small pool in float32: without hardware for bfloat16, embedding the real rows would be all of the time.
    return replace(recipe, objective=Distribution(real_per_class=128, pool=5, renew_every=10, bfloat16=False))


def made(cell: Cell, source: BiasedSource, weights: SampleWeights | None, seed: int, place: Place) -> CompactSet:
    """The set of a cell, made once."""
    out, options = place.work / f"{seed}" / f"{cell.maker}-{cell.weights}-{cell.ipc}", place.options
    if not is_recipe(cell.maker):
        return decoct.select(source.data, cell.maker, ipc=cell.ipc, seed=seed, weights=weights, out=out)
    if (out / "manifest.json").exists():
        return load(out)
    recipe = recipe_of(cell.maker, source, cell.ipc)
    return decoct.distill(
        source.data, recipe, ipc=cell.ipc, steps=options.steps, seed=seed, weights=weights, looks=1, out=out
    )


def measure(cell: Cell, sources: dict[bool, BiasedSource], seed: int, place: Place) -> tuple[GroupScores, float]:
    """Scores by group, and the share of weight that conflicting training rows have."""
    source = sources[cell.weights == "unbiased"]
    weights = weights_of(cell.weights, source, seed, place.work / f"{seed}" / f"{cell.weights}.parquet")
    data = source.data.with_weights(weights)
    exam = BiasExam.of(
        data, source.groups, anti=source.anti, protocol=PROTOCOL, network=NETWORK, out=place.work / "cells"
    )
    if cell.maker == "full":
        [scores] = exam.scores("full", lambda s, training, t: training.on_all(s, t), [seed], _quiet)
    else:
        judged = Judged.of(made(cell, source, weights, seed, place))
        [scores] = exam.scores(judged.key(0), judged.train, [seed], _quiet)
    aligned = source.groups.aligned_in(data, data.train, "training")
    own = data.train.weights
    return scores, float((~aligned).mean() if own is None else own[~aligned].sum() / own.sum())


def _quiet(done: float, note: str = "") -> None:
    pass


def run(place: Place, data: Dataset) -> None:
    """The cells of one kind and severity."""
    found: dict[Cell, list[tuple[GroupScores, float]]] = {}
    lines: list[dict[str, Any]] = []
    path, docs = RESULTS / f"bias{place.mark}.json", Path(__file__).parents[1] / "docs"
    for seed in range(place.options.seeds):
        begun, sources = time.monotonic(), place.sources(data, seed)
        for cell in cells(place.options):
            one = measure(cell, sources, seed, place)
            found.setdefault(cell, []).append(one)
            print(place.severity, seed, cell, {name: round(100 * getattr(one[0], name), 1) for name in COLUMNS})
            lines = with_kept(table(found), place.settings(), path)
            told = {"settings": place.settings(), "seconds_of_last_seed": round(time.monotonic() - begun)}
            save(path.stem, {**told, "lines": lines})
        figure(lines, docs / f"bias{place.mark}.png", place.options.rows)


def main(options: Options) -> None:
    """Run the cells that are not done, severity by severity and seed by seed, and write the tables."""
    for maker in options.makers:
        require_maker(maker)
    data = decoct.open(options.source)
    for severity in options.severities:
        run(Place(options, severity), data)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
