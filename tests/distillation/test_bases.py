"""Bases: the budget in bytes, decoding against torch's own interpolation, queries, the regulariser, what is stored."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from toys import blob_features, blob_images

import decoct
from decoct.compact.decoders import DECODERS, bases, quantise_columns, row_count
from decoct.distillation.labels.hard import Hard
from decoct.distillation.labels.learned import Learned
from decoct.distillation.objective.distribution import Distribution
from decoct.distillation.objective.ridge import Ridge
from decoct.distillation.problem import Problem
from decoct.distillation.recipe import Recipe
from decoct.distillation.run import Distillation
from decoct.distillation.storage.bases import Bases
from decoct.errors import BudgetError, ConfigError, DataError
from decoct.streams import Streams


@pytest.fixture(autouse=True)
def short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decoct.distillation.validate.STEPS", 4)


def _problem(shape: tuple[int, int, int] = (1, 8, 8), ipc: int = 2) -> Problem:
    return Problem(blob_images(shape=shape), ipc, "convnet2-w4", "cpu", "", 0.0)


def _sized(shape: tuple[int, int, int], classes: int, ipc: int) -> Problem:
    """Only what the budget rule looks at counts: one row of each class."""
    return Problem(blob_images(classes, 1, shape), ipc, "convnet2-w4", "cpu", "", 0.0)


@pytest.mark.parametrize(
    ("shape", "classes", "ipc", "count", "published"),
    [
        ((1, 28, 28), 10, 1, 8, 78), ((1, 28, 28), 10, 1, 16, 29), ((1, 28, 28), 10, 10, 64, 102),
        ((3, 32, 32), 10, 1, 16, 115), ((3, 32, 32), 10, 10, 128, 163), ((3, 32, 32), 100, 1, 32, 88),
    ],
)  # fmt: skip
def test_rows_of_a_class_are_the_papers_less_the_room_of_the_scales(shape, classes, ipc, count, published):
    """The paper counts values; here a value is a byte, and eight bytes of scale for each base are counted as well."""
    found = Bases(count=count, max_per_class=10**6)._rows(_sized(shape, classes, ipc), count)
    scales = 8 * count + 8 * shape[0]
    assert published - scales / (classes * count) - 1 < found <= published


@pytest.mark.parametrize("ipc", [1, 2, 5, 10])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 13)])
@pytest.mark.parametrize("settings", [{}, {"count": 3}, {"bits": 16, "bits_coefficients": 16}, {"downsample": 3}])
def test_the_bytes_stay_inside_the_budget_and_use_it(ipc, shape, settings):
    problem, storage = _problem(shape, ipc), Bases(**settings)
    _, stored, _ = storage.pack(storage.init(problem, Streams(0)), problem)
    spent = sum(tensor.numel() * tensor.element_size() for tensor in stored.values())
    count, rows = storage.plan(problem)
    assert len(stored["coefficients"]) == 3 * rows
    whole = 3 * ipc * problem.spec.row_bytes
    assert spent <= whole
    capped = rows == storage.max_per_class
    row = count * problem.class_count * storage.bits_coefficients // 8
    assert capped or spent + row > whole, "one row more would not fit"


@pytest.mark.parametrize(("classes", "ipc"), [(2, 1), (10, 1), (10, 10), (10, 50), (100, 1), (200, 1)])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64)])
def test_the_chosen_count_leaves_a_class_some_rows(classes, ipc, shape):
    count, rows = Bases().plan(_sized(shape, classes, ipc))
    assert 8 <= rows <= 64
    assert 4 <= count <= shape[0] * (shape[1] // 2) * (shape[2] // 2)


def test_a_budget_without_room_names_a_count_that_fits():
    problem = _problem(ipc=1)
    with pytest.raises(BudgetError, match="no room for one row(.|\n)*at most 192 bytes(.|\n)*use count=6 or less"):
        Bases(count=7).init(problem, Streams(0))
    Bases(count=6).init(problem, Streams(0))
    with pytest.raises(BudgetError, match="raise downsample"):
        Bases(downsample=1, bits=32).init(problem, Streams(0))
    for name in ("count", "downsample", "max_per_class"):
        with pytest.raises(ConfigError, match=f"setting {name} of the storage 'bases'"):
            replace(Bases(), **{name: 0}).init(problem, Streams(0))


@pytest.mark.parametrize(("shape", "downsample"), [((1, 8, 8), 2), ((3, 9, 13), 2), ((2, 9, 14), 4), ((3, 8, 6), 1)])
def test_a_row_is_the_enlarged_sum_of_its_bases(shape, downsample):
    problem, storage = _problem(shape), Bases(downsample=downsample, count=2)
    tensors = storage.init(problem, Streams(0))
    small = (tensors["coefficients"] @ tensors["bases"].flatten(1)).reshape(-1, *tensors["bases"].shape[1:])
    expected = F.interpolate(small, size=shape[1:], mode="bilinear", align_corners=False)
    torch.testing.assert_close(storage.decode(tensors), expected, atol=1e-5, rtol=1e-5)
    rows = torch.tensor([3, 0, 3])
    torch.testing.assert_close(storage.decode(tensors, rows), expected[rows], atol=1e-5, rtol=1e-5)


def test_two_pass_gradients_equal_direct_ones(monkeypatch):
    monkeypatch.setattr("decoct.distillation.run.DECODE_ROWS", 5)
    storage = Bases()
    run = Distillation(_problem((3, 9, 7)), Recipe(storage, Distribution(real_per_class=4), Hard()), 0)
    weights = torch.randn(storage.decode(run.tensors).shape, generator=torch.Generator().manual_seed(0))
    rows = torch.arange(len(run.classes))
    leaf = storage.decode(run.tensors).detach().requires_grad_(True)
    (leaf * weights).sin().sum().backward()
    run._storage_backward(rows, leaf)
    free = {name: tensor.detach().clone().requires_grad_(True) for name, tensor in run.tensors.items()}
    (storage.decode(free) * weights).sin().sum().backward()
    for name in ("bases", "coefficients"):
        found, expected = run.tensors[name].grad, free[name].grad
        assert found is not None
        assert expected is not None
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_the_regulariser_moves_the_coefficients():
    """The official code's has no effect: it is added where its gradient is zero."""
    problem, storage = _problem(), Bases(l2=0.5)
    tensors = storage.init(problem, Streams(0))
    given = tensors["coefficients"].requires_grad_(True)
    penalty = storage.penalty(tensors)
    assert penalty is not None
    penalty.backward()
    assert given.grad is not None
    torch.testing.assert_close(given.grad, given.detach() / given.numel())
    sizes = []
    for l2 in (0.0, 1e3):
        point = Recipe(Bases(l2=l2), Distribution(real_per_class=4), Hard(), optimizer="sgd", lr=0.01)
        run = Distillation(problem, point, 0)
        for step in range(5):
            run.advance(step / 5)
        sizes.append(float(run.tensors["coefficients"].detach().square().mean()))
    assert sizes[1] < 0.9 * sizes[0]
    assert Bases().penalty(tensors) is None


