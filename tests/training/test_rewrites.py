"""Rewritten operations give the values and gradients of the plain ones."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.fx.experimental.proxy_tensor import make_fx

from decoct.training.rewrites import rewrites


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("settings", [{"padding": 1}, {"padding": (3, 2), "stride": 2}, {"dilation": 2}])
def test_convolutions_and_their_gradients(channels, biased, settings):
    torch.manual_seed(0)
    x = torch.randn(4, channels, 11, 9, dtype=torch.float64)
    weight = torch.randn(5, channels, 3, 3, dtype=torch.float64)
    bias = torch.randn(5, dtype=torch.float64) if biased else torch.zeros(5, dtype=torch.float64)

    def both(x, weight, bias):
        leaves = [part.detach().requires_grad_() for part in (x, weight, bias)]
        out = F.conv2d(leaves[0], leaves[1], leaves[2] if biased else None, **settings)
        wanted = leaves if biased else leaves[:2]
        return [out.detach(), *torch.autograd.grad(out.square().sum(), wanted)]

    graph = make_fx(both, decomposition_table=rewrites())(x, weight, bias)
    for ours, plain in zip(graph(x, weight, bias), both(x, weight, bias), strict=True):
        assert ours.shape == plain.shape
        assert torch.allclose(ours, plain, rtol=1e-10, atol=1e-10)


def test_gray_images_are_convolved_as_four_channels_and_biases_summed_apart():
    def gradient(x, weight, bias):
        leaves = [part.detach().requires_grad_() for part in (weight, bias)]
        return torch.autograd.grad(F.conv2d(x, *leaves, padding=1).sum(), leaves)

    arguments = torch.randn(2, 1, 8, 8), torch.randn(3, 1, 3, 3), torch.zeros(3)
    graph = make_fx(gradient, decomposition_table=rewrites())(*arguments)
    [backward] = [node for node in graph.graph.nodes if node.target is torch.ops.aten.convolution_backward.default]
    assert backward.args[-1] == [False, True, False]
    assert backward.args[1].meta["val"].shape[1] == 4


def test_group_norm_is_asked_for_the_gradient_of_its_input_behind_frozen_weights():
    """torch's own kernel crashes without it where channels are last in memory."""

    def gradient(x, weight, bias):
        leaves = [part.detach().requires_grad_() for part in (weight, bias)]
        return torch.autograd.grad(F.group_norm(x, 2, *leaves).square().sum(), leaves)

    arguments = torch.randn(3, 4, 5, 5, dtype=torch.float64), torch.rand(4).double(), torch.rand(4).double()
    graph = make_fx(gradient, decomposition_table=rewrites())(*arguments)
    [backward] = [n for n in graph.graph.nodes if n.target is torch.ops.aten.native_group_norm_backward.default]
    assert backward.args[-1] == [True, True, True]
    for ours, plain in zip(graph(*arguments), gradient(*arguments), strict=True):
        assert torch.allclose(ours, plain, rtol=1e-12)
