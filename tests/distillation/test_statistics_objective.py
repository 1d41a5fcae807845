"""The statistics objective against closed forms, an independent reference and the faults of official code."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from resuming import require_exact_resume
from torch import nn
from toys import blob_features, blob_images

import decoct
from decoct.data.transform import Zca
from decoct.distillation.labels.hard import Hard
from decoct.distillation.labels.teacher import Teacher, expert_of
from decoct.distillation.layer_statistics import WatchedNetwork, channel_moments, patch_moments
from decoct.distillation.objective.statistics import Statistics, StatisticsState, densification, with_batchnorm
from decoct.distillation.problem import Problem, RealSource, Synthetic
from decoct.distillation.recipe import Recipe
from decoct.distillation.recipes.table import resolve
from decoct.distillation.recipes.task import Task
from decoct.distillation.run import Distillation
from decoct.distillation.storage.pixels import Pixels
from decoct.errors import ConfigError
from decoct.networks.build import network
from decoct.streams import Streams

BN = "convnet2-w4-bn"


def state_of(config: Statistics, data=None, strategy: str = "", cache=None) -> tuple[StatisticsState, RealSource]:
    data = blob_images() if data is None else data
    name = "convnet2-w4" if data.spec.is_image else "mlp-w8"
    state = config.init(Problem(data, 2, name, "cpu", strategy, 0.0, cache), Streams(3))
    assert isinstance(state, StatisticsState)
    real = RealSource(data, "cpu", torch.Generator().manual_seed(2))
    state.prepare(real)
    return state, real


def rows_of(data, count: int = 6) -> Synthetic:
    images = torch.randn(count, *data.spec.shape, generator=torch.Generator().manual_seed(1))
    classes = torch.arange(count) % data.spec.classes
    return Synthetic(images.requires_grad_(True), F.one_hot(classes, data.spec.classes).float(), classes)


def layers_by_hand(module: nn.Module, x: torch.Tensor) -> list[tuple[torch.Tensor, nn.BatchNorm2d]]:
    """What each BatchNorm layer of a plain chain of blocks is fed, layer by layer."""
    found = []
    for layer in module.blocks:  # type: ignore[union-attr]
        if isinstance(layer, nn.BatchNorm2d):
            found.append((x, layer))
        x = layer(x.clone())
    return found


def test_the_loss_is_the_one_of_the_textbook():
    state, real = state_of(Statistics(epochs=1, bn_weight=0.3, first_multiplier=7.0))
    synthetic = rows_of(real.data)
    loss = state.loss(synthetic, real)
    loss.backward()

    module = state.backbones[0].module
    free = synthetic.images.detach().clone().requires_grad_(True)
    penalty = torch.zeros(())
    for number, (fed, layer) in enumerate(layers_by_hand(module, free)):
        flat = fed.permute(1, 0, 2, 3).flatten(1)
        assert layer.running_mean is not None
        assert layer.running_var is not None
        term = (flat.mean(1) - layer.running_mean).norm() + (flat.var(1, unbiased=False) - layer.running_var).norm()
        penalty = penalty + (7.0 if number == 0 else 1.0) * term
    expected = nn.CrossEntropyLoss()(module(free), synthetic.classes) + 0.3 * penalty
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert free.grad is not None
    assert torch.allclose(synthetic.images.grad, free.grad, atol=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize("which", ["batchnorm", "convolution", "both"])
def test_images_with_the_statistics_of_the_real_ones_have_none_to_mend(which):
    """The real rows themselves, where running statistics are exactly theirs, lose nothing; other images do."""
    data = blob_images()
    inputs = data.inputs(data.train, torch.arange(len(data.train)))
    module = network(BN, (1, 8, 8), 3, 0)
    for fed, layer in layers_by_hand(module.eval(), inputs):  # the first layer, then those after it on its output
        layer.running_mean, layer.running_var = (part.detach() for part in channel_moments(fed))
        for later, other in layers_by_hand(module, inputs):
            other.running_mean, other.running_var = (part.detach() for part in channel_moments(later))
    state, _ = state_of(Statistics(epochs=1, statistics_of=which), data)
    watched = WatchedNetwork(module, which)
    watched.measure(data, torch.arange(len(data.train)), "cpu")
    state.backbones = [watched]
    for images, low, high in ((inputs, 0.0, 2e-3), (inputs * 0.5, 0.1, math.inf)):
        with watched.watched() as seen:
            module(images)
        assert low <= state.mismatch(0, seen).item() <= high


def test_the_statistics_are_recovered_from_noise():
    state, real = state_of(Statistics(epochs=1, statistics_of="convolution"))
    watched = state.backbones[0]
    images = rows_of(real.data, 30).images
    optimizer = torch.optim.Adam([images], lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 150)
    history = []
    for _ in range(150):
        with watched.watched() as seen:
            watched.module(images)
        loss = state.mismatch(0, seen)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        history.append(loss.item())
    assert history[-1] < 0.1 * history[0]


def test_variances_are_pooled_over_all_rows_and_not_averaged_over_batches(monkeypatch):
    """Sorted rows differ from batch to batch, so the mean of batch variances would be too small."""
    data = blob_images()
    monkeypatch.setattr("decoct.distillation.layer_statistics.BLOCK", 7)
    watched = WatchedNetwork(network("convnet2-w4", (1, 8, 8), 3, 0), "convolution")
    rows = torch.argsort(data.train.labels())
    watched.measure(data, rows, "cpu")
    inputs = data.inputs(data.train, rows)
    first = next(iter(watched.wanted.values()))
    wanted = (inputs.mean(), inputs.var(correction=0))
    assert torch.allclose(torch.stack([first[0][0], first[1][0]]), torch.stack(wanted), atol=1e-5)
    patches = inputs.reshape(-1, 2, 4, 2, 4).permute(1, 3, 0, 2, 4).reshape(4, -1)
    assert torch.allclose(first[2], patches.mean(1), atol=1e-5)
    assert torch.allclose(first[3], patches.var(1, correction=0), atol=1e-5)


class Twice(nn.Module):
    """A convolution that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.shared(self.shared(x)).flatten(1)