def test_real_starts_look_like_rows_of_their_class():
    """With as many bases as a base has values the start is exact; with fewer it is the best of that rank."""
    problem = Problem(blob_images(per_class=40), 30, "convnet2-w4", "cpu", "", 0.0)
    rows = problem.data.inputs(problem.data.train)
    small = F.interpolate(rows, size=(4, 4), mode="area")
    for count, allowed in ((16, 1e-3), (4, 0.9)):
        storage = Bases(count=count, max_per_class=4)
        tensors = storage.init(problem, Streams(0))
        start = (tensors["coefficients"] @ tensors["bases"].flatten(1)).reshape(-1, 1, 4, 4)
        for image, label in zip(start, storage.classes(problem), strict=True):
            same = small[torch.from_numpy(problem.data.train.y == int(label))]
            assert float((same - image).square().mean((1, 2, 3)).min()) < allowed * float(small.square().mean())


@pytest.mark.parametrize("init_from", ["real", "noise"])
def test_more_bases_than_real_rows_span_start_finite(init_from):
    problem = Problem(blob_images(per_class=2, shape=(3, 8, 8)), 2, "convnet2-w4", "cpu", "", 0.0)
    storage = Bases(count=16, bits=8, init_from=init_from)
    tensors = storage.init(problem, Streams(0))
    assert len(tensors["bases"]) == 16
    assert all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())


