"""Bias of distilled and selected sets of coloured MNIST, 5 % of its rows conflicting, with and without weights.

For each seed a biased source is drawn (which rows, which colours), the same rows also without bias. Cells: (maker,
weights, images per class), and the whole source, each measured by group on the unbiased test, 10,000 images, with the
last weights of one network; test data are read once a cell and choose nothing. The intervals are over the seeds: other
rows, colours, weights, sets and networks. Settings of the weights (one pass, bandwidth from the tenth neighbour) were
looked at on another draw (seed 99) by the share of weight that conflicting rows get, never by accuracy.

    python benchmarks/bias.py --mnist npz:PATH [--seeds 3] [--makers dm random] [--ipc 10 50]

Finished cells and sets are kept in --work and never made again; results/bias.json is written anew after
each cell, docs/bias.png after each seed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import tyro
from record import save

import decoct
from decoct.compact.compact_set import CompactSet
from decoct.compact.load import load
from decoct.data.sample_weights import SampleWeights
from decoct.distillation.objective.distribution import Distribution
from decoct.distillation.recipes.table import resolve
from decoct.distillation.recipes.task import Task
from decoct.evaluation import statistics
from decoct.evaluation.contender import Judged
from decoct.evaluation.protocol import Protocol
from decoct.training.config import FitConfig
from decoct.trust.bias.make import Bias, BiasedSource, make_biased
from decoct.trust.bias.measure import BiasExam, GroupScores
from decoct.trust.bias.reweight import by_density, by_early_errors, by_groups

NETWORK = "convnet3-w16"
PROTOCOL = Protocol(
    "bias", FitConfig(optimizer="adamw", lr=1e-3, weight_decay=0.01, epochs=60, batch_size=64, schedule="cosine"),
    full_epochs=6, full_samples=10**9, full_batch=64,
)  # fmt: skip
WEIGHTS = ("none", "density", "errors", "groups")
"""What the real rows are weighed by; "unbiased" besides is the source without bias, with no weights."""
COLUMNS = ("test", "aligned", "conflicting", "worst", "gap", "anti")


@dataclass(frozen=True)
class Options:
    """Which cells."""

    mnist: str = "npz:../shared/data/mnist.npz"
    """MNIST as a source."""
    seeds: int = 3
    """Biased sources, each with its own weights, sets and networks."""
    makers: tuple[Literal["dm", "random"], ...] = ("dm", "random")
    """Recipe and selector."""
    ipc: tuple[int, ...] = (10, 50)
    """Images per class."""
    rows: int = 5000
    """Training rows of a source."""
    correlation: float = 0.95
    """Share of rows with the colour of their class."""
    severity: int = 4
    """Purity of the colours."""
    steps: int = 60
    """Steps of a distillation."""
    work: Path = Path("runs/benchmarks/bias")
    """Folder of sources, sets and finished cells."""


@dataclass(frozen=True)
class Cell:
    """One measured thing."""

    maker: str
    weights: str
    ipc: int
    """0 for the whole source."""


def cells(options: Options) -> Iterator[Cell]:
    """The whole source first, then sets, size by size."""
    for weights in (*WEIGHTS, "unbiased"):
        yield Cell("full", weights, 0)
    for ipc in options.ipc:
        for maker in options.makers:
            for weights in (*WEIGHTS, "unbiased"):
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


def made(cell: Cell, source: BiasedSource, weights: SampleWeights | None, seed: int, options: Options) -> CompactSet:
    """The set of a cell, made once."""
    out = options.work / f"{seed}" / f"{cell.maker}-{cell.weights}-{cell.ipc}"
    if cell.maker == "random":
        return decoct.select(source.data, "random", ipc=cell.ipc, seed=seed, weights=weights, out=out)
    # A small pool in float32: without hardware for bfloat16, embedding the real rows would be all of the time.
    objective = Distribution(real_per_class=128, pool=5, renew_every=10, bfloat16=False)
    recipe = replace(resolve("dm", Task(source.data.spec, cell.ipc)), network=NETWORK, objective=objective)
    if (out / "manifest.json").exists():
        return load(out)
    return decoct.distill(
        source.data, recipe, ipc=cell.ipc, steps=options.steps, seed=seed, weights=weights, looks=1, out=out
    )


def measure(cell: Cell, sources: dict[bool, BiasedSource], seed: int, options: Options) -> tuple[GroupScores, float]:
    """Scores by group, and the share of weight that conflicting training rows have."""
    source = sources[cell.weights == "unbiased"]
    weights = weights_of(cell.weights, source, seed, options.work / f"{seed}" / f"{cell.weights}.parquet")
    data = source.data.with_weights(weights)
    exam = BiasExam.of(
        data, source.groups, anti=source.anti, protocol=PROTOCOL, network=NETWORK, out=options.work / "cells"
    )
    if cell.maker == "full":
        [scores] = exam.scores("full", lambda s, training, t: training.on_all(s, t), [seed], _quiet)
    else:
        judged = Judged.of(made(cell, source, weights, seed, options))
        [scores] = exam.scores(judged.key(0), judged.train, [seed], _quiet)
    aligned = source.groups.aligned_in(data, data.train, "training")
    own = data.train.weights
    return scores, float((~aligned).mean() if own is None else own[~aligned].sum() / own.sum())


def _quiet(done: float, note: str = "") -> None:
    pass


def table(found: dict[Cell, list[tuple[GroupScores, float]]]) -> list[dict[str, Any]]:
    """A line for each cell: means and half widths of the 95 % intervals over seeds, in per cent.

    Amplification is the gap minus that of the whole source without weights, the unbiased one for sets made of it.
    """
    lines = []
    for cell, runs in found.items():
        source = Cell("full", "unbiased" if cell.weights == "unbiased" else "none", 0)
        whole = [scores.gap for scores, _ in found[source]][: len(runs)]
        added = [scores.gap - gap for (scores, _), gap in zip(runs, whole, strict=True)]
        values = {name: [getattr(scores, name) for scores, _ in runs] for name in COLUMNS} | {"amplification": added}
        shown = {name: [round(100 * fmean(v), 2), _half(v)] for name, v in values.items()}
        share = round(100 * fmean(share for _, share in runs), 1)
        lines.append({**asdict(cell), "seeds": len(runs), **shown, "conflicting_weight": share})
    return lines


def _half(values: list[float]) -> float | None:
    half = statistics.half_width(values)
    return None if half is None else round(100 * half, 2)


NAMES = {
    "none": "no weights", "density": "by density", "errors": "by early errors", "groups": "by known groups",
    "unbiased": "unbiased source",
}  # fmt: skip


def figure(lines: list[dict[str, Any]], path: Path) -> None:
    """Accuracy on aligned and conflicting test images, a panel for each maker and size."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys((line["maker"], line["ipc"]) for line in lines))
    picture = Figure(figsize=(2.5 * len(panels), 3.4), dpi=150, layout="constrained")
    FigureCanvasAgg(picture)
    for axes, (maker, ipc) in zip(picture.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True):
        own = [line for line in lines if (line["maker"], line["ipc"]) == (maker, ipc)]
        for place, (column, colour) in enumerate((("aligned", "0.75"), ("conflicting", "tab:blue"))):
            means, halves = zip(*(line[column] for line in own), strict=True)
            axes.barh(
                [row + 0.4 * place for row in range(len(own))], means, 0.38, color=colour, label=column,
                xerr=[half or 0 for half in halves], error_kw={"linewidth": 0.8},
            )  # fmt: skip
        axes.set_yticks([row + 0.2 for row in range(len(own))], [NAMES[line["weights"]] for line in own], fontsize=8)
        axes.set_title("all 5,000 rows" if maker == "full" else f"{maker}, {ipc} per class", fontsize=9)
        axes.set(xlim=(0, 100))
        axes.tick_params(labelsize=8)
    picture.axes[0].invert_yaxis()
    picture.axes[0].legend(fontsize=7, loc="lower right")
    picture.supxlabel("accuracy on unbiased test images, %", fontsize=9)
    picture.savefig(path)


def main(options: Options) -> None:
    """Run the cells that are not done, seed by seed, and write the table."""
    data = decoct.open(options.mnist)
    found: dict[Cell, list[tuple[GroupScores, float]]] = {}
    settings = {**asdict(options), "work": None, "mnist": "MNIST", "network": NETWORK, "protocol": PROTOCOL.facts()}
    for seed in range(options.seeds):
        begun = time.monotonic()
        plain = Bias("coloured", options.correlation, options.severity, seed, options.rows)
        sources = {
            fair: make_biased(data, bias, options.work / f"{seed}" / ("unbiased" if fair else "biased"))
            for fair, bias in ((False, plain), (True, replace(plain, correlation=0.1)))
        }
        for cell in cells(options):
            run = measure(cell, sources, seed, options)
            found.setdefault(cell, []).append(run)
            print(seed, cell, {name: round(100 * getattr(run[0], name), 1) for name in COLUMNS}, flush=True)
            lines, seconds = table(found), round(time.monotonic() - begun)
            save("bias", {"settings": settings, "seconds_of_last_seed": seconds, "lines": lines})
        figure(table(found), Path(__file__).parents[1] / "docs" / "bias.png")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
