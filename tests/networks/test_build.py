"""Networks by name: sizes, shapes, seeds, and what a wrong name or factory is told."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from decoct.errors import ConfigError, UnknownNameError
from decoct.networks.build import default_network, narrow_network, network, network_names
from decoct.networks.count import parameter_count

SHAPES = [(1, 28, 28), (3, 32, 32), (3, 20, 36), (1, 8, 8)]
SMALL = [
    "convnet3-w8", "convnet1-w8", "convnet5-w8", "convnet3-w8-bn", "convnet3-w8-ln-leaky", "convnet3-gn-w8-gelu",
    "convnet2-w8-softplus",
    "convnet3-none-max-w8", "convnet2-w4-nopool-sigmoid", "mlp-w8", "mlp1", "lenet", "lenet-leaky", "alexnet-w8",
    "alexnet-in-w8", "vgg11-w4", "vgg11-in-w4", "vgg13-w4-nopool", "resnet10-w4", "resnet18-in-w4", "resnet18-ap-w4",
    "resnet10-w4-ap-bn", "vit1-w8",
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "shape", "count"),
    [
        ("convnet3", (3, 32, 32), 320_010),
        ("convnet3-bn", (3, 32, 32), 320_010),
        ("convnet3", (1, 28, 28), 317_706),
        ("lenet", (1, 28, 28), 61_706),
        ("lenet", (3, 32, 32), 62_006),
        ("mlp", (1, 28, 28), 118_282),
        ("alexnet", (3, 32, 32), 1_872_202),
        ("vgg11", (3, 32, 32), 9_231_114),
        ("vgg11-in", (3, 32, 32), 9_231_114),
        ("resnet10", (3, 32, 32), 4_903_242),
        ("resnet18", (3, 32, 32), 11_173_962),
        ("resnet18-in", (3, 32, 32), 11_173_962),
        ("resnet18-ap", (3, 32, 32), 11_173_962 + (8192 - 512) * 10),
    ],
)
def test_published_sizes(name, shape, count):
    assert parameter_count(network(name, shape, 10, 0)) == count


@pytest.mark.parametrize("classes", [2, 20])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", SMALL)
def test_every_name_learns_from_every_shape(name, shape, classes):
    module = network(name, shape, classes, 0)
    x = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    logits = module(x)
    assert logits.shape == (3, classes)
    F.cross_entropy(logits, torch.tensor([0, 1, 1])).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())
    assert x.grad is not None
    assert (x.grad.abs().amax((1, 2, 3)) > 0).all(), "no path from the image to the loss"
    assert logits.std(0).max() > 1e-6, "all images look the same to the network"


@pytest.mark.parametrize("name", [name for name in network_names() if not name.startswith(("resnet", "vgg", "alex"))])
def test_usual_names_are_networks(name):
    assert network(name, (1, 8, 8), 3, 0)(torch.zeros(2, 1, 8, 8)).shape == (2, 3)


def test_convnet_is_what_the_field_writes_down():
    module = network("convnet3-w4", (1, 28, 28), 10, 3)
    weights = list(module.parameters())
    x = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    out = x
    for block in range(3):
        kernel, bias, gain, shift = weights[4 * block : 4 * block + 4]
        out = F.conv2d(out, kernel, bias, padding=3 if block == 0 else 1)
        out = F.avg_pool2d(F.relu(F.instance_norm(out) * gain[:, None, None] + shift[:, None, None]), 2)
    assert out.shape == (2, 4, 4, 4)
    torch.testing.assert_close(module(x), out.flatten(1) @ weights[-2].T + weights[-1])


def test_average_pool_block_is_what_the_field_writes_down():
    block = network("resnet18-ap-w4", (3, 16, 16), 10, 0).blocks[2]  # pyright: ignore
    first, second, short = block.body[0].weight, block.body[4].weight, block.shortcut[0].weight
    x = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    inner = F.avg_pool2d(F.relu(F.instance_norm(F.conv2d(x, first, padding=1))), 2)
    beside = F.instance_norm(F.avg_pool2d(F.conv2d(x, short), 2))
    expected = F.relu(F.instance_norm(F.conv2d(inner, second, padding=1)) + beside)
    torch.testing.assert_close(block(x), expected)


def test_suffixes_come_in_any_order():
    one, other = (network(name, (3, 8, 8), 4, 5) for name in ("convnet2-w4-bn-max", "convnet2-max-bn-w4"))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
    assert isinstance(one.blocks[1], nn.BatchNorm2d)  # pyright: ignore


def test_the_seed_alone_decides_the_bits_and_the_global_generator_is_left():
    before = torch.random.get_rng_state()
    first = network("vit1-w8", (1, 8, 8), 3, 7)
    torch.random.default_generator.manual_seed(123)
    second, third = network("vit1-w8", (1, 8, 8), 3, 7), network("vit1-w8", (1, 8, 8), 3, 8)
    torch.random.set_rng_state(before)
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(first.classifier.weight, third.classifier.weight)  # pyright: ignore
    network("convnet3-w8", (1, 8, 8), 3, 0)
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_default_grows_with_the_image():
    sides = {4: 2, 8: 3, 28: 3, 32: 3, 64: 4, 128: 5, 224: 6}
    assert {side: default_network((3, side, side + 9)) for side in sides} == {
        side: f"convnet{depth}" for side, depth in sides.items()
    }
    assert default_network((12,)) == default_network((1, 3, 90)) == "mlp"
    for side in (4, 8):
        network(default_network((1, side, side)), (1, side, side), 2, 0)


def test_features_need_the_mlp():
    assert network("mlp-w8", (5,), 3, 0)(torch.zeros(2, 5)).shape == (2, 3)
    for name in ("convnet3", "lenet", "alexnet", "vgg11", "resnet18", "vit"):
        with pytest.raises(ConfigError, match=r"shape \(5,\), a table of features[\s\S]*use the network 'mlp'"):
            network(name, (5,), 3, 0)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("convnt3", "did you mean 'convnet3'"),
        ("convnet3-ib", "did you mean 'convnet3-in'"),
        ("resnet18in", "did you mean 'resnet18-in'"),
        ("", "family\\[depth\\] with suffixes"),
        ("zzz", "one of alexnet, .*package.module:factory"),
    ],
)
def test_an_unknown_name_gets_the_nearest_and_the_grammar(name, text):
    with pytest.raises(UnknownNameError) as caught:
        network(name, (3, 32, 32), 10, 0)
    assert f"received: {name!r}" in str(caught.value)
    caught.match(f"(?s){text}")
    caught.match("-w32 \\(width\\)")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("convnet3-bn-in", "received: the norm twice: 'bn' and 'in'"),
        ("mlp-bn", "norm = 'bn'\n  expected: for 'mlp': a depth, -w<number>, a suffix for activation"),
        ("lenet-w8", "width = 8\n  expected: for 'lenet': a suffix for activation"),
        ("convnet0", "received: depth 0"),
        ("convnet3-w0", "expected: a width of at least 1"),
        ("vgg12", "depth of a VGG\n  received: 12\n  expected: one of 11, 13, 16, 19"),
        ("resnet50", "depth of a ResNet\n  received: 50\n  expected: one of 10, 18, 34"),
        ("convnet3-w6-gn", "received: width 6\n  expected: a multiple of 4"),
        ("vit1-w200", "a width that 3 heads can share"),
    ],
)
def test_an_option_that_cannot_be_says_why(name, text):
    with pytest.raises(ConfigError) as caught:
        network(name, (3, 32, 32), 10, 0)
    assert text in str(caught.value)


def test_instance_normalisation_of_one_value_is_refused():
    with pytest.raises(ConfigError, match="maps of 1x1 at a normalised layer"):
        network("convnet1", (3, 1, 1), 2, 0)


@pytest.mark.parametrize(("shape", "classes"), [((3, 32), 10), ((0,), 10), ((3, 0, 4), 10), ((4,), 0)])
def test_shapes_that_are_none_are_refused(shape, classes):
    with pytest.raises(ConfigError, match="at least 1 class"):
        network("mlp", shape, classes, 0)


def own(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.LazyLinear(classes))


def too_wide(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes + 1))


def crashing(shape, classes):
    return nn.Linear(63, classes)


def no_module(shape, classes):
    return [shape, classes]


def one_argument(shape):
    return nn.Identity()


not_a_factory = 3


def test_a_network_of_ones_own_by_name_or_as_a_function():
    by_name, given = network("test_build:own", (1, 8, 8), 3, 4), network(own, (1, 8, 8), 3, 4)
    assert torch.equal(by_name[2].weight, given[2].weight)  # pyright: ignore
    assert given.training
    assert given[1].training  # pyright: ignore
    assert given[1].num_batches_tracked == 0, "trying the network must not feed its statistics"  # pyright: ignore


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("too_wide", r"received: torch.float32 \[2, 4\] for inputs \[2, 1, 8, 8\]\n  expected: .* logits \[2, 3\]"),
        ("crashing", r"received: RuntimeError for shape \(1, 8, 8\) and 3 classes: mat1"),
        ("no_module", "received: a list from the factory"),
        ("one_argument", "received: TypeError for shape"),
        ("not_a_factory", "received: a int"),
        ("missing", "an importable 'package.module:object'"),
    ],
)
def test_a_factory_that_makes_no_network_is_told_what_came(name, text):
    with pytest.raises(ConfigError, match=text):
        network(f"test_build:{name}", (1, 8, 8), 3, 0)


@pytest.mark.parametrize("name", ["convnet2-w4", "vit1-w8", "resnet10-w4-in"])
def test_second_derivatives_exist(name):
    module = network(name, (1, 8, 8), 2, 0)
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = F.cross_entropy(module(x), torch.tensor([0, 1]))
    grads = torch.autograd.grad(loss, list(module.parameters()), create_graph=True)
    (second,) = torch.autograd.grad(sum((g.square().sum() for g in grads), torch.zeros(())), x)
    assert second.isfinite().all()
    assert second.abs().max() > 0


def test_stacked_networks_run_as_one():
    modules = [network("convnet2-w4", (1, 8, 8), 2, seed) for seed in range(3)]
    parameters, _ = torch.func.stack_module_state(modules)
    x = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    together = torch.func.vmap(lambda p: torch.func.functional_call(modules[0], p, (x,)))(parameters)
    torch.testing.assert_close(together, torch.stack([module(x) for module in modules]))


def test_convnet_is_one_graph_and_keeps_channels_last():
    module = network("convnet3-w8", (3, 16, 16), 4, 0)
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    expected = module(x)
    # Only the blocks: the shape checks that tests put around every method cannot be traced.
    blocks = torch.compile(module.blocks, backend="eager", fullgraph=True)  # pyright: ignore
    torch.testing.assert_close(module.classifier(blocks(x).flatten(1)), expected)  # pyright: ignore
    last = module.to(memory_format=torch.channels_last)  # pyright: ignore
    torch.testing.assert_close(last(x.contiguous(memory_format=torch.channels_last)), expected)


@pytest.mark.parametrize(("shape", "name"), [((3, 32, 32), "convnet3-w32"), ((1, 3, 90), "mlp"), ((12,), "mlp")])
def test_the_narrow_network_takes_what_it_is_chosen_for(shape, name):
    assert narrow_network(shape) == name
    assert network(name, shape, 2, 0)(torch.zeros(2, *shape)).shape == (2, 2)
