"""Labels made at a temperature train students at that temperature, in looks and before the judge."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from toys import blob_images

import decoct.distillation.validate as validate_module
import decoct.evaluation.contender as contender_module
from decoct.compact.decoders import quantise
from decoct.compact.distilled import DistilledSet
from decoct.distillation.problem import Problem
from decoct.distillation.validate import validate
from decoct.errors import ConfigError
from decoct.evaluation.contender import Judged, Material, Training
from decoct.evaluation.judge import Bench
from decoct.evaluation.label_bytes import Keeping, Kept
from decoct.evaluation.protocol import Protocol
from decoct.networks.build import network
from decoct.training.config import FitConfig

DATA = blob_images(classes=3, per_class=6)
NETWORK = "convnet2-w4"
ONE_STEP = Protocol(
    "one step", FitConfig(lr=0.1, momentum=0.0, weight_decay=0.0, epochs=1, schedule="constant"), full_epochs=1,
    full_samples=100,
)  # fmt: skip


def taught(temperature: Any = 4.0, kind: str = "probabilities") -> DistilledSet:
    inputs, classes = DATA.inputs(DATA.train, slice(0, 6)), DATA.train.labels(slice(0, 6))
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    labels = (logits / 4).softmax(1) if kind == "probabilities" else classes
    learned = {"teacher": {"network": NETWORK, "epoch": 1, "of": 1, "temperature": temperature}}
    return DistilledSet(DATA.spec, "pixels", {}, quantise(inputs, 8), labels, kind, classes, learned, {})  # type: ignore[arg-type]


def build(seed: int) -> torch.nn.Module:
    return network(NETWORK, DATA.spec.shape, 3, seed)


def test_a_student_goes_down_the_loss_at_the_temperature_of_its_labels():
    """`16 mean_i -sum_c p_ic log softmax(z_i / 4)_c`, one step of SGD by hand."""
    small = taught()
    inputs, targets, _ = small.materialize()
    student = build(5).train()
    rows = -(targets * (student(inputs) / 4).log_softmax(1)).sum(1)
    loss = 16 * rows.mean()
    found = torch.autograd.grad(loss, list(student.parameters()))
    expected = [(weight - 0.1 * slope).detach() for weight, slope in zip(student.parameters(), found, strict=True)]

    training = Training(build, DATA, ONE_STEP, "cpu", lambda module, epoch: 0.0)
    fitted = Judged.of(small).train(5, training, lambda done, note="": None)
    for mine, its in zip(expected, fitted.module.parameters(), strict=True):
        assert torch.allclose(mine, its, atol=1e-5)
    plain = Judged.of(taught(1.0)).train(5, training, lambda done, note="": None)
    pairs = zip(expected, plain.module.parameters(), strict=True)
    assert not all(torch.allclose(mine, its, atol=1e-4) for mine, its in pairs), "at 1 the step is another"


class AskedError(Exception):
    """Carries the temperature that `fit` was asked for."""


@pytest.fixture
def temperatures(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    asked: list[float] = []

    def fit(build: Any, inputs: Any, targets: Any, config: FitConfig, *rest: Any, **options: Any) -> Any:
        asked.append(config.temperature)
        raise AskedError

    for module in (validate_module, contender_module):
        monkeypatch.setattr(module, "fit", fit)
    return asked


def test_looks_train_at_the_temperature_too(temperatures: list[float]):
    problem = Problem(DATA, 2, NETWORK, "cpu", "", 0.0)
    for small in (taught(), taught(1.0), taught(kind="hard")):
        with pytest.raises(AskedError):
            validate(small, problem, 0)
    assert temperatures == [4.0, 1.0, 1.0]


def test_only_the_labels_of_the_teacher_are_fitted_at_its_temperature(temperatures: list[float]):
    bench = Bench.of(DATA, replace(ONE_STEP), [NETWORK], 1, baselines=(), out=None, device="cpu")
    training = Training(build, DATA, ONE_STEP, "cpu", lambda module, epoch: 0.0)
    kept = [Kept.of(taught(), Keeping.read(name, 3), bench) for name in ("own", "own-top2", "hard")]
    for contender in (Judged.of(taught()).with_hard_labels(), *kept):
        with pytest.raises(AskedError):
            contender.train(0, training, lambda done, note="": None)
    assert temperatures == [1.0, 4.0, 4.0, 1.0]


def test_a_protocol_of_another_temperature_gives_way_to_that_of_the_labels():
    config = FitConfig(temperature=2.0)
    assert Material.of(taught()).fitted_with(config).temperature == 4
    assert Material.of(taught(1.0)).fitted_with(config) == config


def test_a_run_at_another_temperature_is_another_run():
    """Runs of the same set from before were trained at 1 and must not be taken for these."""
    small = taught()
    bench = Bench.of(DATA, ONE_STEP, [NETWORK], 1, baselines=(), out=None, device="cpu")
    assert Judged.of(small).key(0) == f"set/{small.content_hash}/fitted at temperature 4"
    assert Judged.of(taught(1.0)).key(0) == f"set/{taught(1.0).content_hash}"
    assert Kept.of(small, Keeping.read("own", 3), bench).key(0).endswith("labels own/fitted at temperature 4")
    assert Kept.of(small, Keeping.read("hard", 3), bench).key(0).endswith("labels hard")


@pytest.mark.parametrize("told", [0, -1.0, "4", True, float("inf")])
def test_a_temperature_that_is_none_is_refused(told: Any):
    with pytest.raises(ConfigError, match="a positive number"):
        _ = taught(told).temperature
