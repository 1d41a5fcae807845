"""FedAvg: clients train the common network on their own rows, a server averages the weights, round after round."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

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
"""How a client trains in one round, unless told otherwise; it was not searched for."""
WeightsDtype = Literal["float16", "float32"]
"""How the numbers of a network are sent."""


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
    dtype: WeightsDtype = "float32"
    """How the client sends what it has trained."""
    counts: Float[Tensor, " n"] | None = None
    """How much each row counts; none where all count the same."""


def sent(state: dict[str, Tensor], dtype: WeightsDtype) -> dict[str, Tensor]:
    """The tensors of a network as they travel: floats in `dtype`, whole numbers (counters) as they are."""
    kind = torch.float16 if dtype == "float16" else torch.float32
    copies = {name: value.detach().clone() for name, value in state.items()}
    return {name: value.to(kind) if value.is_floating_point() else value for name, value in copies.items()}


def local_round(unit: Round) -> dict[str, Tensor]:
    """The weights after training on the client's own rows, as the client sends them."""

    def build(seed: int) -> nn.Module:
        module = network(unit.network, unit.shape, unit.classes, seed)
        module.load_state_dict(unit.weights)
        return module

    [fitted] = fit(build, unit.inputs, unit.labels, unit.config, [unit.seed], weights=unit.counts)
    return sent(fitted.module.state_dict(), unit.dtype)


def average(states: Sequence[dict[str, Tensor]], rows: Sequence[int] | Sequence[float]) -> dict[str, Tensor]:
    """`sum_k n_k w_k / sum_k n_k` for every tensor, in float32; whole numbers (counters) are those of the first client.

    n_k is how much the rows of a client count in all. Added in float64, however the weights were sent.
    """
    shares = [count / sum(rows) for count in rows]
    mean: dict[str, Tensor] = {}
    for name, first in states[0].items():
        if not first.is_floating_point():
            mean[name] = first
            continue
        parts = [share * state[name].double() for share, state in zip(shares, states, strict=True)]
        mean[name] = torch.stack(parts).sum(0).float()
    return mean


def weight_bytes(module: nn.Module, dtype: WeightsDtype = "float32") -> int:
    """Bytes of what is sent of a network: every tensor of its state, floats with two bytes or four."""
    return sum(value.numel() * value.element_size() for value in sent(module.state_dict(), dtype).values())


def fedavg(
    data: Dataset, clients: Sequence[Client], rounds: int, *,
    name: str, seed: int, engine: Engine, measure: Callable[[nn.Module], float], config: FitConfig = LOCAL,
    dtype: WeightsDtype = "float32",
) -> list[float]:  # fmt: skip
    """`measure(network)` before the first round and after each of `rounds` rounds, all clients in every round.

    `w_{r+1} = sum_k (n_k / n) w_k`, `w_k` the weights after `config.epochs` passes of client k from `w_r`. Where rows
    of the data have weights, a client trains on its rows by them, and n_k is their sum.
    Paper: McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data" (2017,
    https://arxiv.org/abs/1602.05629). Clients without rows take no part and send nothing. One round sends
    `weight_bytes` up from every client that takes part, and down to it, except in the first round: `w_0` follows from
    a seed that all share, so that nothing has to be sent for it. Weights travel in `dtype` in both directions, and
    are trained and averaged in full precision. The result does not depend on the engine.
    """
    taking = [client for client in clients if len(client)]
    module = network(name, data.spec.shape, data.spec.classes, derive_seed(seed, "fedavg"))
    found = [measure(module)]
    held = [(data.inputs(data.train, one.rows), data.train.labels(one.rows)) for one in taking]
    counts = [data.train.weight(one.rows) for one in taking]
    sizes = [float(len(one)) if own is None else float(own.sum()) for one, own in zip(taking, counts, strict=True)]
    for number in range(rounds):
        weights = sent(module.state_dict(), dtype if number else "float32")
        units = [
            Round(
                name, data.spec.shape, data.spec.classes, weights, inputs, labels, config,
                derive_seed(seed, "fedavg", number, client.number), dtype, None if own is None else own.float(),
            )
            for client, (inputs, labels), own in zip(taking, held, counts, strict=True)
        ]  # fmt: skip
        # Results come in any order; sums of floats must not.
        states = dict(engine.map(local_round, units))
        module = copy.deepcopy(module)
        module.load_state_dict(average([states[place] for place in range(len(units))], sizes))
        found.append(measure(module))
    return found
