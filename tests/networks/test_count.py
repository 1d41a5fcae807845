"""Sizes and work of networks, against numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from decoct.networks.build import network
from decoct.networks.count import activation_values, flops_forward, parameter_count


@pytest.mark.parametrize(("shape", "mega"), [((3, 32, 32), 101.5), ((1, 28, 28), 96.8)])
def test_the_fields_network(shape, mega):
    assert flops_forward(network("convnet3", shape, 10, 0), shape) / 1e6 == pytest.approx(mega, abs=0.05)


def test_groups_strides_and_several_uses():
    shared = nn.Linear(6, 6, bias=False)
    module = nn.Sequential(
        nn.Conv2d(4, 6, 3, stride=2, groups=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), shared, shared
    )
    assert flops_forward(module, (4, 7, 7)) == 2 * (9 * 6 * 2 * 9) + 2 * 2 * 36
    assert parameter_count(module) == 6 * 2 * 9 + 6 + 36
    assert activation_values(module, (4, 7, 7)) == 6 * 9 + 6 + 6 + 6 + 6


def test_counting_leaves_the_network_as_it_was():
    module = network("convnet2-w4-bn", (1, 8, 8), 2, 0)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    flops_forward(module, (1, 8, 8))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert module.training
    assert not any(part._forward_hooks for part in module.modules())
