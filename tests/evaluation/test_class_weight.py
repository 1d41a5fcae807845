"""Scores that say how much the class weighs beside them train students at that loss, in looks and before the judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from toys import blob_images

import decoct
import decoct.distillation.validate as validate_module
from decoct.compact.decoders import quantise
from decoct.compact.distilled import DistilledSet
from decoct.compact.views import Views
from decoct.distillation.problem import Problem
from decoct.distillation.validate import validate
from decoct.errors import ConfigError
from decoct.evaluation.contender import Judged, Material, Training, rows_together
from decoct.evaluation.course import walk
from decoct.evaluation.judge import Bench
from decoct.evaluation.label_bytes import Keeping, Kept
from decoct.evaluation.protocol import PROTOCOLS, Course, Protocol
from decoct.networks.build import network
from decoct.training.config import FitConfig
from decoct.training.job import Job
from decoct.training.losses import squared_error_and_class, with_classes
from decoct.training.sources import TensorSource

DATA = blob_images(classes=3, per_class=6)
NETWORK = "convnet2-w4"
PLAIN = FitConfig(lr=0.1, momentum=0.0, weight_decay=0.0, epochs=1, schedule="constant")


def taught(class_weight: Any = 0.5, views: int = 0, kind: str = "scores") -> DistilledSet:
    inputs, classes = DATA.inputs(DATA.train, slice(0, 6)), DATA.train.labels(slice(0, 6))
    scores = torch.randn(*([views] if views else []), 6, 3, generator=torch.Generator().manual_seed(1))
    labels = 2 * scores if kind == "scores" else scores.softmax(-1)
    learned: dict[str, Any] = {"teacher": {"network": NETWORK, "epoch": 1, "of": 1, "class_weight": class_weight}}
    if views:
        learned["views"] = Views(views, 7, "crop", "mixup").facts()
    return DistilledSet(DATA.spec, "pixels", {}, quantise(inputs, 8), labels, kind, classes, learned, {})  # type: ignore[arg-type]


def build(seed: int) -> torch.nn.Module:
    return network(NETWORK, DATA.spec.shape, 3, seed)


def by_hand(
    passes: list[tuple[torch.Tensor, torch.Tensor]], classes: torch.Tensor, weight: float
) -> list[torch.Tensor]:
    """Steps of SGD on whole sets with the loss of the official code: `mse_loss` plus the weighted `cross_entropy`."""
    student = build(5).train()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    for inputs, scores in passes:
        optimizer.zero_grad()
        logits = student(inputs)
        (F.mse_loss(logits, scores) + weight * F.cross_entropy(logits, classes)).backward()
        optimizer.step()
    return [part.detach() for part in student.parameters()]


def same(expected: list[torch.Tensor], module: torch.nn.Module) -> bool:
    return all(torch.allclose(a, b, atol=1e-5) for a, b in zip(expected, module.parameters(), strict=True))


def training_for(epochs: int) -> Training:
    config = FitConfig(lr=0.1, momentum=0.0, weight_decay=0.0, epochs=epochs, schedule="constant")
    return Training(
        build, DATA, Protocol("short", config, full_epochs=1, full_samples=100), "cpu", lambda module, epoch: 0.0
    )


def quiet(done: float, note: str = "") -> None:
    pass


def test_the_loss_is_the_squared_error_and_so_much_of_the_cross_entropy():
    logits, scores = torch.tensor([[1.0, 3.0], [0.0, 0.0]]), torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    found = squared_error_and_class(logits, with_classes(scores, torch.tensor([1, 0])), 0.1)
    entropies = [torch.tensor(1 + torch.e**-2).log(), torch.tensor(2.0).log()]
    assert torch.allclose(found, torch.tensor([2.5, 2.0]) + 0.1 * torch.stack(entropies))


def test_a_student_goes_down_both():
    small = taught()
    inputs, scores, _ = small.materialize()
    expected = by_hand([(inputs, scores)] * 2, small.classes, 0.5)
    assert same(expected, Judged.of(small).train(5, training_for(2), quiet).module)
    assert same(expected, Material.of(small).student(build, training_for(2).protocol.fit, 5).module)
    assert not same(expected, Judged.of(taught(0.0)).train(5, training_for(2), quiet).module)


def test_so_does_one_that_is_shown_views():
    """Two passes, a view each, the second of two mixed rows with the class of the first."""
    small = taught(views=2)
    expected = by_hand([small.view(0), small.view(1)], small.classes, 0.5)
    assert same(expected, Judged.of(small).train(5, training_for(2), quiet).module)


def test_so_does_one_along_the_steps_of_a_course():
    small = taught()
    inputs, scores, _ = small.materialize()
    course = Course("own", PROTOCOLS["dsa-1000"].fit, 1, 100, lrs=(0.1, 0.1), per_class=2)
    expected = by_hand([(inputs, scores)] * 2, small.classes, 0.5)
    found = walk(course, Material.of(small).walked(), build, 5, "cpu", lambda module, step: 0.0, quiet)
    assert same(expected, found.module)


def test_looks_and_labels_kept_whole_have_the_weight(monkeypatch: pytest.MonkeyPatch):
    asked: list[tuple[float, list[int]]] = []

    def told(*_: Any, classes: Any = None, class_weight: float = 0.0, **__: Any) -> Any:
        asked.append((class_weight, classes.tolist()))
        raise InterruptedError

    monkeypatch.setattr(validate_module, "fit", told)
    monkeypatch.setattr("decoct.evaluation.contender.fit", told)
    with pytest.raises(InterruptedError):
        validate(taught(), Problem(DATA, 2, NETWORK, "cpu", "", 0.0), 0)
    bench = Bench.of(
        DATA,
        Protocol("short", PLAIN, full_epochs=1, full_samples=100),
        [NETWORK],
        1,
        baselines=(),
        out=None,
        device="cpu",
    )
    for way in ("own", "hard"):
        with pytest.raises(InterruptedError):
            Kept.of(taught(), Keeping.read(way, 3), bench).train(0, training_for(1), quiet)
    classes = taught().classes.tolist()
    assert asked == [(0.5, classes), (0.5, classes), (0.0, classes)]


def test_rows_that_stand_together_have_the_weight_where_all_say_their_classes():
    part = Material.of(taught())
    both = rows_together([part, part])
    assert both.class_weight == 0.5
    assert both.classes is not None
    assert both.classes.tolist() == [*part.classes.tolist(), *part.classes.tolist()]  # type: ignore[union-attr]
    nameless = Material(part.inputs, part.targets, None, "scores")
    assert rows_together([part, nameless]).class_weight == 0


def test_it_is_saved_with_the_set_and_sets_without_have_none(tmp_path: Path):
    small = taught(views=2)
    small.save(tmp_path / "weighed")
    again = decoct.load(tmp_path / "weighed")
    assert again.class_weight == 0.5
    assert again.content_hash == small.content_hash != taught(0.4, views=2).content_hash
    assert taught(kind="probabilities").class_weight == 0, "it goes with scores"
    plain = DistilledSet(
        DATA.spec, "pixels", {}, quantise(small.decode(), 8), torch.zeros(6, 3), "scores", small.classes, {}, {}
    )
    assert plain.class_weight == 0


@pytest.mark.parametrize("told", [-1.0, "1", True, float("inf"), float("nan")])
def test_a_weight_that_is_none_is_refused(told: Any):
    with pytest.raises(ConfigError, match="a number of at least 0"):
        _ = taught(told).class_weight


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"classes": None}, "no classes"),
        ({"classes": torch.zeros(5, dtype=torch.int64)}, "5 classes of 6 rows"),
        ({"class_weight": -0.5}, "weight -0.5"),
        ({"label_kind": "probabilities"}, "beside probabilities labels"),
    ],
)
def test_what_has_no_class_to_weigh_is_refused(change: dict[str, Any], text: str):
    small = taught()
    inputs, scores, _ = small.materialize()
    options = {"label_kind": "scores", "classes": small.classes, "class_weight": 0.5, **change}
    kind = options.pop("label_kind")
    with pytest.raises(ConfigError, match=text):
        Job(build, TensorSource(inputs, "cpu"), scores, PLAIN, kind, None, "cpu", None, 0, False, **options)
