"""Factors of last-layer gradients against gradients written out by autograd."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from toys import blob_features, blob_images

from decoct.networks.build import network
from decoct.selection.craig import Craig
from decoct.selection.glister import Glister, LastLayerLoss
from decoct.selection.grad_match import GradMatch
from decoct.selection.gradients import BLOCK, LastLayer, Seen, gradients_of, look
from decoct.selection.sources import Sources


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def a_layer(n: int = 12, d: int = 5, classes: int = 3, seed: int = 0) -> tuple[nn.Linear, Seen]:
    """A linear layer in double precision and rows that it saw."""
    layer = nn.Linear(d, classes).double()
    for place, part in enumerate(layer.parameters()):
        part.data = torch.randn(part.shape, generator=chance(seed + place), dtype=torch.float64)
    h = torch.randn(n, d, generator=chance(seed + 2), dtype=torch.float64)
    return layer, Seen(h, layer(h).detach(), torch.arange(n) % classes)


def written_out(layer: nn.Linear, seen: Seen) -> torch.Tensor:
    """The gradient of every row's cross-entropy for weights and bias, one after the other, as one vector."""
    rows = []
    for h, label in zip(seen.features, seen.labels, strict=True):
        loss = F.cross_entropy(layer(h[None]), label[None])
        rows.append(torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(layer.parameters()))]))
    return torch.stack(rows)


def test_factors_equal_gradients_written_out():
    layer, seen = a_layer()
    factors, full = seen.gradients(), written_out(layer, seen)
    other = torch.tensor([3, 0, 7])
    torch.testing.assert_close(factors.squared_norms(), full.square().sum(1))
    torch.testing.assert_close(factors.gram(factors.take(other)), full @ full[other].T)
    torch.testing.assert_close(
        factors.distances(factors.take(other)), torch.cdist(full, full[other]), atol=1e-7, rtol=0
    )
    weights = torch.rand(12, generator=chance(), dtype=torch.float64)
    total = factors.sum(weights)
    torch.testing.assert_close(torch.cat([total.weight.flatten(), total.bias]), weights @ full)
    torch.testing.assert_close(factors.inner(total), full @ (weights @ full))
    torch.testing.assert_close(factors.inner(factors.mean()), full @ full.mean(0))
    rest = factors.mean().plus(total, -0.5)
    assert abs(rest.squared_norm() - float((full.mean(0) - 0.5 * weights @ full).square().sum())) < 1e-9


def test_a_table_stands_for_itself():
    table = torch.randn(6, 4, generator=chance(), dtype=torch.float64)
    factors = LastLayer.of_table(table)
    torch.testing.assert_close(factors.gram(factors), table @ table.T)
    torch.testing.assert_close(factors.distances(factors), torch.cdist(table, table), atol=1e-7, rtol=0)
    torch.testing.assert_close(factors.inner(factors.sum()), table @ table.sum(0))
    assert abs(factors.sum().squared_norm() - float(table.sum(0).square().sum())) < 1e-9


def test_looking_at_rows_gives_what_the_network_says_and_leaves_it_alone(monkeypatch):
    monkeypatch.setattr("decoct.selection.gradients.BLOCK", 16)
    assert BLOCK > 16
    data = blob_images(classes=2, per_class=20)
    module = network("convnet2-w4", data.spec.shape, 2, 0).train()
    seen = look(module, data, data.train)
    assert module.training
    with torch.no_grad():
        torch.testing.assert_close(seen.logits, module.eval()(data.inputs(data.train)), atol=1e-5, rtol=1e-5)
    assert seen.labels.tolist() == data.train.y.tolist()
    torch.testing.assert_close(seen.gradients().residuals.sum(1), torch.zeros(40), atol=1e-6, rtol=0)


def test_gradients_are_those_of_the_expert_or_the_users_array(monkeypatch):
    data = blob_features(classes=2, per_class=8)
    module = network("mlp", data.spec.shape, 2, 0)
    monkeypatch.setattr(Sources, "expert", module)
    found = gradients_of(Sources(data, "auto", 0, "cpu"))
    assert found.bias
    torch.testing.assert_close(found.features, look(module, data, data.train).features)
    own = gradients_of(Sources(data, torch.randn(16, 3, generator=chance()), 0, "cpu"))
    assert not own.bias
    assert own.features.shape == (16, 3)


class Largest(TorchDispatchMode):
    """The most numbers that any tensor held which was made meanwhile."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        sizes = [one.untyped_storage().nbytes() // one.element_size() for one in tree_leaves(made)
                 if isinstance(one, torch.Tensor)]  # fmt: skip
        self.numbers = max(self.numbers, *sizes, 0)
        return made


@pytest.mark.parametrize("selector", [Glister(), Glister(engine="stochastic"), Craig(), GradMatch()])
def test_no_selector_writes_the_gradients_out(selector: Glister | Craig | GradMatch):
    n, d, classes = 400, 64, 40
    _, seen = a_layer(n, d, classes)
    with Largest() as largest:
        if isinstance(selector, Glister):
            picks = selector.greedy(seen.gradients(), LastLayerLoss(seen, 0.5), 20, chance())
        else:
            picks = selector.pick_from(seen.gradients(), 20, chance())
    assert len(picks.rows) == 20
    # Distances of all rows to all rows are the largest thing that any of them needs.
    assert n * d <= largest.numbers <= n * n
    assert n * n < n * classes * d / 6
    with Largest() as largest:
        torch.einsum("nc,nd->ncd", seen.gradients().residuals, seen.features)
    assert largest.numbers == n * classes * d
