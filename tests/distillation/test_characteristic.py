"""The characteristic objective against complex numbers, closed forms and what it must tell apart."""

from __future__ import annotations

import math

import pytest
import torch
from toys import blob_images

from decoct.distillation.objective.characteristic import Characteristic, characteristic_functions, discrepancy, normals
from decoct.distillation.objective.queued import class_means
from decoct.distillation.problem import Problem, RealSource, Synthetic
from decoct.distillation.queue import QueueConfig
from decoct.errors import ConfigError
from decoct.networks.embedding import embed
from decoct.streams import Streams

SHORT = QueueConfig(size=2, start=2, train_steps=2, warm_steps=4, batch=9)


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _one(count: int) -> torch.Tensor:
    return torch.ones(count, 1, dtype=torch.float64)


def _apart(real: torch.Tensor, synthetic: torch.Tensor, alpha: float = 0.5, beta: float = 0.5, f: int = 50) -> float:
    """The discrepancy of two samples of one class at the same random frequencies."""
    frequencies = _random(f, real.shape[1], seed=7)
    sides = [characteristic_functions(x, _one(len(x)), frequencies) for x in (real, synthetic)]
    return float(discrepancy(sides[0], sides[1], alpha, beta))


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.5), (1.0, 0.0), (0.0, 1.0), (0.3, 0.9), (0.9, 0.3)])
def test_equals_the_formula_in_complex_numbers(alpha, beta):
    real, synthetic, frequencies = _random(9, 4), _random(6, 4, seed=1) + 0.5, _random(20, 4, seed=2)
    labels, own = torch.arange(9) % 3, torch.arange(6) % 3
    hot = torch.eye(3, dtype=torch.float64)
    sides = [characteristic_functions(x, hot[c], frequencies) for x, c in ((real, labels), (synthetic, own))]
    expected = 0.0
    for label in range(3):
        a = torch.exp(1j * (real[labels == label] @ frequencies.T)).mean(0)
        b = torch.exp(1j * (synthetic[own == label] @ frequencies.T)).mean(0)
        phase = 2 * a.abs() * b.abs() * (1 - torch.cos(a.angle() - b.angle()))
        expected += float((alpha * (a.abs() - b.abs()) ** 2 + beta * phase).clamp_min(0).sqrt().mean())
    assert float(discrepancy(sides[0], sides[1], alpha, beta)) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_equal_weights_of_both_parts_give_the_plain_distance():
    a, b = (_random(1, 5, seed=3), _random(1, 5, seed=4)), (_random(1, 5, seed=5), _random(1, 5, seed=6))
    distance = ((a[0] - b[0]).square() + (a[1] - b[1]).square()).sqrt().mean()
    assert float(discrepancy(a, b, 0.5, 0.5)) == pytest.approx(math.sqrt(0.5) * float(distance), rel=1e-4)


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.5), (0.2, 0.8), (0.8, 0.2)])
def test_zero_for_equal_samples_in_any_order_with_finite_gradients(alpha, beta):
    real = _random(8, 5)
    synthetic = real[torch.tensor([3, 1, 7, 0, 6, 2, 5, 4])].requires_grad_(True)
    frequencies = _random(30, 5, seed=2)
    sides = [characteristic_functions(x, _one(8), frequencies) for x in (real, synthetic)]
    loss = discrepancy(sides[0], sides[1], alpha, beta)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0.0, abs=1e-9)
    assert synthetic.grad is not None
    assert torch.isfinite(synthetic.grad).all()


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (0.3, 0.7)])
def test_gradients_are_finite_where_a_modulus_is_zero(alpha, beta):
    """Two opposite points cancel: the amplitude is zero and the angle undefined."""
    real = torch.tensor([[0.0], [math.pi]], dtype=torch.float64)
    synthetic = torch.tensor([[0.0], [math.pi]], dtype=torch.float64, requires_grad=True)
    frequency = torch.ones(1, 1, dtype=torch.float64)
    sides = [characteristic_functions(x, _one(2), frequency) for x in (real, synthetic)]
    discrepancy(sides[0], sides[1], alpha, beta).backward()
    assert synthetic.grad is not None
    assert torch.isfinite(synthetic.grad).all()


def test_a_phase_that_wraps_makes_no_jump():
    real = torch.full((1, 1), math.pi - 1e-3, dtype=torch.float64)
    frequency = torch.ones(1, 1, dtype=torch.float64)
    losses = []
    for place in (math.pi - 2e-3, math.pi + 2e-3):
        sides = [
            characteristic_functions(x, _one(1), frequency)
            for x in (real, torch.full((1, 1), place, dtype=torch.float64))
        ]
        losses.append(float(discrepancy(sides[0], sides[1], 0.5, 0.5)))
    assert losses[0] == pytest.approx(math.sqrt(0.5) * 1e-3, rel=1e-2)
    assert losses[1] == pytest.approx(math.sqrt(0.5) * 3e-3, rel=1e-2)


def test_gradients_are_those_of_finite_differences():
    real, frequencies = characteristic_functions(_random(5, 3), _one(5), _random(6, 3, seed=1)), _random(6, 3, seed=1)
    assert torch.autograd.gradcheck(
        lambda x, w: discrepancy(real, characteristic_functions(x, w, frequencies), 0.3, 0.6),
        (_random(4, 3, seed=2).requires_grad_(), _one(4).requires_grad_()),
    )


