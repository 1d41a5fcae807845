"""One-shot sharing: honest bytes, clients of one class or none, and results that no engine changes."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
import torch
from toys import blob_images

from decoct.analysis.finding import Finding
from decoct.applications import federated as room
from decoct.applications.class_subset import real_rows
from decoct.applications.client_split import Client, dirichlet_split
from decoct.applications.client_work import FederatedConfig, client_units, made_by_client
from decoct.applications.federated import federated
from decoct.applications.federated_result import Federated, Sharing
from decoct.engine import Engine, Local, one_thread
from decoct.errors import BudgetError, ConfigError, UnknownNameError
from decoct.evaluation import contender
from decoct.evaluation.cells import Records
from decoct.scale.engines import engine
from decoct.training.config import FitConfig

FIT = FitConfig(optimizer="adam", lr=5e-3, epochs=15, batch_size=32)
LOCAL = FitConfig(lr=0.05, epochs=1, batch_size=16, schedule="constant")


@pytest.fixture(autouse=True)
def short_looks(monkeypatch):
    monkeypatch.setattr("decoct.distillation.validate.STEPS", 2)


def toy():
    return blob_images(classes=3, per_class=40)


def settings(**changes) -> FederatedConfig:
    base = FederatedConfig(
        clients=4, alpha=0.5, ipc=3, steps=2, rounds=2, network="convnet2-w4", server=FIT, local=LOCAL
    )
    return replace(base, **changes)


class Backwards(Engine):
    """Finishes the last unit first, as workers may."""

    def map(self, work, units):
        for number in reversed(range(len(units))):
            with one_thread():
                yield number, work(units[number])

    def over(self, make, arguments, rows, block):
        return Local().over(make, arguments, rows, block)

    @property
    def workers(self) -> int:
        return 2


def one_client(data, labels_wanted) -> Client:
    rows = torch.isin(data.train.labels(), torch.tensor(labels_wanted)).nonzero().flatten()
    return Client(0, rows, tuple(torch.bincount(data.train.labels(rows), minlength=3).tolist()))


def test_a_client_sends_its_own_classes_from_its_own_rows_only():
    data, config = toy(), settings()
    clients = dirichlet_split(data, 4, 0.5, 0)
    units = client_units(data, clients, "dm", config, 0)
    for unit in units:
        holders = [c for c in clients if set(unit.data.train.ids) <= set(data.train.ids[c.rows.numpy()])]
        assert len(holders) == 1
        assert set(unit.data.val.ids) <= set(data.train.ids[holders[0].rows.numpy()])
        assert unit.classes == tuple(c for c, count in enumerate(holders[0].counts) if count > config.ipc)
        assert len(unit.data.test) == 0, "nobody's test rows reach a client"
        made = made_by_client(unit)
        assert len(made) == 3 * len(unit.classes)


@pytest.mark.parametrize("maker", ["dm", "random"])
def test_a_client_of_one_class_sends_that_class(maker):
    data = toy()
    [unit] = client_units(data, [one_client(data, [1])], maker, settings(), 0)
    made = made_by_client(unit)
    assert (unit.classes, made.spec.class_names, len(made)) == ((1,), ("class 1",), 3)


def test_a_client_with_nothing_or_too_little_sends_nothing():
    data = toy()
    nobody = Client(1, torch.zeros(0, dtype=torch.int64), (0, 0, 0))
    short = Client(2, torch.arange(6), (2, 2, 2))
    assert len(client_units(data, [one_client(data, [0]), nobody, short], "dm", settings(), 0)) == 1
    with pytest.raises(BudgetError, match=r"at most 2 rows of one class(.|\n)*fewer clients"):
        client_units(data, [nobody, short], "dm", settings(), 0)


def test_ways_are_compared_at_equal_bytes_and_no_engine_changes_them(tmp_path, monkeypatch):
    data = toy()
    result = federated(data, ["dm", "random"], settings(), seeds=2, out=tmp_path)
    dm, random = result.of("dm"), result.of("random")
    assert [one.seed for one in dm] == [0, 1]
    for sent, real in zip(dm, random, strict=True):
        assert len(sent.up) == len(real.up)
        assert all(r <= s < r + 65 for s, r in zip(sent.up, real.up, strict=True)), "as many whole rows as fit"
        assert sum(sent.rows_held) == 120
    assert result.of("all rows")[0].total_up == 120 * 65
    other = federated(data, ["dm", "random"], settings(), seeds=1, engine=Backwards())
    first = [one for one in result.found if one.seed == 0]
    assert [one.accuracies for one in other.found] == [one.accuracies for one in first]
    assert [one.up for one in other.found] == [one.up for one in first]
    finding = Finding.from_json(result.finding().to_json())
    assert {row["way"] for row in finding.rows} >= {"dm", "random", "all rows", "fedavg, equal bytes"}
    assert "0 to" in result.table() or "bytes sent once" in result.table()
    monkeypatch.setattr("decoct.applications.federated._Work._shared", lambda *_: pytest.fail("done twice"))
    assert federated(data, ["dm", "random"], settings(), seeds=2, out=tmp_path).found == result.found


def toy_result(sent: tuple[int, ...], *curve: float) -> Federated:
    """Two clients with rows and a network of 100 bytes: a round is 200 up, and 200 down but for the first."""
    held = {"rows_held": (5, 0, 7), "classes_held": (1, 0, 2), "seconds": 0.0}
    sets, fedavg = Sharing("dm", 0, (0.8,), sent, 20, **held), Sharing("fedavg", 0, curve, (), 0, **held)
    local = {"optimizer": "sgd", "lr": 0.1, "epochs": 4}
    config = {"clients": 3, "alpha": 0.1, "ipc": 2, "weights_dtype": "float16", "local": local}
    everything = Sharing("all rows", 0, (0.9,), (650, 910), 24, **held)
    return Federated(("dm",), (sets, everything, fedavg), {"weight_bytes": 100, "seeds": [0], "config": config})


def test_rounds_at_equal_bytes_count_both_directions_but_not_what_a_shared_seed_says():
    result = toy_result((500, 500), 0.1, 0.5, 0.7, 0.75, 0.85, 0.86)
    [equal] = result.equal()
    assert (equal.affordable, equal.affordable_up) == (3, 5), "200 + 400 + 400 both ways, 5 x 200 up alone"
    assert (equal.rounds, equal.rounds_up) == (3, 5)
    assert (equal.accuracy, equal.accuracy_up) == (0.75, 0.86)
    assert (equal.needed, equal.bytes_needed) == (4, 200 + 3 * 400)
    rows = {row["way"]: (row["bytes up"], row["bytes down"]) for row in result.finding().rows}
    assert rows["fedavg, equal bytes"] == (600, 400)
    assert rows["fedavg, equal bytes up"] == (1000, 800)
    assert result.finding().chart.series[-1].x == (200.0, 600.0, 1000.0, 1400.0, 1800.0)
    assert "FedAvg gets 3 round(s) and 75.0 %" in result.finding().sentence
    assert not any("more rounds than were followed" in note for note in result.finding().notes)
    [none] = toy_result((100, 99), 0.1, 0.5).equal()
    assert (none.affordable, none.affordable_up, none.accuracy) == (0, 0, 0.1)
    [one] = toy_result((100, 100), 0.1, 0.5).equal()
    assert (one.affordable, one.accuracy) == (1, 0.5)
    assert Federated.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_rounds_that_were_not_followed_are_said_to_be():
    result = toy_result((500, 500), 0.1, 0.2)
    [equal] = result.equal()
    assert (equal.affordable, equal.rounds, equal.rounds_up, equal.accuracy) == (3, 1, 1, 0.2)
    assert (equal.needed, equal.bytes_needed) == (None, None)
    assert "FedAvg gets 3 round(s), of which only 1 were followed, and 20.0 %" in result.finding().sentence
    assert any("more rounds than were followed with 1 of 1 seeds" in note for note in result.finding().notes)


def test_how_clients_of_fedavg_train_is_told_and_that_it_was_not_searched_for():
    assert (
        "Clients of FedAvg train 4 pass(es) a round, sgd of step size 0.1. Neither was searched for: others may reach "
        "more in as many bytes."
    ) in toy_result((500, 500), 0.1, 0.2).finding().notes


def cell(way: str) -> dict:
    facts = {"rows_held": [60, 60], "classes_held": [3, 3], "rows": 6, "seconds": 1.0}
    return {**facts, "accuracies": [0.1, 0.2, 0.3] if way == "fedavg" else [0.5], "up": [] if way == "fedavg" else [9]}


def test_what_clients_do_in_a_round_concerns_fedavg_alone(tmp_path, monkeypatch):
    """Another step size is another FedAvg, beside the sets that are there."""
    done = []
    monkeypatch.setattr(room._Work, "_shared", lambda self, way, *_: done.append(way) or cell(way))
    for local in (LOCAL, LOCAL, replace(LOCAL, lr=0.2), replace(LOCAL, epochs=3)):
        federated(toy(), ["random"], settings(local=local), seeds=1, out=tmp_path)
    assert done == ["random", "all rows", "fedavg", "fedavg", "fedavg"]
    keys = [json.loads(path.read_text())["key"]["config"] for path in (tmp_path / "cells").iterdir()]
    assert sorted((key["local"]["lr"], key["local"]["epochs"]) for key in keys) == [
        (0.05, 1), (0.05, 2), (0.05, 2), (0.05, 3), (0.2, 1),
    ]  # fmt: skip


def test_cells_of_the_usual_settings_are_found_by_the_keys_that_they_had(tmp_path, monkeypatch):
    monkeypatch.setattr(room._Work, "_shared", lambda self, way, *_: cell(way))
    config = replace(settings(), local=FederatedConfig().local)
    federated(toy(), ["random"], config, seeds=1, out=tmp_path)
    keys = [json.loads(path.read_text())["key"] for path in (tmp_path / "cells").iterdir()]
    assert [key["config"] for key in keys] == [json.loads(json.dumps(asdict(config)))] * 3


def test_clients_share_anew_for_an_edited_network(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(room._Work, "_shared", lambda self, way, *_: done.append(way) or cell(way))
    for version, runs in (("one", 3), ("one", 3), ("two", 6)):
        monkeypatch.setattr(room, "network_identity", lambda name, *_, v=version: f"{name}@{v}")
        told = federated(toy(), ["random"], settings(), seeds=1, out=tmp_path)
        assert len(done) == runs
        assert told.facts["config"]["network"] == "convnet2-w4"


def test_a_set_as_large_as_the_rows_is_trained_on_like_a_set(monkeypatch):
    data, shown = toy(), []

    def fit(build, inputs, targets, config, seeds, **options):
        shown.append((len(inputs), config.epochs))
        return real(build, inputs, targets, config, seeds, **options)

    real = contender.fit
    monkeypatch.setattr(contender, "fit", fit)
    work = room._Work(data, settings(server=replace(FIT, epochs=30)), Local(), Records(None))
    everything = real_rows(data, torch.arange(len(data.train)))
    for way in ("random", "all rows"):
        work._trained(everything, way, 0)
    assert shown == [(120, 30), (120, 3)]


def test_all_rows_are_trained_on_by_the_weights_of_the_data(monkeypatch):
    data = toy()
    heavy = data.with_weights(1 + 49.0 * (torch.arange(len(data.train)) % 2))
    given = []

    def fit(build, inputs, targets, config, seeds, *, weights, **options):
        given.append(weights)
        return real(build, inputs, targets, replace(config, epochs=1), seeds, weights=weights, **options)

    real = contender.fit
    monkeypatch.setattr(contender, "fit", fit)
    room._Work(heavy, settings(), Local(), Records(None)).share("all rows", "random", 0)
    assert torch.equal(given[0], torch.from_numpy(heavy.train.weights).float())


@pytest.mark.parametrize(
    ("maker", "weighted", "text"),
    [("ridge", False, "recipe 'ridge', whose labels are scores"), ("k-center", True, "no weighted form")],
)
def test_what_cannot_be_trained_on_is_refused_before_anything_is_made(maker, weighted, text, monkeypatch):
    monkeypatch.setattr(room._Work, "share", lambda *_: pytest.fail("work before the refusal"))
    data = toy()
    data = data.with_weights(1 + torch.arange(len(data.train)) % 2) if weighted else data
    with pytest.raises(ConfigError, match=text):
        federated(data, ["random", maker], settings(), seeds=1)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
def test_tasks_of_ray_give_the_bits_of_one_client_after_the_other():
    pytest.importorskip("ray")
    data = toy()
    units = client_units(data, dirichlet_split(data, 3, 1.0, 0), "dm", settings(), 0)
    here = dict(Local().map(made_by_client, units))
    with engine("ray", 2, None) as ray:
        there = dict(ray.map(made_by_client, units))
    assert here.keys() == there.keys()
    assert all(here[place].content_hash == there[place].content_hash for place in here)


@pytest.mark.parametrize(
    ("changes", "makers", "seeds", "error", "text"),
    [
        ({"clients": 0}, ["random"], 1, ConfigError, "clients=0"),
        ({"alpha": -1.0}, ["random"], 1, ConfigError, "alpha=-1.0"),
        ({"ipc": 0}, ["random"], 1, ConfigError, "at least 1 image"),
        ({"ipc": 50}, ["random"], 1, BudgetError, "more than 50 rows"),
        ({"rounds": 0}, ["random"], 1, ConfigError, "at least 1 round"),
        ({}, [], 1, ConfigError, "makers"),
        ({}, ["random"], 0, ConfigError, "two or more for an interval"),
        ({}, ["rendom"], 1, UnknownNameError, "did you mean 'random'"),
    ],
)
def test_bad_requests(changes, makers, seeds, error, text):
    with pytest.raises(error, match=text):
        federated(toy(), makers, settings(**changes), seeds=seeds)
