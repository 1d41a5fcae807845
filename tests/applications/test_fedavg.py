"""FedAvg: the weighted mean of weights, and one client is ordinary training."""

from __future__ import annotations

import torch
from toys import blob_images

from decoct.applications.client_split import dirichlet_split
from decoct.applications.fedavg import average, fedavg, sent, weight_bytes
from decoct.engine import Local
from decoct.networks.build import network
from decoct.training.accuracy import accuracy
from decoct.training.config import FitConfig

LOCAL = FitConfig(lr=0.05, epochs=2, batch_size=16, schedule="constant")


def test_the_mean_of_weights_counts_rows_and_leaves_counters_alone():
    states = [
        {"w": torch.tensor([1.0, 2.0]), "steps": torch.tensor(3)},
        {"w": torch.tensor([5.0, -2.0]), "steps": torch.tensor(9)},
    ]
    mean = average(states, [1, 3])
    assert mean["w"].tolist() == [4.0, -1.0]
    assert int(mean["steps"]) == 3
    assert torch.equal(average(states[:1], [7])["w"], states[0]["w"])


def test_bytes_are_four_or_two_for_every_weight_and_counters_keep_theirs():
    module = torch.nn.Sequential(torch.nn.Linear(10, 3), torch.nn.BatchNorm1d(3))
    assert weight_bytes(module) == 4 * (33 + 4 * 3) + 8
    assert weight_bytes(module, "float16") == 2 * (33 + 4 * 3) + 8


def test_weights_are_sent_in_half_precision_and_averaged_in_full():
    state = {"w": torch.tensor([1.0 + 2**-12, 3.0]), "steps": torch.tensor(3)}
    half = sent(state, "float16")
    assert (half["w"].dtype, half["w"].tolist(), int(half["steps"])) == (torch.float16, [1.0, 3.0], 3)
    other = {"w": torch.tensor([1.0 + 2**-9, 4.0], dtype=torch.float16), "steps": torch.tensor(5)}
    mean = average([half, other], [3, 1])
    assert mean["w"].dtype == torch.float32
    assert mean["w"].tolist() == [1.0 + 2**-11, 3.25], "a number that half precision does not have"


def test_the_first_weights_come_from_the_seed_and_later_ones_are_rounded(monkeypatch):
    data = blob_images(classes=3, per_class=20)
    [whole] = dirichlet_split(data, 1, 1.0, 0)
    down = []

    class Watched(Local):
        def map(self, work, units):
            down.extend(unit.weights for unit in units)
            return super().map(work, units)

    fedavg(
        data, [whole], 2, name="convnet2-w4", seed=0, engine=Watched(), config=LOCAL, measure=lambda module: 0.0,
        dtype="float16",
    )  # fmt: skip
    kinds = [{value.dtype for value in weights.values()} for weights in down]
    assert kinds == [{torch.float32}, {torch.float16}]


def test_rounds_learn_and_repeat_bit_for_bit():
    data = blob_images(classes=3, per_class=30)
    clients = dirichlet_split(data, 3, 1.0, 0)

    def run(seed: int) -> list[float]:
        return fedavg(
            data, clients, 3, name="convnet2-w4", seed=seed, engine=Local(), config=LOCAL,
            measure=lambda module: accuracy(module, data, data.test),
        )  # fmt: skip

    curve = run(0)
    assert len(curve) == 4
    assert curve[-1] > curve[0]
    assert run(0) == curve


def test_a_client_without_rows_takes_no_part():
    data = blob_images(classes=3, per_class=30)
    [whole] = dirichlet_split(data, 1, 1.0, 0)
    empty = dirichlet_split(data.with_train(torch.tensor([0])), 1, 1.0, 0)[0]
    nobody = type(empty)(1, torch.zeros(0, dtype=torch.int64), (0, 0, 0))
    measure = lambda module: accuracy(module, data, data.test)  # noqa: E731
    options = {"name": "convnet2-w4", "seed": 0, "engine": Local(), "config": LOCAL, "measure": measure}
    assert fedavg(data, [whole, nobody], 2, **options) == fedavg(data, [whole], 2, **options)


def test_rows_count_by_their_weights_on_a_client_and_clients_by_the_sum_of_theirs(monkeypatch):
    data = blob_images(classes=3, per_class=20)
    heavy = data.with_weights(1 + 49.0 * (torch.arange(60) % 2))
    clients = dirichlet_split(heavy, 2, 1.0, 0)
    shares, ends = [], []

    def watched(states, sizes):
        shares.append(sizes)
        return average(states, sizes)

    monkeypatch.setattr("decoct.applications.fedavg.average", watched)
    for rows in (heavy, data):
        fedavg(
            rows, clients, 1, name="convnet2-w4", seed=0, engine=Local(), config=LOCAL,
            measure=lambda module: ends.append(torch.cat([p.flatten() for p in module.parameters()])) or 0.0,
        )  # fmt: skip
    weights = torch.from_numpy(heavy.train.weights)
    assert shares[0] == [float(weights[client.rows].sum()) for client in clients]
    assert shares[1] == [float(len(client)) for client in clients]
    # One client at a time: its own training goes by the weights too, not only the mean over clients.
    monkeypatch.setattr("decoct.applications.fedavg.average", lambda states, sizes: states[0])
    alone = []
    for rows in (heavy, data):
        fedavg(
            rows, clients, 1, name="convnet2-w4", seed=0, engine=Local(), config=LOCAL,
            measure=lambda module: alone.append(torch.cat([p.flatten() for p in module.parameters()])) or 0.0,
        )  # fmt: skip
    assert torch.equal(alone[0], alone[2])
    assert not torch.equal(alone[1], alone[3])
    assert not torch.equal(ends[1], ends[3])


def test_averaging_one_client_is_its_own_training():
    data = blob_images(classes=3, per_class=20)
    [whole] = dirichlet_split(data, 1, 1.0, 0)
    seen = []
    fedavg(
        data, [whole], 1, name="convnet2-w4", seed=0, engine=Local(), config=LOCAL,
        measure=lambda module: seen.append({k: v.clone() for k, v in module.state_dict().items()}) or 0.0,
    )  # fmt: skip
    before, after = seen
    assert before.keys() == network("convnet2-w4", data.spec.shape, 3, 0).state_dict().keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