@pytest.mark.parametrize("block", [17, 256])
def test_a_layer_that_runs_twice_has_the_statistics_of_all_that_it_is_fed(monkeypatch, block):
    monkeypatch.setattr("decoct.distillation.layer_statistics.BLOCK", block)
    data, module = blob_images(), Twice()
    watched = WatchedNetwork(module, "convolution")
    watched.measure(data, torch.arange(len(data.train)), "cpu")
    with torch.no_grad():
        x = data.inputs(data.train)
        fed = torch.cat([x, module.shared(x)])
    for found, wanted in zip(watched.wanted["plain.shared"][:2], channel_moments(fed), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sides", [(1, 1), (2, 3), (9, 14)])
def test_maps_of_any_side_have_patches(sides):
    x = torch.randn(5, 2, *sides)
    mean, var = patch_moments(x)
    assert len(mean) == len(var) == -(-sides[0] // 4) * -(-sides[1] // 4)
    assert torch.isfinite(torch.cat([mean, var])).all()


def test_the_network_is_never_written_to():
    """The authors' metric forwards in training mode wander into the running statistics that are being matched."""
    state, real = state_of(Statistics(epochs=1, backbones=(BN, f"{BN}-leaky"), statistics_of="both", momentum=0.5))
    before = [{name: part.clone() for name, part in each.module.state_dict().items()} for each in state.backbones]
    for _ in range(4):
        synthetic = rows_of(real.data)
        state.loss(synthetic, real).backward()
        state.advance(synthetic, real)
    for each, old in zip(state.backbones, before, strict=True):
        assert not any(part.training for part in each.module.modules())
        assert all(torch.equal(part, old[name]) for name, part in each.module.state_dict().items())
        assert all(part.grad is None for part in each.module.parameters())
        assert not any(part._forward_pre_hooks for part in each.module.modules()), "hooks are taken off again"


def test_every_backbone_gets_its_turn():
    names = (BN, f"{BN}-leaky", "convnet2-w4-none")
    state, real = state_of(Statistics(epochs=1, backbones=names))
    seen = set()
    for _ in range(20):
        loss = state.loss(rows_of(real.data), real).item()
        seen.add(round(loss, 5))
    assert len(seen) == 3


def test_preparing_twice_trains_once_and_the_cache_is_read(tmp_path, monkeypatch):
    config = Statistics(epochs=1)
    state, real = state_of(config, cache=tmp_path)
    first = state.backbones[0]
    state.prepare(real)
    assert state.backbones == [first]
    assert len(list(tmp_path.iterdir())) == 1

    def never(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr("decoct.training.expert._trained", never)
    again, _ = state_of(config, cache=tmp_path)
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            first.module.state_dict().values(), again.backbones[0].module.state_dict().values(), strict=True
        )
    )


@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_resume_gives_the_same_bits_with_the_networks_trained_again(momentum):
    objective = Statistics(
        epochs=1, backbones=(BN, f"{BN}-leaky"), statistics_of="both", momentum=momentum, densify=0.1, curriculum=0.8,
        roll=2, drop=0.4,
    )  # fmt: skip
    point = Recipe(Pixels(init_from="noise", clamp=True), objective, Hard(), steps=6)

    def fresh() -> Distillation:
        return Distillation(Problem(blob_images(), 2, "convnet2-w4", "cpu", "crop_flip", 0.0), point, seed=7)

    whole, first, second = fresh(), fresh(), fresh()
    require_exact_resume(whole, first, second)


def test_the_running_mean_starts_from_the_first_batch():
    """In official code it starts from zero, so that the first steps pull against statistics nobody has."""
    state, real = state_of(Statistics(epochs=1, momentum=0.8))
    plain, _ = state_of(Statistics(epochs=1))
    synthetic = rows_of(real.data)
    assert state.loss(synthetic, real).item() == pytest.approx(plain.loss(synthetic, real).item(), rel=1e-6)
    part = torch.tensor([2.0], requires_grad=True)
    assert state._smoothed("x", torch.tensor([1.0])).item() == 1.0
    smooth = state._smoothed("x", part)
    smooth.sum().backward()
    assert smooth.item() == pytest.approx(0.8 * 1 + 0.2 * 2)
    assert part.grad is not None
    assert part.grad.item() == 1.0


def test_convolutions_are_left_out_of_a_step_by_chance_and_batchnorm_never():
    """Each by a draw of its own: over many steps the mean is that of all layers, convolutions at their share."""
    whole, _ = state_of(Statistics(epochs=1, statistics_of="both"))
    part, real = state_of(Statistics(epochs=1, statistics_of="both", drop=0.4))
    with part.backbones[0].watched() as seen:
        part.backbones[0].module(rows_of(real.data).images)
    norms = [(name, moments) for name, moments in seen if name.startswith("norm.")]
    found = torch.stack([part.mismatch(0, seen).detach() for _ in range(400)])
    assert len(seen) > len(norms) > 0
    assert len(found.unique()) == 2 ** (len(seen) - len(norms))
    kept = [0.6 if name.startswith("plain.") else 1.0 for name, _ in seen]
    terms = [whole.mismatch(0, seen[: k + 1]) - (whole.mismatch(0, seen[:k]) if k else 0) for k in range(len(seen))]
    expected = sum(share * term.item() for share, term in zip(kept, terms, strict=True))
    assert found.mean().item() == pytest.approx(expected, rel=0.1)
    plain = [(name, moments) for name, moments in seen if name.startswith("plain.")]
    assert min(part.mismatch(0, plain).item() for _ in range(40)) == 0.0


@pytest.mark.parametrize("steps", [10, 40])
def test_the_curriculum_follows_the_share_of_the_run_whatever_its_length(steps):
    objective = Statistics(epochs=1, crop=(0.08, 1.0), curriculum=0.5)
    point = Recipe(Pixels(init_from="noise"), objective, Hard())
    run = Distillation(Problem(blob_images(), 1, "convnet2-w4", "cpu", "crop", 0.0), point, seed=7)
    run.prepare()
    smallest = []
    for step in range(steps):
        run.advance(step / steps)
        smallest.append(run.objective.smallest_crop())  # type: ignore[attr-defined]
    expected = [0.08 + 0.92 * (1 + math.cos(math.pi * min(1, 2 * step / steps))) / 2 for step in range(steps)]
    assert smallest == pytest.approx(expected)
    assert state_of(Statistics(epochs=1))[0].smallest_crop() == 0.08


def test_the_crops_of_cda_shrink_over_the_whole_run():
    for preset in ("cpu", "paper"):
        objective = resolve("cda", Task(blob_images().spec, 1, preset)).objective
        assert objective.curriculum == 1  # type: ignore[attr-defined]


def test_densification_is_least_for_images_that_are_equally_different():
    classes = torch.tensor([0, 0, 1, 1, 2])
    different = torch.eye(5)[:, None, None]
    assert densification(different, classes).item() == pytest.approx(0, abs=1e-6)
    alike = torch.ones(5, 1, 1, 5, requires_grad=True)
    found = densification(alike, classes)
    values = torch.tensor([0.0, 10.0])
    one = F.kl_div(values.log_softmax(0), (values / 4).softmax(0), reduction="sum")
    assert found.item() == pytest.approx(2 * one.item(), rel=1e-4)


def test_densification_has_the_gradient_of_finite_differences():
    images = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    classes = torch.tensor([0, 1, 0, 1])
    # The aimed-at distribution is held fixed, so it is held fixed here too.
    rows = [images.detach()[classes == label] for label in (0, 1)]
    wanted = [(torch.linalg.eigvalsh(x @ x.T) / 4).softmax(0) for x in rows]

    def fixed(x):
        found = [torch.linalg.eigvalsh(x[classes == c] @ x[classes == c].T).log_softmax(0) for c in (0, 1)]
        return torch.stack([F.kl_div(a, b, reduction="sum") for a, b in zip(found, wanted, strict=True)]).sum()

    assert torch.autograd.gradcheck(fixed, (images,))
    [expected] = torch.autograd.grad(fixed(images), images)
    [found] = torch.autograd.grad(densification(images, classes), images)
    assert torch.allclose(found, expected)


@pytest.mark.parametrize(
    ("strategy", "cropped", "flipped"),
    [("crop", True, False), ("flip", False, True), ("color_crop_flip", True, True), ("rotate", False, False),
     ("none", False, False)],
)  # fmt: skip
def test_rows_are_cropped_and_mirrored_where_the_strategy_says_so(strategy, cropped, flipped):
    state, _ = state_of(Statistics(epochs=1, crop=(0.1, 0.3), roll=2), strategy=strategy)
    images = torch.randn(40, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    seen = state._augmented(images)
    same = torch.tensor([torch.allclose(a, b, atol=1e-5) for a, b in zip(seen, images, strict=True)])
    mirrored = torch.tensor([torch.allclose(a, b.flip(2), atol=1e-5) for a, b in zip(seen, images, strict=True)])
    assert bool((same | mirrored).all()) != cropped
    assert cropped or bool(mirrored.any()) == flipped


def test_learned_labels_get_a_gradient():
    state, real = state_of(Statistics(epochs=1))
    synthetic = rows_of(real.data)
    targets = synthetic.targets.clone().requires_grad_(True)
    state.loss(replace(synthetic, targets=targets), real).backward()
    assert targets.grad is not None
    assert targets.grad.abs().sum() > 0


def test_networks_without_batchnorm_get_it_are_measured_or_refused():
    assert with_batchnorm("convnet2-w4", (1, 8, 8), 3) == BN
    assert with_batchnorm("convnet2-in-w4", (1, 8, 8), 3) == BN
    assert with_batchnorm("resnet10-w4", (1, 8, 8), 3) == "resnet10-w4"
    assert with_batchnorm("mlp-w8", (12,), 3) == "mlp-w8"
    with pytest.raises(ConfigError, match="without BatchNorm.*\n.*running mean and variance.*\n.*-bn"):
        state_of(Statistics(backbones=("convnet2-w4",), statistics_of="batchnorm"))
    with pytest.raises(ConfigError, match="statistics_of='convolution'"):
        state_of(Statistics(statistics_of="both"), blob_features())
    state, real = state_of(Statistics(epochs=1), blob_features())
    synthetic = rows_of(real.data)
    state.loss(synthetic, real).backward()
    assert synthetic.images.grad is not None
    assert len(state.backbones[0].layers) == 3, "the linear layers of an MLP"


class Pooled(nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :3]


def test_networks_of_ones_own():
    state, real = state_of(Statistics(epochs=1, backbones=("test_statistics_objective:own",)))
    synthetic = rows_of(real.data)
    state.loss(synthetic, real).backward()
    assert list(state.backbones[0].layers) == ["norm.1"]
    with pytest.raises(ConfigError, match="without a layer to watch"):
        state_of(Statistics(backbones=("test_statistics_objective:blind",)))


def own(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(math.prod(shape)), nn.Linear(math.prod(shape), classes))


def blind(shape, classes):
    return Pooled()


@pytest.mark.parametrize(
    "changes",
    [{"crop": (0.5, 0.2)}, {"crop": (0.0, 1.0)}, {"momentum": 1.0}, {"epochs": 0}, {"backbones": ("a", "a")},
     {"real_rows": 0}, {"curriculum": 1.5}, {"drop": 1.0}],
)  # fmt: skip
def test_settings_out_of_range(changes):
    with pytest.raises(ConfigError, match=next(iter(changes))):
        Statistics(**changes)


def test_clamped_pixels_stay_in_the_range_of_real_images():
    data = blob_images(shape=(3, 8, 8))
    problem = Problem(data, 2, "convnet2-w4", "cpu", "", 0.0)
    tensors = {"pixels": 100 * torch.randn(6, 3, 8, 8)}
    Pixels(clamp=True).project(tensors, problem)
    raw = data.spec.transform.inverse(tensors["pixels"])
    assert raw.amin((0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-5)
    assert raw.amax((0, 2, 3)).tolist() == pytest.approx([1, 1, 1], abs=1e-5)


def test_no_clamp_where_there_is_no_range():
    data = blob_images()
    eye = torch.eye(64)
    spec = replace(data.spec, transform=Zca(data.spec.transform, torch.zeros(64), eye, eye))  # type: ignore[arg-type]
    for problem, pixels in (
        (Problem(replace(data, spec=spec), 2, "convnet2-w4", "cpu", "", 0.0), Pixels(clamp=True)),
        (Problem(blob_features(), 2, "mlp-w8", "cpu", "", 0.0), Pixels(clamp=True)),
        (Problem(data, 2, "convnet2-w4", "cpu", "", 0.0), Pixels()),
    ):
        tensors = pixels.init(problem, Streams(0))
        tensors["pixels"] *= 100
        before = tensors["pixels"].clone()
        pixels.project(tensors, problem)
        assert torch.equal(tensors["pixels"], before)


@pytest.mark.parametrize("preset", ["cpu", "paper"])
@pytest.mark.parametrize("name", ["sre2l", "cda", "gvbsm"])
def test_recipes(name, preset):
    for data in (blob_images(), blob_images(shape=(3, 70, 70), per_class=4), blob_features()):
        point = resolve(name, Task(data.spec, 3, preset))
        assert isinstance(point.objective, Statistics)
        labels = point.labels
        assert isinstance(labels, Teacher)
        assert (labels.network, *labels.others) == point.objective.backbones, "labels are the squeezed networks'"
        assert labels.epochs == point.objective.epochs
        small_colour = name == "sre2l" and data.spec.shape == (1, 8, 8)
        asked = (400, 30.0, "mixup") if small_colour else (300, 20.0, "cutmix" if data.spec.is_image else "mixup")
        found = (labels.views, labels.temperature, labels.mix)
        if name == "gvbsm":
            assert (labels.mean, labels.class_weight) == (
                ("logits", 0.1) if preset == "paper" else ("probabilities", 0)
            )
            asked = (300, 1.0, asked[2])
        assert found == (asked if preset == "paper" else (0, 1.0, ""))
        labels.init(Problem(data, 3, point.network or "", "cpu", "", 0.0), point.storage, point.objective, Streams(0))
        assert decoct.distillation.recipes.table.CARDS.load(name).name == name


@pytest.mark.parametrize("name", ["sre2l", "cda", "gvbsm"])
@pytest.mark.parametrize(
    ("asked", "squeezed"),
    [("convnet2-w5", "convnet2-w5-bn"), ("resnet10-w4", "resnet10-w4"), ("test_statistics_objective:own",) * 2],
)
def test_the_network_that_is_asked_for_is_squeezed_into_and_labels(name, asked, squeezed, monkeypatch):
    trained: list[str] = []
    train_expert = decoct.distillation.labels.teacher.train_expert
    monkeypatch.setattr(
        "decoct.distillation.labels.teacher.train_expert",
        lambda data, network, *rest, **more: trained.append(network) or train_expert(data, network, *rest, **more),
    )
    monkeypatch.setattr("decoct.distillation.recipes.statistics.CPU_EPOCHS", 1)
    small = decoct.distill(blob_images(), name, ipc=1, steps=1, network=asked)
    assert trained[0] == squeezed
    assert len(trained) == (3 if name == "gvbsm" else 1), "the experts of recovery label as well"
    assert small.learned["teacher"]["network"] == squeezed
    assert small.provenance["settings"]["objective"]["backbones"][0] == squeezed
    assert small.provenance["network"] == asked


@pytest.mark.parametrize("asked", ["lenet", "test_statistics_objective:plain"])
def test_a_network_without_batch_normalisation_is_refused_before_anything_is_trained(asked):
    with pytest.raises(ConfigError) as caught:
        decoct.distill(blob_images(shape=(1, 32, 32), per_class=2), "sre2l", ipc=1, network=asked)
    for words in (repr(asked), "a network without batch normalisation", "running mean and variance", "-bn"):
        assert words in str(caught.value)
    table = resolve("gvbsm", Task(blob_features().spec, 1, asked="mlp-w8"))
    assert table.objective.backbones == ("mlp-w8",)  # type: ignore[attr-defined]


def plain(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), classes))


def test_no_suffix_is_hung_on_a_factory(monkeypatch):
    monkeypatch.setattr(Task, "network", lambda self, *widths, **named: "test_statistics_objective:plain")
    assert resolve("rcig", Task(blob_images().spec, 1, "paper")).network == "test_statistics_objective:plain"


def test_teacher_labels_share_the_squeezed_network():
    """Trained once, and neither side changes it for the other."""
    problem = Problem(blob_images(), 1, "convnet2-w4", "cpu", "", 0.0)
    state = Statistics(epochs=1).init(problem, Streams(3))
    assert isinstance(state, StatisticsState)
    expert = expert_of(problem, BN, 1, Streams(3))
    state.prepare(RealSource(problem.data, "cpu", torch.Generator()))
    assert len(problem.experts) == 1
    assert state.backbones[0].module is not expert.module
    assert all(part.requires_grad for part in expert.module.parameters())
