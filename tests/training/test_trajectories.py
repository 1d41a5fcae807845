"""Expert trajectories: copied, kept compactly, found again."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn
from toys import blob_features, blob_images

from decoct.errors import ConfigError
from decoct.networks.build import network
from decoct.training import trajectories
from decoct.training.config import FitConfig
from decoct.training.fit import fit_dataset
from decoct.training.flat import FlatNetwork
from decoct.training.optimise import uphill
from decoct.training.passes import Passes
from decoct.training.trajectories import Course, Trajectories

PLAIN = FitConfig(lr=0.05, momentum=0.0, weight_decay=0.0, epochs=3, batch_size=16, schedule="constant")
COURSE = Course("convnet2-w4", PLAIN)


@pytest.fixture(scope="module")
def data():
    return blob_images()


def trained(data, course=COURSE, seeds=(1, 2), cache=None) -> Trajectories:
    found = Trajectories(data, course, seeds, cache=cache)
    found.train()
    return found


def test_every_pass_is_a_copy_and_the_last_one_is_the_trained_network(data):
    """`.detach().cpu()` hands out the live weights on a CPU, which makes all epochs the last one."""
    found = trained(data)
    weights = [found.at(0, epoch) for epoch in range(4)]
    for before, after in pairwise(weights):
        assert (after - before).norm() > 1e-3
    flat = FlatNetwork(network("convnet2-w4", (1, 8, 8), 3, 1))
    assert torch.equal(weights[0], flat.flatten(network("convnet2-w4", (1, 8, 8), 3, 1)))
    [fitted] = fit_dataset(lambda seed: network("convnet2-w4", (1, 8, 8), 3, seed), data, PLAIN, [1])
    moved = flat.flatten(fitted.module) - weights[0]
    assert (weights[3] - weights[0] - moved).norm() < 1e-3 * moved.norm()
    assert not torch.equal(found.at(1, 0), weights[0])


def test_a_state_asked_for_again_is_not_summed_again(data, monkeypatch):
    """Tens of milliseconds for a ConvNet at a late epoch, twice a step."""
    found = trained(data)
    summed = []
    plain = trajectories._after
    monkeypatch.setattr(trajectories, "_after", lambda *given: summed.append(given[2]) or plain(*given))
    for _ in range(3):
        for expert, epoch in ((0, 2), (1, 2), (0, 3)):
            state = found.at(expert, epoch)
            assert torch.equal(state, plain(*found._kept[found._seeds[expert]], epoch))
            state.zero_()
    assert summed == [2, 2, 3]


def test_states_that_were_not_asked_for_lately_make_room(data, monkeypatch):
    roomy, found = trained(data), trained(data)
    for expert in (0, 1):
        for epoch in range(4):
            roomy.at(expert, epoch)
    monkeypatch.setattr(trajectories, "available_memory", lambda: 0)
    for epoch in (1, 2, 2):
        found.at(0, epoch)
    assert list(found._asked) == [(0, 2)]
    assert list(roomy._asked) == [(1, 1), (1, 2), (1, 3)], "as many as the trajectories themselves weigh"


@pytest.mark.parametrize("stored", ["float16", "bfloat16", "float32"])
def test_small_differences_between_passes_survive(data, stored):
    """Weights rounded to 16 bits would lose steps this small."""
    slow = replace(COURSE, config=replace(PLAIN, lr=1e-4), stored=stored)
    exact, kept = (trained(data, replace(slow, stored=kind), (1,)) for kind in ("float32", stored))
    move = exact.at(0, 2) - exact.at(0, 1)
    error = (kept.at(0, 2) - kept.at(0, 1) - move).norm() / move.norm()
    assert error < {"float32": 1e-6, "float16": 2e-3, "bfloat16": 1e-2}[stored]
    halved = exact.at(0, 2).to(torch.bfloat16).float() - exact.at(0, 1).to(torch.bfloat16).float()
    assert (halved - move).norm() / move.norm() > 0.5


def test_found_again_and_not_trained_again(data, tmp_path: Path, monkeypatch):
    first = trained(data, cache=tmp_path)
    longer = Trajectories(data, COURSE, (1, 2, 3), cache=tmp_path)
    assert longer.train() == 1
    assert longer.train() == 0
    monkeypatch.setattr(Trajectories, "_trajectories", None)
    again = trained(data, cache=tmp_path)
    for expert in range(2):
        for epoch in range(4):
            assert torch.equal(again.at(expert, epoch), first.at(expert, epoch))
    assert len(list(tmp_path.iterdir())) == 3


def test_a_damaged_or_foreign_file_is_not_used(data, tmp_path: Path):
    first = trained(data, seeds=(1,), cache=tmp_path)
    [path] = tmp_path.iterdir()
    whole = path.read_bytes()
    for damaged in (whole[:1000], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
        path.write_bytes(damaged)
        again = Trajectories(data, COURSE, (1,), cache=tmp_path)
        assert again.train() == 1
        assert torch.equal(again.at(0, 3), first.at(0, 3))
    trained(data, seeds=(2,), cache=tmp_path)
    [other] = [entry for entry in tmp_path.iterdir() if entry != path]
    path.write_bytes(other.read_bytes())
    assert Trajectories(data, COURSE, (1,), cache=tmp_path).train() == 1


def test_other_data_and_other_settings_are_other_experts(data, tmp_path: Path):
    trained(data, seeds=(1,), cache=tmp_path)
    for other in (replace(COURSE, rows=30), replace(COURSE, sam_radius=0.1), replace(COURSE, stored="float32")):
        assert Trajectories(data, other, (1,), cache=tmp_path).train() == 1
    assert Trajectories(blob_images(seed=1), COURSE, (1,), cache=tmp_path).train() == 1
    assert Trajectories(data.with_train(slice(30)), COURSE, (1,), cache=tmp_path).train() == 1


@pytest.mark.parametrize("classes", [3, 7])
def test_passes_over_a_part_are_balanced_and_drawn_anew(classes):
    data = blob_images(classes=classes, per_class=5)
    source = Passes(data, 10, 0, "cpu")
    counts = torch.bincount(source.targets, minlength=classes)
    assert int(counts.max() - counts.min()) <= 1
    before = source.take(None)
    assert torch.equal(data.train.labels(source._rows), source.targets)
    source.renew()
    assert torch.equal(data.train.labels(source._rows), source.targets)
    assert len(source) == 10
    assert not torch.equal(before, source.take(None))
    scarce = Passes(data, 30, 0, "cpu")
    assert torch.equal(data.train.labels(scarce._rows), scarce.targets)
    assert torch.equal(Passes(data, 999, 0, "cpu").targets, data.train.labels())


def test_features_and_batchnorm_have_trajectories_too():
    for data, name in ((blob_features(), "mlp-w8"), (blob_images(), "convnet2-w4-bn")):
        found = trained(data, Course(name, PLAIN, rows=12), (1,))
        assert torch.isfinite(found.at(0, 3)).all()


def test_uphill_is_the_gradient_at_the_worst_place_nearby():
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    curvature = torch.tensor([1.0, 10.0])
    weight.grad = curvature * weight.detach()
    step = weight.grad / weight.grad.norm()
    with uphill([weight], 0.5):
        torch.testing.assert_close(weight.detach(), torch.tensor([3.0, 4.0]) + 0.5 * step)
        weight.grad = curvature * weight.detach()
    assert torch.equal(weight.detach(), torch.tensor([3.0, 4.0]))
    torch.testing.assert_close(weight.grad, curvature * (torch.tensor([3.0, 4.0]) + 0.5 * step))


def test_uphill_in_units_of_the_weights_is_the_worst_place_in_that_ball():
    """The closed form of adaptive SAM: of steps with `||e / w|| = r` the one along which a linear loss grows most."""
    weights = [nn.Parameter(torch.tensor([3.0, -0.5])), nn.Parameter(torch.tensor([0.0, 2.0]))]
    slopes = [torch.tensor([1.0, 10.0]), torch.tensor([7.0, -2.0])]
    for weight, slope in zip(weights, slopes, strict=True):
        weight.grad = slope.clone()
    before, slope = torch.cat([weight.detach().clone() for weight in weights]), torch.cat(slopes)
    with uphill(weights, 0.2, adaptive=True):
        step = torch.cat([weight.detach() for weight in weights]) - before
    assert torch.equal(torch.cat([weight.detach() for weight in weights]), before)
    torch.testing.assert_close(step, 0.2 * before**2 * slope / (before * slope).norm(), rtol=1e-4, atol=1e-6)
    moved = before != 0
    assert (step[moved] / before[moved]).norm().item() == pytest.approx(0.2, rel=1e-4)
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        other = torch.randn(4, generator=generator)
        assert (0.2 * before * other / other[moved].norm()) @ slope <= step @ slope + 1e-6


def test_adaptive_flat_experts_go_a_way_of_their_own(data):
    flat = replace(COURSE, sam_radius=0.05)
    ways = [trained(data, replace(flat, sam_adaptive=adaptive), (1,)).at(0, 3) for adaptive in (False, True)]
    assert not torch.equal(*ways)


def test_experts_of_before_there_was_a_choice_are_found_again(data):
    """Their facts, which are in the name of their files, say nothing of it."""
    plain, adaptive = (Trajectories(data, replace(COURSE, sam_adaptive=choice), (1,)) for choice in (False, True))
    assert "sam_adaptive" not in plain._facts(1)
    assert adaptive._facts(1)["sam_adaptive"] is True


def test_flat_experts_go_another_way(data):
    plain, flat = trained(data, seeds=(1,)), trained(data, replace(COURSE, sam_radius=0.05), (1,))
    assert torch.equal(plain.at(0, 0), flat.at(0, 0))
    assert not torch.equal(plain.at(0, 3), flat.at(0, 3))


@pytest.mark.parametrize("wrong", [{"rows": 0}, {"sam_radius": -1.0}])
def test_settings_out_of_range(wrong):
    with pytest.raises(ConfigError, match="training of experts"):
        replace(COURSE, **wrong)


def test_experts_of_another_network_under_the_same_name_are_not_read(data, tmp_path, monkeypatch):
    monkeypatch.setattr(trajectories, "network_identity", lambda name, shape, classes: f"{name}@one")
    first = trained(data, cache=tmp_path)
    assert Trajectories(data, COURSE, (1, 2), cache=tmp_path).train() == 0
    monkeypatch.setattr(trajectories, "network_identity", lambda name, shape, classes: f"{name}@two")
    other = Trajectories(data, COURSE, (1, 2), cache=tmp_path)
    assert first._halfway_path([1]) != other._halfway_path([1])
    assert other.train() == 2
