"""Does a condensed validation set order hyper-parameters as all of the data do? Fashion-MNIST, and Cora with filters.

`fashion`: 40 candidates of weight decay by layer, label smoothing and a choice between three operations on images.
Networks are trained on 100 rows distilled by distribution matching, the truth on 2,000 rows, some runs each;
validation sets hold one or five rows of each class: herding on the 1,000 validation rows, and for each run a set of its
own of random rows, of distribution matching and of hypergradient matching. `hcdc` matches the hypergradients of
networks of all 2,000 rows, as the paper states the aim, `hcdc-small` those of networks of the small training set;
`-slopes` match gradients for all weights too (weight 1), `-length` lengths. Beside each order stands its gain over
every other on the same candidates and runs.

`fine`: the same with 40 candidates of weight decay by layer and of noise on images, which differ by less: few rows
order them badly. Space and weight were chosen on MNIST.

`cora`, its 300 most frequent words: polynomial filters, nine named ones times three weight decays (discrete) or 27
coefficient vectors (continuous); validation graphs of one or five nodes of each class: random with their edges,
distribution matching, and hypergradient matching, from three starts each.

Everything that is finished is kept: stop the script at any time and start it again. `fine` takes 27 minutes of one core
of a Zen 5 processor, the other parts less.

    python benchmarks/hcdc.py --part fashion        # or fine, cora
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from pools import DATA, parts_of
from record import save
from safetensors.torch import load_file, save_file

import decoct
from decoct.applications.candidates import Search
from decoct.applications.graph_model import GraphSearch, Model, Response
from decoct.applications.graph_search import CondensedGraph, condense, losses_on, orders
from decoct.applications.hyperparameter_search import condensing, hyperparameter_search
from decoct.compact.distilled import DistilledSet
from decoct.data.dataset import Dataset
from decoct.data.graph import Graph, open_graph
from decoct.distillation.labels.hard import Hard
from decoct.distillation.objective.hypergradient import Hypergradient
from decoct.distillation.recipe import Recipe
from decoct.distillation.storage.pixels import Pixels
from decoct.evaluation.ranking import spearman_gain
from decoct.files import write_atomically
from decoct.training.hyperparameters import LabelSmoothing, Noise, OperationMixture, WeightDecay
from decoct.training.responses import Walk
from decoct.training.solvers import ConjugateGradient
from decoct.training.space import Space

ROWS = {"train": 200, "val": 100, "test": 10}
"""Rows of each class; the test rows are never read."""
NETWORK = "convnet2-w4"
SPACE = Space((WeightDecay(1e-4, 0.1), LabelSmoothing(), OperationMixture(("identity", "blur", "edges"))))
WALK = Walk(
    starts=5, length=5, step=0.25, first_steps=100, next_steps=40, solver=ConjugateGradient(steps=15, damping=1e-3),
    full_rows=200,
)  # fmt: skip
"""Shorter than that of the recipe; as many of all rows say how networks move."""
FINE = Space((WeightDecay(1e-4, 0.1), Noise(1.0)))
SEARCH = Search(candidates=40, steps=100, full_steps=200)
WORDS = 300
"""Words of Cora that are kept."""
STARTS = 6
"""Condensed graphs of each kind."""


@dataclass(frozen=True)
class Options:
    """Which part, and where its work is kept."""

    part: Literal["fashion", "fine", "cora"]
    """Images, images with candidates that differ by less, or a graph."""
    work: Path = Path("runs/benchmarks/hcdc")
    """Folder of sets, weights and finished pieces."""
    ipc: tuple[int, ...] = (1, 5)
    """Validation rows or nodes of each class."""


@dataclass(frozen=True)
class Task:
    """One search on images: what is searched, and by which matched sets."""

    name: str
    space: Space
    walk: Walk
    kinds: dict[str, dict[str, Any]]
    """Settings of the objective, by the name of the sets."""
    seeds: int
    """Runs of every candidate, and sets of every kind but herding."""


FULL: dict[str, dict[str, Any]] = {
    "hcdc": {"full_per_class": ROWS["train"]}, "hcdc-slopes": {"full_per_class": ROWS["train"], "slope_weight": 1.0},
}  # fmt: skip
SMALL: dict[str, dict[str, dict[str, Any]]] = {
    "fashion": {"hcdc-small": {}, "hcdc-small-length": {"metric": "relative"}},
    "fine": {"hcdc-small": {}, "hcdc-small-slopes": {"slope_weight": 1.0}},
}
TASKS = {
    "fashion": Task("fashion", SPACE, WALK, FULL | SMALL["fashion"], 3),
    "fine": Task("fine", FINE, replace(WALK, starts=8), FULL | SMALL["fine"], 5),
}


def main(options: Options) -> None:
    """Measure, and write results/hcdc_<part>.json."""
    cora(options) if options.part == "cora" else images(TASKS[options.part], options)


def images(task: Task, options: Options) -> None:
    """Sets, candidates and their orders on Fashion-MNIST."""
    data, work = parts_of("fashion-mnist", ROWS), options.work / task.name
    train = decoct.distill(
        data, "dm", ipc=10, steps=150, network="convnet2-w8", looks=1, device="cpu", out=work / "train"
    )
    found: dict[str, Any] = {}
    for ipc in options.ipc:
        sets, made = _validation_sets(data, ipc, task, work)
        result = hyperparameter_search(
            data, train, sets, task.space, network=NETWORK, search=SEARCH, seeds=task.seeds, out=work, device="cpu"
        )
        print(result.table())
        found[str(ipc)] = {**result.to_json(), **made}
        about = {"network": NETWORK, "space": repr(task.space), "walk": asdict(task.walk), "kinds": task.kinds}
        save(f"hcdc_{task.name}", {**about, "ipc": found})


def _validation_sets(data: Dataset, ipc: int, task: Task, work: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Validation sets by name; the seconds that making them took (points that several kinds share count in the first),
    and how well those that were matched agree at points that were left out.
    """
    split = condensing(data)
    began = time.perf_counter()
    herding = decoct.select(split, "herding", ipc=ipc)
    seconds = {"herding": time.perf_counter() - began}
    matched = [
        decoct.distill(
            split, "dm", ipc=ipc, seed=seed, steps=150, network="convnet2-w8", looks=1, device="cpu",
            out=work / f"dm-{ipc}-{seed}",
        )
        for seed in range(task.seeds)
    ]  # fmt: skip
    sets: dict[str, Any] = {"herding": herding, "dm": matched}
    seconds["dm"], agreement = matched[0].provenance["seconds"], {}
    for name in task.kinds:
        made = [_hypergradient(data, ipc, seed, name, task, work) for seed in range(task.seeds)]
        agreement[name] = [one.provenance["best_agreement"] for one in made]
        print(name, "agreement of hypergradients:", agreement[name])
        sets[name], seconds[name] = made, made[0].provenance["seconds"]
    return sets, {"made_seconds": seconds, "agreement": agreement}