@pytest.mark.parametrize(
    "storage", [Bases(), Bases(bits=16, bits_coefficients=16), Bases(bits=32, bits_coefficients=32)]
)
@pytest.mark.parametrize("shape", [(3, 8, 8), (12,)])
def test_what_is_stored_decodes_to_what_was_learned(storage, shape):
    data = blob_images(shape=shape) if len(shape) == 3 else blob_features(width=12)
    problem = Problem(data, 4, "convnet2-w4", "cpu", "", 0.0)
    tensors = storage.init(problem, Streams(0))
    name, stored, config = storage.pack(tensors, problem)
    live = storage.decode(tensors)
    error = (DECODERS.load(name)(stored, config) - live).abs().max()
    assert error <= {8: 0.05, 16: 2e-3, 32: 0.0}[storage.bits_coefficients] * live.abs().max()


def test_eight_bit_coefficients_err_by_half_a_step_of_their_own_column():
    values = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 100.0, 0.01])
    stored = quantise_columns(values, 8)
    back = stored["coefficient_low"] + stored["coefficient_step"] * stored["coefficients"].float()
    assert bool(((back - values).abs() <= stored["coefficient_step"] * 0.501).all())
    flat = quantise_columns(torch.full((4, 2), 0.3), 8)
    assert torch.equal(flat["coefficient_low"], torch.full((2,), 0.3))
    with pytest.raises(DataError, match="NaN, infinity"):
        quantise_columns(torch.full((4, 2), torch.nan), 8)
    with pytest.raises(ConfigError, match="8, 16 or 32"):
        quantise_columns(values, 4)


def test_hostile_tensors_and_sizes_are_refused():
    problem, storage = _problem((3, 8, 6)), Bases()
    _, stored, config = storage.pack(storage.init(problem, Streams(0)), problem)
    assert row_count("bases", stored, config) == len(storage.classes(problem))
    broken = [
        {name: tensor for name, tensor in stored.items() if name != "coefficients"},
        {**stored, "coefficients": stored["coefficients"][:, 1:]},
        {**stored, "coefficients": stored["coefficients"].float()},
        {**stored, "coefficient_low": torch.zeros(1)},
        {**stored, "bases": stored["bases"].long()},
        {**stored, "bases": stored["bases"][:0], "coefficients": stored["coefficients"][:, :0]},
        {**stored, "more": torch.zeros(1)},
    ]
    for tensors in broken:
        with pytest.raises(ConfigError, match="reading a set stored as 'bases'"):
            row_count("bases", tensors, config)
    for size in (None, [8], [8, 6, 1], [8, 6.0], [3, 6], [True, True], [1 << 20, 1 << 20], "86"):
        with pytest.raises(ConfigError, match="size \\[h, w\\] no smaller than the bases"):
            row_count("bases", stored, {"size": size})


@pytest.mark.parametrize("objective", [Ridge(real_batch=16, pool=2), Distribution(real_per_class=8)])
@pytest.mark.parametrize("labels", [Hard(), Learned()])
def test_features_share_bases_too(objective, labels):
    data = blob_features()
    small = decoct.distill(data, Recipe(Bases(), objective, labels, steps=2), ipc=3, network="mlp-w8")
    assert small.tensors["bases"].dtype == torch.float16
    assert small.nbytes.images + small.nbytes.decoder <= 3 * 3 * data.spec.row_bytes
    assert small.decode().shape[1:] == (12,)


def test_learning_lowers_the_loss_of_noise(monkeypatch):
    """Bases and coefficients alone, from the official noise, come to match class means."""
    problem = _problem()
    point = Recipe(Bases(init_from="noise"), Distribution(real_per_class=20, pool=1, renew_every=99), Hard(), lr=0.02)
    run = Distillation(problem, point, 0)
    losses = [run.advance(step / 40) for step in range(40)]
    assert losses[-1] < 0.5 * losses[0]


def test_the_decoder_reads_a_frame_of_another_shape():
    tensors = {"bases": torch.ones(1, 1, 2, 2), "coefficients": torch.tensor([[2.0]])}
    assert torch.equal(bases(tensors, {"size": [3, 5]}), torch.full((1, 1, 3, 5), 2.0))