def test_tells_apart_what_has_the_same_mean():
    """DM sees nothing here: both samples have mean zero."""
    wide = torch.tensor([[-2.0], [2.0]], dtype=torch.float64)
    narrow = torch.tensor([[-0.5], [0.5]], dtype=torch.float64)
    assert torch.equal(class_means(wide, _one(2)), class_means(narrow, _one(2)))
    assert _apart(wide, narrow) > 0.1
    assert _apart(wide, narrow, alpha=0.0, beta=1.0) > 0.1, "symmetric samples differ in the sign of the real part"


def _state(**options: object):
    data = blob_images(classes=3)
    settings = {"real_per_class": 5, "frequencies": 12, "queue": SHORT, "bfloat16": False, **options}
    state = Characteristic(**settings).init(Problem(data, 2, "convnet2-w4", "cpu", "", 0.0), Streams(1))  # type: ignore[arg-type]
    images, classes = data.inputs(data.train, torch.arange(6)).requires_grad_(True), torch.arange(6) % 3
    real = RealSource(data, "cpu", torch.Generator().manual_seed(3))
    return state, Synthetic(images, torch.eye(3)[classes], classes), real


def test_the_whole_objective_written_out_for_one_step():
    state, synthetic, real = _state(ce_weight=2.0, sigma=1.5, scale=10.0)
    state.prepare(real)
    rng = real.generator.get_state()
    picks = state.streams("queue").get_state()  # type: ignore[attr-defined]
    loss = state.loss(synthetic, real)
    real.generator.set_state(rng)
    state.streams("queue").set_state(picks)  # type: ignore[attr-defined]
    member = state.queue.pick()  # type: ignore[attr-defined]
    rows, labels = real.per_class(5)
    own, theirs = embed(member.module, synthetic.images), embed(member.module, rows)
    own, theirs = own / own.norm(dim=1, keepdim=True), theirs / theirs.norm(dim=1, keepdim=True)
    t = 1.5 * torch.randn(12, own.shape[1], generator=Streams(1)("frequencies"))
    expected = torch.zeros(())
    for label in range(3):
        mine = synthetic.classes == label
        a = torch.exp(1j * (theirs[labels == label] @ t.T)).mean(0)
        b = torch.exp(1j * (own[mine] @ t.T)).mean(0)
        entropy = torch.nn.functional.cross_entropy(member.module(synthetic.images[mine]), synthetic.classes[mine])
        expected = expected + 10 * math.sqrt(0.5) * (a - b).abs().mean() + 2 * member.accuracy * entropy
    assert loss.item() == pytest.approx(expected.item(), rel=1e-3)


def test_frequencies_are_fresh_at_every_step_and_real_features_are_kept():
    state, synthetic, real = _state(
        keep_real=True, queue=QueueConfig(size=1, start=1, renew_every=100, train_every=100)
    )
    first, second = state.loss(synthetic, real), state.loss(synthetic, real)
    assert first.item() != second.item()
    assert int(state._draws) == 1  # type: ignore[attr-defined]


def test_a_gpu_draws_its_own_frequencies_from_the_stream_of_the_run(monkeypatch):
    """Eight million normal values a step take a processor longer than the step; its own keep their bits."""
    stream = Streams(1)("frequencies")
    assert torch.equal(
        normals(3, 4, stream, torch.device("cpu")), torch.randn(3, 4, generator=Streams(1)("frequencies"))
    )
    drawn, plain, plain_generator = [], torch.randn, torch.Generator

    def randn(*size: int, generator: torch.Generator, device: torch.device | None = None) -> torch.Tensor:
        drawn.append((size, device, generator.initial_seed()))
        return plain(*size, generator=generator)

    monkeypatch.setattr(torch, "randn", randn)
    monkeypatch.setattr(torch, "Generator", lambda device=None: plain_generator())
    there = torch.device("cuda", 0)
    before = stream.get_state()
    first, second = normals(3, 4, stream, there), normals(3, 4, stream, there)
    stream.set_state(before)
    again = normals(3, 4, stream, there)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert [(size, device) for size, device, _ in drawn] == [((3, 4), there)] * 3


def test_learned_frequencies_raise_the_loss():
    quiet = QueueConfig(size=1, start=1, renew_every=1000, train_every=1000)
    state, synthetic, real = _state(keep_real=True, learned_frequencies=True, queue=quiet, frequencies=64)
    start = state.streams("frequencies").get_state()  # type: ignore[attr-defined]
    losses = []
    for _ in range(15):
        state.streams("frequencies").set_state(start)  # type: ignore[attr-defined]
        loss = state.loss(synthetic, real)
        loss.backward()
        state.advance(synthetic, real)
        losses.append(loss.item())
    assert losses[-1] > 1.05 * losses[0], "the same noise, the same images"
    spread = state.state_dict()["spreads.0"]
    assert spread.abs().max() > 0.1
    assert float(spread.tanh().exp().max()) < math.e, "bounded, however long the ascent"


def test_learned_spreads_leave_with_their_network():
    state, synthetic, real = _state(
        learned_frequencies=True, queue=QueueConfig(size=1, start=1, renew_every=1, batch=3)
    )
    for _ in range(3):
        state.loss(synthetic, real).backward()
        state.advance(synthetic, real)
    assert not [name for name in state.state_dict() if name.startswith("spreads.")]


def test_settings_without_sense_are_refused():
    with pytest.raises(ConfigError, match="frequencies=0"):
        Characteristic(frequencies=0)
    with pytest.raises(ConfigError, match="sigma=0"):
        Characteristic(sigma=0.0)
