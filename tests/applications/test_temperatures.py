"""Labels made at a temperature are fitted at it wherever rows of sets are trained on, and beside rows of another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from toys import blob_images

from decoct.analysis.curvature import loss_on
from decoct.analysis.removed import Removed
from decoct.analysis.routine import Routine
from decoct.analysis.study import Study, joined
from decoct.applications import continual, federated
from decoct.applications.class_subset import real_rows, rows_of_set, together
from decoct.applications.hyperparameter_search import hyperparameter_search
from decoct.applications.privacy import membership
from decoct.applications.privacy.lira import logit_confidence
from decoct.compact.decoders import quantise
from decoct.compact.distilled import DistilledSet
from decoct.engine import Local
from decoct.errors import ConfigError
from decoct.evaluation.cells import Records
from decoct.evaluation.contender import Material
from decoct.networks.build import network
from decoct.selection.driver import select
from decoct.streams import derive_seed
from decoct.training.accuracy import predict
from decoct.training.config import FitConfig
from decoct.training.fit import fit
from decoct.training.flat import FlatNetwork

DATA = blob_images(classes=3, per_class=8)
NETWORK = "convnet2-w4"
STEP = FitConfig(lr=0.1, momentum=0.0, weight_decay=0.0, epochs=1, batch_size=None, schedule="constant")


def taught(temperature: float = 4.0) -> DistilledSet:
    inputs, classes = DATA.inputs(DATA.train, slice(0, 6)), DATA.train.labels(slice(0, 6))
    labels = torch.randn(6, 3, generator=torch.Generator().manual_seed(1)).div(4).softmax(1)
    learned = {"teacher": {"network": NETWORK, "epoch": 1, "of": 1, "temperature": temperature}}
    return DistilledSet(DATA.spec, "pixels", {}, quantise(inputs, 8), labels, "probabilities", classes, learned, {})


def by_hand(parts: list[tuple[torch.Tensor, torch.Tensor, float]], seed: int) -> torch.nn.Module:
    """One step of SGD down the mean of `-T^2 sum_c p_c log softmax(z / T)_c` over the rows of all parts."""
    student = network(NETWORK, DATA.spec.shape, 3, seed).train()
    rows = [-(t**2) * (targets * (student(inputs) / t).log_softmax(1)).sum(1) for inputs, targets, t in parts]
    found = torch.autograd.grad(torch.cat(rows).mean(), list(student.parameters()))
    with torch.no_grad():
        for weight, slope in zip(student.parameters(), found, strict=True):
            weight.sub_(0.1 * slope)
    return student.eval()


def of_set(small: DistilledSet, temperature: float) -> tuple[torch.Tensor, torch.Tensor, float]:
    inputs, targets, _ = small.materialize()
    return inputs, targets, temperature


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.allclose(mine, its, atol=1e-5) for mine, its in pairs)


def test_a_server_fits_what_clients_sent_at_its_temperature(monkeypatch: pytest.MonkeyPatch):
    got: list[torch.nn.Module] = []
    monkeypatch.setattr(federated._Work, "_measure", lambda self, module: got.append(module) or 0.0)
    config = federated.FederatedConfig(network=NETWORK, server=STEP)
    work = federated._Work(DATA, config, Local(), Records(None))
    work._trained(together([rows_of_set(taught(), [0, 1, 2], 3)] * 2), "mine", 0)
    seed = derive_seed(0, "server")
    assert same(got[0], by_hand([of_set(taught(), 4.0)], seed))
    assert not same(got[0], by_hand([of_set(taught(), 1.0)], seed)), "at 1 the step is another"


def test_sets_of_two_temperatures_are_each_fitted_at_their_own():
    both = together([rows_of_set(taught(4.0), [0, 1, 2], 3), rows_of_set(taught(2.0), [0, 1, 2], 3)])
    config = continual.ContinualConfig(network=NETWORK, fit=STEP)
    found = continual._trained(DATA, both, config, 5, None, "cpu")
    assert same(found, by_hand([of_set(taught(), 4.0), of_set(taught(), 2.0)], 5))


def test_a_memory_is_fitted_at_its_temperature_and_the_new_task_beside_it_at_that_of_the_training():
    new = real_rows(DATA, torch.arange(6, 12))
    config = continual.ContinualConfig(network=NETWORK, fit=STEP)
    for own in (1.0, 3.0):
        changed = replace(config, fit=replace(STEP, temperature=own))
        both = together([new, rows_of_set(taught(), [0, 1, 2], 3)])
        found = continual._trained(DATA, both, changed, 5, None, "cpu")
        assert same(found, by_hand([(new.inputs, new.targets, own), of_set(taught(), 4.0)], 5))


def test_networks_to_attack_fit_a_set_at_its_temperature(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(membership, "small_set", lambda *_, **__: taught())
    config = membership.MembershipConfig(network=NETWORK, small=STEP)
    cell = membership._cell(DATA, torch.ones(len(DATA.train), dtype=torch.bool), "dm", config, 3, "cpu")
    student = by_hand([of_set(taught(), 4.0)], derive_seed(3, "network"))
    expected = logit_confidence(predict(student, DATA, DATA.train), DATA.train.labels())
    assert cell["confidence"] == pytest.approx(expected.tolist(), abs=1e-3)


def test_analyses_fit_at_the_temperature_too(monkeypatch: pytest.MonkeyPatch):
    study = Study.of(taught(), DATA, NETWORK, 1, device="cpu")
    routine = Routine(steps=1, lr=0.1, momentum=0.0)
    seed = derive_seed(0, "analysis")
    real = study.real(torch.arange(6, 12), "probabilities")
    mixed = study.train(joined(study.material(), real), routine, 0)
    assert same(mixed, by_hand([of_set(taught(), 4.0), (real.inputs, real.targets, 1.0)], seed))

    seen: list[float] = []
    monkeypatch.setattr(Study, "train", lambda self, material, *_: seen.append(material.temperature) or build())
    Removed(labels="own")._train(study, 0, "soft", 0)
    Removed(labels="own")._train(study, 0, "hard", 0)
    assert seen == [4.0, 1.0]


def build() -> torch.nn.Module:
    return network(NETWORK, DATA.spec.shape, 3, 0)


def test_the_loss_of_a_set_is_that_at_its_temperature():
    module, material = build(), Material.of(taught())
    net = FlatNetwork(module)
    found = loss_on(net, material, "cpu")(net.flatten(module))
    logits = module(material.inputs).detach()
    expected = -16 * (material.targets * (logits / 4).log_softmax(1)).sum(1).mean()
    assert float(found) == pytest.approx(float(expected), rel=1e-4)


def test_candidates_are_not_searched_with_labels_of_a_temperature():
    train = select(DATA, "random", ipc=1)
    with pytest.raises(ConfigError, match=r"made at temperature 4\n(.|\n)*make the set with hard labels, or with"):
        hyperparameter_search(DATA, train, {"mine": taught()})


def told(**changes: Any) -> None:
    given: dict[str, Any] = {"label_kind": "probabilities", "temperatures": torch.ones(6), "config": STEP} | changes
    config = given.pop("config")
    inputs, targets, _ = taught().materialize()
    if given["label_kind"] == "hard":
        targets = targets.argmax(1)
    fit(lambda seed: build(), inputs, targets, config, [0], **given)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"temperatures": torch.zeros(6)}, "a positive one for each row"),
        ({"label_kind": "hard"}, "with hard labels"),
        ({"config": replace(STEP, mix="mixup")}, r"pairs mixed by mixup(.|\n)*leave mixing out"),
        ({"config": replace(STEP, loss="ce")}, "loss ce"),
    ],
)
def test_temperatures_that_cannot_be(changes: dict[str, Any], text: str):
    told()
    with pytest.raises(ConfigError, match=text):
        told(**changes)
