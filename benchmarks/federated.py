"""One-shot federated learning: clients send distilled sets or random rows once, beside FedAvg at equal bytes.

Fashion-MNIST at 14 x 14 pixels, 300 training rows a class over five clients, Dirichlet 0.1 and 1. Every (alpha, way,
seed) is a cell that is never done twice: stop the script at any time and start it again. `--recount` trains nothing:
bytes, equal rounds and sentences of the results that are there are counted anew.

    python benchmarks/federated.py                 # about ten minutes of one core
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from pools import pool
from record import RESULTS, STARTED, save

from decoct.applications.client_work import FederatedConfig
from decoct.applications.fedavg import WeightsDtype
from decoct.applications.federated import MAKERS, federated
from decoct.applications.federated_result import Federated
from decoct.files import write_json


@dataclass(frozen=True)
class Options:
    """What is run."""

    source: str = "fashion-mnist"
    """Data set: the stem of an npz file in DECOCT_DATA."""
    per_class: int = 300
    """Training rows of every class."""
    size: int = 14
    """Height and width of the images."""
    alphas: tuple[float, ...] = (0.1, 1.0)
    """Concentrations of the split."""
    clients: int = 5
    """Clients."""
    ipc: int = 10
    """Images that a client sends of each of its classes."""
    makers: tuple[str, ...] = MAKERS
    """What is sent."""
    seeds: int = 8
    """Splits and networks."""
    steps: int = 60
    """Steps of each distillation."""
    rounds: int = 8
    """Rounds of FedAvg that are followed."""
    weights_dtype: WeightsDtype = "float16"
    """How FedAvg sends weights."""
    recount: bool = False
    """Count the results that are there anew."""
    network: str = "convnet2-w16"
    """Network of clients and server."""
    work: Path = Path("runs/benchmarks/federated")
    """Folder of finished cells."""


def recounted(result: dict[str, Any]) -> dict[str, Any]:
    """The same accuracies, with everything that follows from them counted by the code as it is now."""
    alphas = {name: Federated.from_json(body).to_json() for name, body in result["alphas"].items()}
    return {**result, "alphas": alphas, "recounted": STARTED}


def main(options: Options) -> None:
    """Run what is missing; write results/federated.json."""
    if options.recount:
        path = RESULTS / "federated.json"
        write_json(path, recounted(json.loads(path.read_text(encoding="utf-8"))))
        return
    data = pool(options.source, options.per_class, options.size)
    results: dict[str, Any] = {}
    facts = {"source": options.source, "size": options.size, "per_class": options.per_class}
    for alpha in options.alphas:
        config = FederatedConfig(
            clients=options.clients, alpha=alpha, ipc=options.ipc, steps=options.steps, rounds=options.rounds,
            network=options.network, weights_dtype=options.weights_dtype,
        )  # fmt: skip
        result = federated(data, options.makers, config, seeds=options.seeds, out=options.work)
        print(result.table(), flush=True)
        results[f"{alpha:g}"] = result.to_json()
        save("federated", {**facts, "alphas": results})


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
