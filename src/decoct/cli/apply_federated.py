"""`decoct apply federated SOURCE`: clients send small sets once; beside FedAvg at equal bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import arg

from decoct.cli.opening import Opening, Output, Source, left_out
from decoct.cli.running import Running


@dataclass(frozen=True, kw_only=True)
class Options:
    """Clients with classes of their own send small sets once, and a server trains on them; beside FedAvg."""

    source: Source
    """digits, npz:PATH, imagefolder:PATH, parquet:PATH, csv:PATH, hub:NAME or a bare path."""
    makers: Annotated[tuple[str, ...], arg(metavar="NAME...")] = ("dm", "random")
    """What clients send; the first decides the bytes, later selectors send as many real rows as fit into them."""
    clients: int = 10
    """Clients."""
    alpha: float = 0.1
    """Concentration of the Dirichlet split: the smaller, the fewer classes a client has."""
    ipc: int = 10
    """Images that a client sends of each class of which it has more rows."""
    steps: Annotated[int | None, left_out("N")] = None
    """Steps of each distillation; without it, the recipe's own."""
    rounds: int = 10
    """Rounds of FedAvg that are followed."""
    local_lr: float = 0.05
    """Step size of the clients of FedAvg; it is not searched for."""
    local_epochs: int = 2
    """Passes over its rows that a client of FedAvg takes in a round."""
    weights_dtype: Literal["float16", "float32"] = "float16"
    """How FedAvg sends weights; sets are stored in 8 bits a value."""
    network: Annotated[str | None, left_out("NAME")] = None
    """Network; without it, the field's ConvNet for the size of the images."""
    seeds: int = 3
    """Splits and networks; the interval is over them, and there is none for one."""
    out: Path = Path("decoct-federated")
    """Folder of finished runs, the result and the report; the same command goes on."""
    running: Running = field(default_factory=Running)
    opening: Opening = field(default_factory=Opening)
    output: Output = field(default_factory=Output)


def run(options: Options) -> dict[str, Any]:
    """Share, measure and report."""
    from dataclasses import replace

    from decoct.applications.client_work import FederatedConfig
    from decoct.applications.fedavg import LOCAL
    from decoct.applications.federated import federated
    from decoct.cli.finding_report import write_finding
    from decoct.files import make_folder

    # Numbers that cannot be are told before the source is read.
    local = replace(LOCAL, lr=options.local_lr, epochs=options.local_epochs)
    data = options.opening.open(options.source)
    config = FederatedConfig(
        clients=options.clients, alpha=options.alpha, ipc=options.ipc, steps=options.steps, rounds=options.rounds,
        network=options.network, weights_dtype=options.weights_dtype, local=local,
    )  # fmt: skip
    with options.running.start() as engine:
        found = federated(
            data, options.makers, config, seeds=options.seeds, engine=engine, out=make_folder(options.out)
        )
    return write_finding(options.out, "federated", found, data)


def show(result: dict[str, Any]) -> str:
    """The table, and where the report is."""
    return f"{result['table']}\nreport: {Path(result['report']).resolve()}"
