"""What a client does before it sends: its own rows, its own classes, one small set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from decoct.applications.class_subset import only_classes
from decoct.applications.client_split import Client
from decoct.applications.fedavg import LOCAL, WeightsDtype
from decoct.applications.small_set import small_set
from decoct.compact.compact_set import CompactSet
from decoct.data.dataset import Dataset, Split
from decoct.data.splits import cut
from decoct.errors import BudgetError
from decoct.streams import derive_seed
from decoct.training.config import FitConfig

SERVER = FitConfig(optimizer="adamw", lr=2e-3, weight_decay=0.01, epochs=100, batch_size=64, schedule="cosine")
"""How the server trains on what it was sent."""
VAL_SHARE = 0.1
"""Share of a client's own rows that watch its distillation."""


@dataclass(frozen=True)
class FederatedConfig:
    """Clients, what they send, and how networks are trained."""

    clients: int = 10
    """Holders of rows."""
    alpha: float = 0.1
    """Concentration of the Dirichlet split: the smaller, the fewer classes a client has."""
    ipc: int = 10
    """Images that a client sends of each of its classes."""
    steps: int | None = None
    """Steps of each distillation; none takes the recipe's own."""
    rounds: int = 10
    """Rounds of FedAvg that are followed."""
    weights_dtype: WeightsDtype = "float16"
    """How FedAvg sends weights. Sets are stored in 8 bits a value, so that four bytes a weight would not be fair."""
    network: str | None = None
    """Network; none takes the field's ConvNet for the size of the images."""
    server: FitConfig = SERVER
    """How the server trains on what it was sent."""
    local: FitConfig = LOCAL
    """How a client trains in one round of FedAvg."""


@dataclass(frozen=True, eq=False)
class Unit:
    """What one client does before it sends: everything it needs, so that it may run in another process."""

    data: Dataset
    """Its own rows of the classes that it sends, as classes 0, 1, ..."""
    classes: tuple[int, ...]
    """Those classes among all."""
    maker: str
    ipc: int
    steps: int | None
    network: str
    seed: int


def client_units(
    data: Dataset, clients: Sequence[Client], maker: str, config: FederatedConfig, seed: int
) -> list[Unit]:
    """The work of every client that has anything to send. Raises `BudgetError` where none has."""
    units = []
    for client in clients:
        classes = tuple(c for c, count in enumerate(client.counts) if count > config.ipc)
        if not classes:
            continue
        own = derive_seed(seed, "client", client.number)
        units.append(
            Unit(
                _own_data(data, client, classes, config.ipc, own), classes, maker, config.ipc, config.steps,
                str(config.network), own,
            )
        )  # fmt: skip
    if not units:
        most = max(max(client.counts) for client in clients)
        raise BudgetError(
            f"sending {config.ipc} images a class from each of {len(clients)} clients",
            received=f"at most {most} rows of one class with any client",
            expected=f"a client with more than {config.ipc} rows of a class",
            remedy="give fewer images a class or fewer clients",
        )
    return units


def _own_data(data: Dataset, client: Client, classes: tuple[int, ...], ipc: int, seed: int) -> Dataset:
    """The client's rows of these classes, a tenth of them as validation; test rows are nobody's."""
    mine = data.train.take(client.rows)
    mine = mine.take(np.flatnonzero(np.isin(mine.y, classes)))
    parts = cut(mine.y, data.spec.classes, {"val": VAL_SHARE}, seed)
    short = {c for c in classes if int((mine.y[parts["train"]] == c).sum()) < ipc}
    kept = np.array([row for row in parts["val"] if int(mine.y[row]) not in short], dtype=np.int64)
    train = np.setdiff1d(np.arange(len(mine)), kept)
    empty: Split = mine.take(np.arange(0))
    val = mine.take(kept if len(kept) else train[:1])
    return only_classes(Dataset(data.spec, mine.take(train), val, empty), classes)


def made_by_client(unit: Unit) -> CompactSet:
    """The set that a client sends."""
    return small_set(
        unit.data, unit.maker, ipc=unit.ipc, steps=unit.steps, seed=unit.seed, network=unit.network, device="cpu"
    )
