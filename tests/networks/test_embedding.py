"""The input of the last linear layer, of decoct's networks and of anybody's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from decoct.errors import ConfigError
from decoct.networks.build import network
from decoct.networks.embedding import embed, embed_and_classify, feature_width

SHAPE = (3, 12, 10)
NAMES = ["convnet3-w8", "mlp-w8", "lenet", "alexnet-w8", "vgg11-w4", "resnet10-w4", "resnet10-w4-ap", "vit1-w8"]


class Hidden(nn.Module):
    """The same network without a method to ask for."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


class Foreign(nn.Module):
    """`features` and `classifier` as other libraries have them: pooling happens in between; the head runs first."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(4, 3)
        self.features = nn.Conv2d(3, 4, 3)
        self.before = nn.Linear(4, 4)

    def forward(self, x):
        return self.classifier(self.before(F.relu(self.features(x)).mean((2, 3))))


class Between(nn.Module):
    """A method `features` and a linear `classifier`, and something between them."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.classifier = nn.Linear(360, 4), nn.Linear(4, 3)

    def features(self, x):
        return self.body(x.flatten(1))

    def forward(self, x):
        return self.classifier(self.features(x).relu())


class TokenWise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(10, 3)

    def forward(self, x):
        return self.last(x).mean((1, 2))


@pytest.fixture
def inputs():
    return torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NAMES)
def test_embedding_is_what_the_last_layer_is_fed(name, inputs):
    module = network(name, SHAPE, 5, 0).eval()
    features, logits = embed_and_classify(module, inputs)
    torch.testing.assert_close(embed(module, inputs), features)
    torch.testing.assert_close(logits, module(inputs))
    torch.testing.assert_close(F.linear(features, module.classifier.weight, module.classifier.bias), logits)  # pyright: ignore
    assert feature_width(module, SHAPE) == features.shape[1]


@pytest.mark.parametrize("name", NAMES)
def test_capturing_equals_asking(name, inputs):
    module = network(name, SHAPE, 5, 0).eval()
    hidden = Hidden(module)
    asked, captured = embed_and_classify(module, inputs), embed_and_classify(hidden, inputs)
    assert torch.equal(asked[0], captured[0])
    assert torch.equal(asked[1], captured[1])
    assert torch.equal(embed(hidden, inputs), asked[0])
    assert feature_width(hidden, SHAPE) == feature_width(module, SHAPE)


def test_no_hook_is_left_behind(inputs):
    hidden = Hidden(network("mlp-w8", SHAPE, 5, 0))
    embed(hidden, inputs)
    assert not any(part._forward_pre_hooks for part in hidden.modules())


def test_foreign_attributes_of_the_same_names_are_not_believed(inputs):
    module = Foreign()
    expected = module.before(F.relu(module.features(inputs)).mean((2, 3)))
    torch.testing.assert_close(embed(module, inputs), expected)
    assert feature_width(module, SHAPE) == 4


def test_what_a_network_of_others_does_after_its_features_is_not_left_out(inputs):
    module = Between()
    features, logits = embed_and_classify(module, inputs)
    assert torch.equal(logits, module(inputs))
    assert torch.equal(features, module.features(inputs).relu())
    assert torch.equal(embed(module, inputs), features)


@pytest.mark.parametrize("wrap", [lambda module: module, Hidden])
def test_gradients_flow_to_inputs_and_parameters(wrap, inputs):
    module = network("convnet3-w8", SHAPE, 5, 0)
    inputs.requires_grad_()
    embed(wrap(module), inputs).square().sum().backward()
    assert inputs.grad is not None
    assert inputs.grad.abs().sum() > 0
    assert all(p.grad is not None for p in module.blocks.parameters())  # pyright: ignore


def test_measuring_the_width_leaves_running_statistics_and_modes(inputs):
    module = Hidden(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4).eval(), nn.Flatten(), nn.Linear(320, 3)))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    assert feature_width(module, SHAPE) == 320
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert module.training
    assert not module.inner[1].training  # pyright: ignore


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "no linear layer that ran"),
        (TokenWise(), r"a last linear layer fed \[4, 3, 12, 10\]\n  expected: a last nn.Linear fed \[4, d\]"),
    ],
)
def test_a_network_without_an_embedding_is_told_how_to_have_one(module, text, inputs):
    with pytest.raises(ConfigError, match=text) as caught:
        embed(module, inputs)
    assert "end the network with an nn.Linear on pooled features" in str(caught.value)
