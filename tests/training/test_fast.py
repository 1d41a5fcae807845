"""Pieces, compiled graphs and their fall-backs give what the plain module gives."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from fit_reference import problem, small_network
from torch import Tensor, nn

from decoct.errors import ConfigError
from decoct.networks.embedding import embed
from decoct.training import graphs
from decoct.training.fast import FastGradient
from decoct.training.fast_embed import FastEmbed
from decoct.training.graphs import Cost, best_piece, measure, mixes_rows


def gradients(module: nn.Module) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in module.parameters() if parameter.grad is not None]


def plain_gradients(module: nn.Module, inputs: Tensor, targets: Tensor) -> list[Tensor]:
    module.zero_grad()
    F.cross_entropy(module(inputs), targets).backward()
    return gradients(module)


@pytest.mark.parametrize("piece", [3, 7, 20, 64])
def test_gradients_of_pieces_add_up_to_those_of_the_batch(piece: int):
    inputs, targets = problem(20, torch.float64)
    module = small_network(0, dtype=torch.float64)
    loss = FastGradient(module, "ce", piece=piece)(module, inputs, targets)
    found = gradients(module)
    torch.testing.assert_close(found, plain_gradients(module, inputs, targets))
    torch.testing.assert_close(loss, F.cross_entropy(module(inputs), targets).detach())


def test_batch_norm_is_not_cut_and_keeps_its_statistics():
    inputs, targets = problem(20, torch.float64)
    module, twin = (small_network(0, "bn", torch.float64).train() for _ in range(2))
    assert mixes_rows(module)
    assert not mixes_rows(small_network(0, "bn").eval())
    gradient = FastGradient(module, "ce", piece=4)
    gradient(module, inputs, targets)
    assert "whole batches" in gradient.how
    torch.testing.assert_close(gradients(module), plain_gradients(twin, inputs, targets))
    torch.testing.assert_close(module.state_dict(), twin.state_dict())


@pytest.mark.parametrize("norm", ["in", "bn"])
def test_embeddings_are_those_of_the_module_and_leave_it_alone(norm: str):
    inputs, _ = problem(20)
    module, other = small_network(0, norm).train(), small_network(1, norm).train()
    before = {name: value.clone() for name, value in other.state_dict().items()}
    embedder = FastEmbed(module, piece=6)
    found = embedder(inputs, other)
    torch.testing.assert_close(other.state_dict(), before, rtol=0, atol=0)
    assert not found.requires_grad
    torch.testing.assert_close(found, embed(other, inputs).detach())
    assert not torch.equal(found, embedder(inputs))
    assert embedder(inputs[:0]).shape == (0, 96)


def test_differentiable_embeddings_have_gradients_for_inputs_alone():
    inputs, _ = problem(9)
    module = small_network(0)
    found, plain = inputs.clone().requires_grad_(), inputs.clone().requires_grad_()
    FastEmbed(module, piece=4).differentiable(found).square().sum().backward()
    assert all(parameter.grad is None for parameter in module.parameters())
    embed(module, plain).square().sum().backward()
    torch.testing.assert_close(found.grad, plain.grad)


def test_bfloat16_embeddings_are_close_and_float32(monkeypatch):
    monkeypatch.setattr("decoct.training.pieces.native_bfloat16", lambda _: True)
    inputs, _ = problem(20)
    module = small_network(0)
    found, exact = FastEmbed(module, dtype=torch.bfloat16)(inputs), embed(module, inputs)
    assert found.dtype == torch.float32
    assert 0 < (found - exact).norm() / exact.norm() < 0.02


def test_where_bfloat16_would_be_imitated_everything_is_float32(monkeypatch):
    monkeypatch.setattr("decoct.training.pieces.native_bfloat16", lambda _: False)
    inputs, targets = problem(20)
    module = small_network(0)
    fast = FastEmbed(module, dtype=torch.bfloat16)
    assert torch.equal(fast(inputs), FastEmbed(module)(inputs))
    assert fast.how.endswith("float32")
    gradient = FastGradient(module, dtype=torch.bfloat16)
    assert torch.equal(gradient(module, inputs, targets), FastGradient(module)(module, inputs, targets))
    assert gradient.how.endswith("float32")


def test_the_largest_activation_and_the_work_of_a_row():
    layer = nn.Conv2d(3, 8, 3, padding=1)
    cost = measure(layer, torch.zeros(2, 3, 10, 10))
    assert cost.flops == 2 * 8 * 3 * 9 * 100
    assert cost.activation == 4 * 8 * 100


def test_pieces_fit_the_cache_and_waste_little():
    half_a_megabyte = Cost(1, 1 << 19)
    assert best_piece(100, half_a_megabyte) == 10
    assert best_piece(256, half_a_megabyte) == 16
    assert best_piece(5, half_a_megabyte) == 5
    assert best_piece(0, half_a_megabyte) == 12
    assert best_piece(100, Cost(1, 1 << 30)) == 1


def half_frozen(seed: int) -> nn.Module:
    module = small_network(seed)
    module[0].requires_grad_(False)  # type: ignore[index]
    return module


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_frozen_weights_get_no_gradient_and_the_others_the_same(dtype, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("decoct.training.pieces.native_bfloat16", lambda _: True)
    inputs, targets = problem(20)
    module, whole = half_frozen(0), small_network(0)
    for one in (module, whole):
        FastGradient(one, "ce", dtype=dtype)(one, inputs, targets)
    assert all((weight.grad is not None) == weight.requires_grad for weight in module.parameters())
    torch.testing.assert_close(gradients(module), gradients(whole)[2:])
    with pytest.raises(ConfigError, match="at least one trainable weight"):
        FastGradient(module, "ce")(module.requires_grad_(False), inputs, targets)


def test_numbers_that_a_network_keeps_go_along_with_its_arithmetic(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("decoct.training.pieces.native_bfloat16", lambda _: True)

    class Centred(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.full((8,), 0.5))
            self.head = nn.Linear(8, 3)

        def forward(self, x):
            return self.head(x - self.mean)

    module, x, y = Centred(), torch.randn(6, 8), torch.arange(6) % 3
    loss = FastGradient(module, "ce", dtype=torch.bfloat16)(module, x, y)
    assert float(loss) == pytest.approx(F.cross_entropy(module(x), y).item(), rel=0.05)
    assert module.mean.dtype == torch.float32


@pytest.mark.parametrize("compile", [True, False])
def test_outputs_of_the_last_batch_are_kept_where_they_are_asked_for(compile: bool):
    inputs, targets = problem(20)
    module = small_network(0)
    kept = FastGradient(module, "ce", piece=6, compile=compile, keep_outputs=True)
    kept(module, inputs, targets)
    assert kept.outputs is not None
    torch.testing.assert_close(kept.outputs, module(inputs).detach(), rtol=1e-4, atol=1e-5)
    plain = FastGradient(module, "ce", piece=6)
    plain(module, inputs, targets)
    assert plain.outputs is None


def test_a_compiled_gradient_that_is_wrong_is_found_beside_large_outputs(monkeypatch: pytest.MonkeyPatch):
    def plain(x: Tensor) -> list[Tensor]:
        return [0.01 * x, 100 * x]

    def broken(*_: object, **__: object):
        return lambda x: [0.006 * x, 100 * x]

    monkeypatch.setattr(torch, "compile", broken)
    assert graphs.compiled(plain, (torch.ones(4),), 0.01, apart=1) is None
    assert graphs.compiled(plain, (torch.ones(4),), 0.01) is not None, "one floor for both hides it"


def test_small_work_is_never_compiled_and_unknown_work_neither():
    module, (inputs, targets) = small_network(0), problem()
    small = FastGradient(module, "ce", planned_rows=1000)
    small(module, inputs, targets)
    unknown = FastEmbed(module)
    unknown(inputs)
    assert small.how == "eager, pieces of 20 rows, float32"
    assert unknown.how.startswith("eager, pieces of")


def test_without_a_compiler_it_runs_eagerly_and_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(graphs, "compiler_works", lambda: False)
    module, (inputs, targets) = small_network(0), problem()
    gradient = FastGradient(module, "ce", compile=True)
    gradient(module, inputs, targets)
    assert gradient.how == "eager, pieces of 20 rows: no working compiler on this machine, float32"
    torch.testing.assert_close(gradients(module), plain_gradients(module, inputs, targets))


def test_a_module_that_cannot_be_recorded_runs_eagerly_and_says_so():
    class Undecided(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x if x.sum() > 0 else -x)

    module, inputs, targets = Undecided(), torch.randn(6, 4), torch.arange(6) % 3
    gradient = FastGradient(module, "ce", compile=True)
    gradient(module, inputs, targets)
    assert gradient.how.startswith("eager: the compiler failed")
    torch.testing.assert_close(gradients(module), plain_gradients(module, inputs, targets))


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["in", "bn"])
def test_compiled_gradients_and_embeddings_equal_plain_ones(norm: str):
    if not graphs.compiler_works():
        pytest.skip("no working compiler on this machine")
    module, twin = (small_network(0, norm).train() for _ in range(2))
    inputs, targets = problem(10)
    gradient = FastGradient(module, "ce", compile=True, piece=4)
    first = gradient(module, inputs, targets)
    assert gradient.how.startswith("compiled")
    expected = plain_gradients(twin, inputs, targets)
    for own, other in zip(gradients(module), expected, strict=True):
        assert (own - other).norm() <= 1e-3 * (other.norm() + 0.01)
    torch.testing.assert_close(dict(module.named_buffers()), dict(twin.named_buffers()), rtol=1e-4, atol=1e-4)
    if mixes_rows(module):
        return
    assert torch.equal(first, gradient(module, inputs, targets))
    embedder = FastEmbed(module, compile=True, piece=4)
    torch.testing.assert_close(embedder(inputs), embed(module, inputs).detach(), rtol=1e-3, atol=1e-4)
    assert embedder.how.startswith("compiled")
    assert torch.equal(embedder(inputs), embedder(inputs))
    found, plain = inputs.clone().requires_grad_(), inputs.clone().requires_grad_()
    embedder.differentiable(found).square().sum().backward()
    embed(module, plain).square().sum().backward()
    torch.testing.assert_close(found.grad, plain.grad, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_compiled_gradients_leave_frozen_weights_out():
    if not graphs.compiler_works():
        pytest.skip("no working compiler on this machine")
    inputs, targets = problem(10)
    module, other = half_frozen(0), small_network(0)
    gradient = FastGradient(module, "ce", compile=True)
    for one in (module, other, module):
        gradient(one, inputs, targets)
    assert gradient.how.startswith("compiled")
    assert module[0].weight.grad is None  # type: ignore[index]
    torch.testing.assert_close(gradients(module), gradients(other)[2:], rtol=1e-3, atol=1e-5)
