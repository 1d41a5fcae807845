"""Curvature: Hutchinson's estimate beside the trace of the whole Hessian."""

from __future__ import annotations

import itertools
import json

import pytest
import torch
import torch.nn.functional as F
from analysis_toys import ROUTINE, class_weighted, soft_set, toy_set, toy_study
from torch import nn

from decoct.analysis.curvature import Curvature, curvature_along, hutchinson, loss_on
from decoct.errors import ConfigError
from decoct.evaluation.contender import Material
from decoct.training.flat import FlatNetwork


def tiny() -> tuple[FlatNetwork, torch.Tensor, Material]:
    """A network of 3 + 2 x 2 weights and 4 rows, in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(3, 1), nn.Tanh(), nn.Linear(1, 2)).double()
        inputs = torch.randn(4, 3, dtype=torch.float64)
    network = FlatNetwork(module)
    material = Material(inputs, torch.tensor([0, 1, 1, 0]), torch.tensor([1.0, 2.0, 1.0, 0.0]), "hard")
    return network, network.flatten(module), material


def exact(network: FlatNetwork, theta: torch.Tensor, material: Material) -> torch.Tensor:
    """The Hessian by finite differences of nothing: torch's own, of a loss that is written out here."""

    def loss(point: torch.Tensor) -> torch.Tensor:
        logs = network.logits(point, material.inputs).log_softmax(1)
        assert material.weights is not None
        return -(material.weights / 4 * logs[torch.arange(4), material.targets]).sum()

    return torch.autograd.functional.hessian(loss, theta)  # type: ignore[return-value]


def test_all_sign_vectors_give_the_exact_trace() -> None:
    network, theta, material = tiny()
    hessian = exact(network, theta, material)
    loss = loss_on(network, material, "cpu")
    corners = [torch.tensor(signs, dtype=torch.float64) for signs in itertools.product((-1.0, 1.0), repeat=len(theta))]
    mean = torch.stack([curvature_along(loss, theta, signs) for signs in corners]).mean()
    torch.testing.assert_close(mean, hessian.trace(), rtol=1e-9, atol=1e-9)
    axes = [curvature_along(loss, theta, row) for row in torch.eye(len(theta), dtype=torch.float64)]
    torch.testing.assert_close(torch.stack(axes), hessian.diagonal(), rtol=1e-9, atol=1e-9)


def test_the_class_beside_scores_is_part_of_the_loss() -> None:
    study = toy_study(class_weighted(0.5), seeds=1)
    module, material = study.build(0), study.material()
    network = FlatNetwork(module)
    logits = module(material.inputs).detach()
    expected = F.mse_loss(logits, material.targets) + 0.5 * F.cross_entropy(logits, study.compact_set.classes)
    assert float(loss_on(network, material, "cpu")(network.flatten(module))) == pytest.approx(float(expected), rel=1e-5)


def test_sets_whose_class_weighs_are_measured_anew(tmp_path) -> None:
    """And the real rows beside them with the same loss."""
    asked = Curvature(looks=3, probes=1, real_rows=6, routine=ROUTINE)
    for small in (class_weighted(), soft_set("scores")):
        found = asked.run(toy_study(small, out=tmp_path, seeds=1))
    assert "with the class" not in found.notes[0]
    assert "with the class beside it" in asked.run(toy_study(class_weighted(), out=tmp_path, seeds=1)).notes[0]
    keys = [json.loads(path.read_text())["key"] for path in (tmp_path / "cells").iterdir()]
    assert sorted(key.get("class_weight", 0) for key in keys) == [0, 0.5]


def test_random_probes_come_as_near_as_their_spread_says() -> None:
    network, theta, material = tiny()
    trace = exact(network, theta, material).trace()
    found = hutchinson(loss_on(network, material, "cpu"), theta, 400, torch.Generator().manual_seed(3))
    assert found.std() > 0
    assert abs(found.mean() - trace) < 4 * found.std() / 20


def test_a_diagonal_hessian_is_exact_with_one_probe() -> None:
    scales = torch.tensor([1.0, 2.0, 5.0])
    found = hutchinson(lambda x: 0.5 * (scales * x * x).sum(), torch.ones(3), 1, torch.Generator().manual_seed(0))
    assert found.tolist() == [8.0]
    flat = hutchinson(lambda x: (scales * x).sum(), torch.ones(3), 2, torch.Generator().manual_seed(0))
    assert flat.tolist() == [0.0, 0.0]


def test_instance_normalisation_is_differentiated_twice() -> None:
    study = toy_study(network_name="convnet2-w4", seeds=1)
    network = FlatNetwork(study.build(0))
    theta = network.flatten(study.build(0))
    found = hutchinson(loss_on(network, study.material(), "cpu"), theta, 2, torch.Generator().manual_seed(0))
    assert bool(torch.isfinite(found).all())


@pytest.mark.parametrize("kind", ["hard", "probabilities", "scores"])
def test_a_finding_for_every_kind_of_labels(kind: str) -> None:
    small = toy_set() if kind == "hard" else soft_set(kind)
    found = Curvature(looks=4, probes=2, real_rows=12, routine=ROUTINE).run(toy_study(small))
    steps = [row["iteration"] for row in found.rows]
    assert steps[0] == 0
    assert steps[-1] == ROUTINE.steps
    assert found.rows[-1]["set recognised"]["mean"] > 0.9  # type: ignore[index]
    assert found.rows[-1]["validation accuracy"]["mean"] > 0.9  # type: ignore[index]
    assert ("scores" in "".join(found.notes)) == (kind == "scores")
    assert found.sentence.startswith("The trace of the set's loss ")


@pytest.mark.parametrize(("name", "value"), [("looks", 2), ("probes", 0), ("real_rows", 0)])
def test_settings_that_cannot_be(name: str, value: int) -> None:
    with pytest.raises(ConfigError, match=f"setting {name} of the analysis 'curvature'"):
        Curvature(**{name: value})  # type: ignore[arg-type]