def _hypergradient(data: Dataset, ipc: int, seed: int, name: str, task: Task, work: Path) -> DistilledSet:
    """A validation set by matching hypergradients in one of the ways."""
    objective = Hypergradient(
        space=task.space, walk=task.walk, train_set=str(work / "train"), val_rows=1000, **task.kinds[name]
    )
    recipe = Recipe(Pixels(), objective, Hard(), lr=0.02, schedule="cosine", steps=300, augment="")
    return decoct.distill(
        data, recipe, ipc=ipc, seed=seed, network=NETWORK, device="cpu", out=work / f"{name}-{ipc}-{seed}",
        experts=work / f"points-{seed}",
    )  # fmt: skip


def cora(options: Options) -> None:
    """Condensed graphs and their orders on Cora, in both spaces."""
    graph = _frequent(open_graph(DATA / "graph" / "cora.npz"), WORDS)
    found: dict[str, Any] = {}
    for kind in ("discrete", "continuous"):
        base = GraphSearch(starts=12, length=4, steps=120, decays=3, candidates=27)
        search = base if kind == "discrete" else replace(base, discrete=False)
        model, work = Model(graph, search), options.work / "cora" / kind
        weights = _kept(work / "weights", lambda model=model: _fitted(model))
        points = _points(work, model)
        graphs = {
            f"{method}-{ipc}": [_condensed(work, model, method, ipc, seed, points) for seed in range(STARTS)]
            for method in ("random", "distribution", "hcdc", "hcdc-length")
            for ipc in options.ipc
        }
        fitted = list(weights["all"])
        found[kind] = {
            "search": asdict(search),
            "candidates": len(search.grid()),
            "orders": {name: asdict(one) for name, one in orders(model, graphs, fitted).items()},
            "gains": _gains(model, graphs, fitted),
        }
        for name, one in found[kind]["orders"].items():
            print(kind, name, one["spearman"], one["regret"])
        save("hcdc_cora", {"words": WORDS, "starts": STARTS, "spaces": found})


def _gains(
    model: Model, graphs: dict[str, list[CondensedGraph]], weights: list[torch.Tensor]
) -> dict[str, dict[str, Any]]:
    """Spearman of each kind less that of each other kind of as many nodes, on the same candidates."""
    truth = -np.array([losses_on(model, None, weights)])
    tables = {name: -np.array([losses_on(model, one, weights) for one in ones]) for name, ones in graphs.items()}
    return {
        name: {
            other: asdict(spearman_gain(table, its, truth))
            for other, its in tables.items()
            if other != name and other.rpartition("-")[2] == name.rpartition("-")[2]
        }
        for name, table in tables.items()
    }


def _frequent(graph: Graph, words: int) -> Graph:
    """The graph with its most frequent words as features."""
    kept = graph.features.bool().sum(0).argsort(descending=True)[:words]
    features = graph.features[:, kept]
    return replace(graph, features=features / features.sum(1, keepdim=True).clamp_min(1e-9))


def _kept(path: Path, make: Any) -> dict[str, torch.Tensor]:
    """Tensors that are made once."""
    file = path.with_suffix(".safetensors")
    if not file.exists():
        tensors = make()
        write_atomically(file, lambda temporary: save_file(tensors, temporary))
    return load_file(file)


def _fitted(model: Model) -> dict[str, torch.Tensor]:
    return {"all": torch.stack([model.fit(u) for u in model.search.grid()])}


def _points(work: Path, model: Model) -> list[Response]:
    def walked() -> dict[str, torch.Tensor]:
        found = model.points(0)
        return {name: torch.stack([getattr(one, name) for one in found]) for name in names}

    names = ("u", "weights", "moves", "target")
    kept = _kept(work / "points", walked)
    return [Response(*parts) for parts in zip(*(kept[name] for name in names), strict=True)]


def _condensed(work: Path, model: Model, method: Any, ipc: int, seed: int, points: list[Response]) -> CondensedGraph:
    def made() -> dict[str, torch.Tensor]:
        one = condense(model, method, ipc, seed, points)
        return {name: getattr(one, name).contiguous() for name in names}

    names = ("features", "propagation", "labels")
    kept = _kept(work / f"{method}-{ipc}-{seed}", made)
    return CondensedGraph(*(kept[name] for name in names))


if __name__ == "__main__":
    main(tyro.cli(Options))
