"""FedAvg: clients train the common network on their own rows, a server averages the weights, round after round."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from decoct.applications.client_split import Client
from decoct.data.dataset import Dataset
from decoct.engine import Engine
from decoct.networks.build import network
from decoct.streams import derive_seed
from decoct.training.config import FitConfig
from decoct.training.fit import fit

LOCAL = FitConfig(
    optimizer="sgd", lr=0.05, momentum=0.9, weight_decay=5e-4, epochs=2, batch_size=32, schedule="constant"
)
"""How a client trains in one round."""


@dataclass(frozen=True, eq=False)
class Round:
    """What one client does in one round; it may travel to another process."""

    network: str
    shape: tuple[int, ...]
    classes: int
    weights: dict[str, Tensor]
    inputs: Float[Tensor, "n ..."]
    labels: Int64[Tensor, " n"]
    config: FitConfig
    seed: int


def local_round(unit: Round) -> dict[str, Tensor]:
    """The weights after training on the client's own rows."""

    def build(seed: int) -> nn.Module:
        module = network(unit.network, unit.shape, unit.classes, seed)
        module.load_state_dict(unit.weights)
        return module

    [fitted] = fit(build, unit.inputs, unit.labels, unit.config, [unit.seed])
    return {name: value.detach().clone() for name, value in fitted.module.state_dict().items()}


def average(states: Sequence[dict[str, Tensor]], rows: Sequence[int]) -> dict[str, Tensor]:
    """`sum_k n_k w_k / sum_k n_k` for every tensor; whole numbers (counters) are taken from the first client."""
    shares = [count / sum(rows) for count in rows]
    mean: dict[str, Tensor] = {}
    for name, first in states[0].items():
        if not first.is_floating_point():
            mean[name] = first
            continue
        parts = [share * state[name].double() for share, state in zip(shares, states, strict=True)]
        mean[name] = torch.stack(parts).sum(0).to(first.dtype)
    return mean


def weight_bytes(module: nn.Module) -> int:
    """Bytes of what is sent of a network: every tensor of its state, floats with four bytes."""
    return sum(value.numel() * value.element_size() for value in module.state_dict().values())


def fedavg(
    data: Dataset, clients: Sequence[Client], rounds: int, *,
    name: str, seed: int, engine: Engine, measure: Callable[[nn.Module], float], config: FitConfig = LOCAL,
) -> list[float]:  # fmt: skip
    """`measure(network)` before the first round and after each of `rounds` rounds, all clients in every round.

    `w_{r+1} = sum_k (n_k / n) w_k`, `w_k` the weights after `config.epochs` passes of client k from `w_r`.
    Paper: McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data" (2017,
    https://arxiv.org/abs/1602.05629). Clients without rows take no part and send nothing. One round sends
    `weight_bytes` down to and up from every client that takes part. The result does not depend on the engine.
    """
    taking = [client for client in clients if len(client)]
    module = network(name, data.spec.shape, data.spec.classes, derive_seed(seed, "fedavg"))
    found = [measure(module)]
    held = [(data.inputs(data.train, one.rows), data.train.labels(one.rows)) for one in taking]
    for number in range(rounds):
        weights = {key: value.detach().clone() for key, value in module.state_dict().items()}
        units = [
            Round(
                name, data.spec.shape, data.spec.classes, weights, inputs, labels, config,
                derive_seed(seed, "fedavg", number, client.number),
            )
            for client, (inputs, labels) in zip(taking, held, strict=True)
        ]  # fmt: skip
        # Results come in any order; sums of floats must not.
        states = dict(engine.map(local_round, units))
        module = copy.deepcopy(module)
        module.load_state_dict(average([states[place] for place in range(len(units))], [len(one) for one in taking]))
        found.append(measure(module))
    return found
