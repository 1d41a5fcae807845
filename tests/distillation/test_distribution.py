"""The distribution objective against the textbook loop over classes, with random and with trained networks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from toys import blob_images

from decoct.augment.siamese import Siamese
from decoct.distillation.objective.distribution import Distribution, class_means, matching_loss
from decoct.distillation.problem import Problem, RealSource, Synthetic
from decoct.distillation.queue import QueueConfig
from decoct.distillation.recipes.table import resolve
from decoct.distillation.recipes.task import Task
from decoct.networks.build import network
from decoct.networks.embedding import embed
from decoct.streams import Streams, derive_seed


def _setting(strategy: str, **options: object):
    data = blob_images(classes=3)
    problem = Problem(data, 2, "convnet2-w4", "cpu", strategy, 0.0)
    state = Distribution(real_per_class=5, bfloat16=False, **options).init(problem, Streams(1))  # type: ignore[arg-type]
    images = data.inputs(data.train, torch.arange(6)).requires_grad_(True)
    return data, state, images, torch.arange(6) % 3


def _source(data) -> RealSource:
    return RealSource(data, "cpu", torch.Generator().manual_seed(3))


@pytest.mark.parametrize("strategy", ["", "color_crop_cutout_scale_rotate"])
def test_one_forward_over_all_classes_equals_the_loop_over_classes(strategy):
    data, state, images, classes = _setting(strategy)
    one_hot = torch.eye(3)[classes]
    loss = state.loss(Synthetic(images, one_hot, classes), _source(data))
    loss.backward()

    module = network("convnet2-w4", (1, 8, 8), 3, derive_seed(1, "distribution", 0))
    rows, labels = _source(data).per_class(5)
    free = images.detach().clone().requires_grad_(True)
    parameters = None
    siamese = Siamese(strategy, per_sample=True)
    if strategy:
        generator = torch.Generator().manual_seed(derive_seed(1, "augmentation", 0))
        parameters = siamese.draw(3, (1, 8, 8), generator)
    expected = torch.zeros(())
    for label in range(3):
        real, synthetic = rows[labels == label], free[classes == label]
        if parameters is not None:
            one = torch.tensor([label])
            real = siamese.apply(real, parameters.take(one.repeat(len(real))))
            synthetic = siamese.apply(synthetic, parameters.take(one.repeat(len(synthetic))))
        difference = embed(module, real).mean(0).detach() - embed(module, synthetic).mean(0)
        expected = expected + difference.square().sum()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    assert images.grad is not None
    assert free.grad is not None
    assert torch.allclose(images.grad, free.grad, atol=1e-4 * float(free.grad.abs().max()))


def test_equal_samples_match_exactly():
    features = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    weights = torch.eye(2).repeat(4, 1)
    means = class_means(features, weights)
    assert torch.allclose(means[0], features[::2].mean(0), atol=1e-6)
    assert matching_loss(means, means).item() == 0.0


def test_learned_labels_weigh_the_means_and_get_a_gradient():
    data, state, images, classes = _setting("")
    targets = torch.full((6, 3), 1 / 3, requires_grad=True)
    state.loss(Synthetic(images, targets, classes), _source(data)).backward()
    assert targets.grad is not None
    assert targets.grad.abs().sum() > 0


def test_kept_class_means_are_those_of_the_same_network_and_augmentation():
    data, state, images, classes = _setting("crop_rotate", pool=2, renew_every=100)
    source, synthetic = _source(data), Synthetic(images, torch.eye(3)[classes], classes)
    for _ in range(6):
        state.loss(synthetic, source)
    kept = dict(zip(state._members, state._means, strict=True))  # type: ignore[attr-defined]
    assert sorted(kept) == [0, 1], "filled once, then reused"
    again = _source(data)
    for number in (0, 1):
        module = network("convnet2-w4", (1, 8, 8), 3, derive_seed(1, "distribution", number))
        rows, labels = again.per_class(5)
        siamese = Siamese("crop_rotate", per_sample=True)
        generator = torch.Generator().manual_seed(derive_seed(1, "augmentation", number))
        seen = siamese.apply(rows, siamese.draw(3, (1, 8, 8), generator).take(labels))
        expected = torch.stack([embed(module, seen[labels == label]).mean(0) for label in range(3)])
        assert torch.allclose(kept[number], expected, atol=1e-4)


def test_pooled_networks_are_built_once(monkeypatch):
    data, state, images, classes = _setting("", pool=2, renew_every=100)
    source, synthetic = _source(data), Synthetic(images, torch.eye(3)[classes], classes)
    built, plain = [], state._network  # type: ignore[attr-defined]
    monkeypatch.setattr(state, "_network", lambda number: built.append(number) or plain(number))
    for _ in range(6):
        state.loss(synthetic, source)
    assert built == [0, 1]
    state.load_state_dict(state.state_dict())
    for _ in range(6):
        state.loss(synthetic, source)
    assert sorted(built) == [0, 0, 1, 1], "once more after a resume"


def test_a_pool_renews_its_oldest_network_on_schedule():
    data, state, images, classes = _setting("", pool=2, renew_every=3)
    source, synthetic = _source(data), Synthetic(images, torch.eye(3)[classes], classes)
    seen = []
    for _ in range(8):
        state.loss(synthetic, source)
        seen.append(list(state._members))  # type: ignore[attr-defined]
    assert seen == [[0], [0, 1], [0, 1], [1, 2], [1, 2], [1, 2], [2, 3], [2, 3]]


SHORT = QueueConfig(size=2, start=2, train_every=2, trained_per_step=2, train_steps=2, warm_steps=4, batch=9)


def test_idm_is_the_textbook_loop_over_classes_under_one_trained_network():
    """Squared distances of means, and the cross-entropy weighted by the accuracy as a fraction, summed over classes."""
    data, state, images, classes = _setting("", networks="queue", queue=SHORT, ce_weight=3.0)
    source, synthetic = _source(data), Synthetic(images, torch.eye(3)[classes], classes)
    state.prepare(source)
    before = source.generator.get_state()
    picks = state.streams("queue").get_state()  # type: ignore[attr-defined]
    loss = state.loss(synthetic, source)
    loss.backward()

    source.generator.set_state(before)
    state.streams("queue").set_state(picks)  # type: ignore[attr-defined]
    member = state.queue.pick()  # type: ignore[attr-defined]
    assert 0 < member.accuracy <= 1
    rows, labels = source.per_class(5)
    free = images.detach().clone().requires_grad_(True)
    expected = torch.zeros(())
    for label in range(3):
        real, own = embed(member.module, rows[labels == label]).detach(), free[classes == label]
        entropy = torch.nn.functional.cross_entropy(member.module(own), torch.full((len(own),), label))
        distance = (real.mean(0) - embed(member.module, own).mean(0)).square().sum()
        expected = expected + distance + 3.0 * member.accuracy * entropy
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    assert images.grad is not None
    assert free.grad is not None
    assert torch.allclose(images.grad, free.grad, atol=1e-4 * float(free.grad.abs().max()))


@pytest.mark.parametrize(("classes", "ipc", "steps"), [(10, 10, 10), (100, 1, 10), (100, 10, 50), (100, 50, 10)])
def test_the_published_queue_trains_longer_at_ten_of_a_hundred_classes(classes, ipc, steps):
    spec = replace(blob_images(classes=2).spec, class_names=tuple(map(str, range(classes))))
    objective = resolve("idm", Task(spec, ipc, "paper")).objective
    assert isinstance(objective, Distribution)
    assert objective.queue.train_steps == steps
    assert objective.queue.trained_per_step == 2


def test_kept_class_means_are_drawn_again_when_a_network_was_trained():
    data, state, images, classes = _setting("crop_rotate", networks="queue", queue=SHORT, keep_real=True)
    source, synthetic = _source(data), Synthetic(images, torch.eye(3)[classes], classes)
    seen: dict[tuple[int, int], set[int]] = {}
    for _ in range(12):
        state.loss(synthetic, source)
        for member in state.queue.members:  # type: ignore[attr-defined]
            if member.kept:
                seen.setdefault((member.number, member.age), set()).add(int(member.kept["draw"]))
        state.advance(synthetic, source)
    assert len(seen) > 3
    assert all(len(draws) == 1 for draws in seen.values()), "one draw as long as the weights are the same"
    assert len(set.union(*seen.values())) == len(seen), "another one after every training"


@pytest.mark.parametrize("networks", ["random", "queue"])
def test_batch_norm_sees_all_classes_of_one_side_together_and_keeps_its_running_statistics(networks):
    data = blob_images(classes=3)
    problem = Problem(data, 2, "convnet2-w4-bn", "cpu", "", 0.0)
    state = Distribution(real_per_class=5, bfloat16=False, networks=networks, queue=SHORT).init(problem, Streams(1))
    images, classes = data.inputs(data.train, torch.arange(6)).requires_grad_(True), torch.arange(6) % 3
    loss = state.loss(Synthetic(images, torch.eye(3)[classes], classes), _source(data))
    stream = "distribution" if networks == "random" else "queue"
    number = 0 if networks == "random" else int(torch.randint(2, (1,), generator=Streams(1)("queue")))
    module = network("convnet2-w4-bn", (1, 8, 8), 3, derive_seed(1, stream, number)).train()
    rows, labels = _source(data).per_class(5)
    real, synthetic = embed(module, rows).detach(), embed(module, images).detach()
    expected = sum(
        float((real[labels == label].mean(0) - synthetic[classes == label].mean(0)).square().sum())
        for label in range(3)
    )
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    if networks == "queue":
        fresh = network("convnet2-w4-bn", (1, 8, 8), 3, derive_seed(1, "queue", number))
        found = state.queue.members[number].module  # type: ignore[attr-defined]
        assert all(torch.equal(a, b) for a, b in zip(found.buffers(), fresh.buffers(), strict=True))
