"""Differentiable training against plain autograd loops, finite differences and `torch.optim`."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from decoct.augment.families import crop
from decoct.errors import ConfigError, MismatchError
from decoct.networks.build import network
from decoct.training.compiled_steps import CompiledSteps
from decoct.training.flat import SGD, Adam, FlatNetwork, InnerOptimizer
from decoct.training.graphs import compiler_works
from decoct.training.unroll import unroll

OPTIMIZERS = [SGD(), SGD(momentum=0.9, weight_decay=0.01), Adam(eps=1e-3)]
MODES = ["full", "recompute", "first-order"]
NETWORKS = ["convnet2-w4", "convnet2-w4-bn", "mlp-w8"]


class Case:
    """Six rows, three classes, five steps on rows drawn with repeats, everything in float64 with gradients."""

    def __init__(self, name: str = "convnet2-w4", steps: int = 5, shape: tuple[int, ...] = (1, 8, 8)) -> None:
        generator = torch.Generator().manual_seed(1)
        self.module = network(name, shape, 3, 0).double()
        self.net = FlatNetwork(self.module)
        self.theta = self.net.flatten(self.module).requires_grad_(True)
        self.images = torch.randn(6, *shape, generator=generator, dtype=torch.float64).requires_grad_(True)
        scores = torch.randn(6, 3, generator=generator, dtype=torch.float64)
        self.targets = scores.softmax(1).requires_grad_(True)
        self.lr = (0.02 + 0.01 * torch.arange(steps, dtype=torch.float64)).requires_grad_(True)
        self.batches = [torch.randint(6, (4,), generator=generator) for _ in range(steps)]

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        return self.images, self.targets, self.lr, self.theta

    def outcome(self, theta: Tensor) -> Tensor:
        """Something to differentiate: it weighs every weight differently."""
        return (theta * torch.linspace(-1, 2, len(theta), dtype=theta.dtype)).sum() + theta.square().sum()

    def gradients(self, **settings: object) -> tuple[Tensor, ...]:
        theta = unroll(self.net, self.theta, self.images, self.targets,
                       batches=self.batches, lr=self.lr, **settings)  # type: ignore[arg-type]  # fmt: skip
        found = torch.autograd.grad(self.outcome(theta), self.leaves, allow_unused=True, materialize_grads=True)
        return theta.detach(), *found

    def reference(self, optimizer: InnerOptimizer, through_time: bool = True) -> tuple[Tensor, ...]:
        """The same by a loop over named tensors, with the textbook optimiser written out."""
        names = [name for name, _ in self.module.named_parameters()]
        weights = dict(zip(names, self.theta.split([p.numel() for p in self.module.parameters()]), strict=True))
        weights = {name: weights[name].view(p.shape) for name, p in self.module.named_parameters()}
        first = {name: torch.zeros_like(w) for name, w in weights.items()}
        second = {name: torch.zeros_like(w) for name, w in weights.items()}
        for step, rows in enumerate(self.batches):
            inside = weights if through_time else {n: w.detach().requires_grad_() for n, w in weights.items()}
            buffers = {name: value.clone() for name, value in self.module.named_buffers()}
            logits = functional_call(self.module, {**inside, **buffers}, (self.images[rows],))
            loss = -(self.targets[rows] * logits.log_softmax(1)).sum() / len(rows)
            found = dict(zip(names, torch.autograd.grad(loss, list(inside.values()), create_graph=True), strict=True))
            for name in names:
                g, w, rate = found[name], weights[name], self.lr[step]
                if isinstance(optimizer, SGD):
                    first[name] = optimizer.momentum * first[name] + g + optimizer.weight_decay * w
                    weights[name] = w - rate * first[name]
                elif isinstance(optimizer, Adam):
                    a, b = optimizer.betas
                    first[name] = a * first[name] + (1 - a) * g
                    second[name] = b * second[name] + (1 - b) * g**2
                    corrected = (second[name] / (1 - b ** (step + 1)) + 1e-24).sqrt()
                    weights[name] = w - rate * first[name] / (1 - a ** (step + 1)) / (corrected + optimizer.eps)
        theta = torch.cat([weights[name].flatten() for name in names])
        found = torch.autograd.grad(self.outcome(theta), self.leaves, materialize_grads=True)
        return theta.detach(), *found


def close(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> bool:
    return all(torch.allclose(a, b, rtol=1e-7, atol=1e-9) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("mode", MODES)
def test_equals_a_plain_autograd_loop(name, optimizer, mode):
    case = Case(name)
    expected = case.reference(optimizer, through_time=mode != "first-order")
    assert float(expected[1].abs().max()) > 1e-6
    assert close(case.gradients(optimizer=optimizer, mode=mode), expected)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("mode", "loss"), [("full", "ce"), ("recompute", "ce"), ("recompute", "mse")])
def test_equals_finite_differences(optimizer, mode, loss):
    case = Case("mlp-w4-sigmoid", steps=3, shape=(2,))

    def outcome(images, targets, lr, theta):
        return unroll(
            case.net, theta, images, targets,
            batches=case.batches, lr=lr, optimizer=optimizer, mode=mode, loss=loss,
        ).sum()  # fmt: skip

    assert torch.autograd.gradcheck(outcome, case.leaves)


@pytest.mark.parametrize("mode", MODES)
def test_one_step_size_for_all_steps_gets_the_sum_of_its_shares(mode):
    case = Case()
    case.lr = torch.full((5,), 0.1, dtype=torch.float64, requires_grad=True)
    each = case.gradients(optimizer=SGD(), mode=mode)
    case.lr = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    one = case.gradients(optimizer=SGD(), mode=mode)
    assert torch.equal(one[0], each[0])
    assert one[3].item() == pytest.approx(each[3].sum().item(), rel=1e-9)


@pytest.mark.parametrize("mode", MODES)
def test_a_window_sees_the_last_steps_only(mode):
    """The window equals an unroll of its own from where the burn-in ended, and the burn-in gets no gradient."""
    case, optimizer = Case(), SGD(momentum=0.9)
    whole = case.gradients(optimizer=optimizer, mode=mode, start=3)
    assert torch.allclose(whole[0], case.gradients(optimizer=optimizer, mode=mode)[0])
    assert float(whole[4].abs().max()) == 0
    assert whole[3].nonzero().flatten().tolist() == [3, 4]
    only_before = torch.ones(6, dtype=torch.bool)
    only_before[torch.cat(case.batches[3:])] = False
    assert float(whole[1][only_before].abs().max() if only_before.any() else 0) == 0

    loops = Case()
    weights, velocity = loops.theta.detach(), torch.zeros_like(loops.theta)
    for step, rows in enumerate(loops.batches):
        weights = weights.requires_grad_() if step == 3 else weights
        leaf = weights if step >= 3 else weights.requires_grad_()
        images = loops.images[rows] if step >= 3 else loops.images[rows].detach()
        inside = leaf.detach().requires_grad_() if mode == "first-order" else leaf
        logits = loops.net.logits(inside, images)
        loss = nn.functional.cross_entropy(logits, loops.targets[rows].detach())
        gradient = torch.autograd.grad(loss, inside, create_graph=step >= 3)[0]
        velocity = 0.9 * velocity + gradient
        weights = leaf - loops.lr[step].detach() * velocity
        weights = weights if step >= 3 else weights.detach()
    expected = torch.autograd.grad(loops.outcome(weights), loops.images)[0]
    assert torch.allclose(whole[1], expected, atol=1e-10)


@pytest.mark.parametrize("mode", MODES)
def test_a_window_of_nothing_and_no_gradients_asked_for_train_all_the_same(mode):
    case = Case()
    wanted = case.gradients(optimizer=SGD(), mode="full")[0]
    theta = unroll(case.net, case.theta, case.images, case.targets,
                   batches=case.batches, lr=case.lr, optimizer=SGD(), mode=mode, start=5)  # fmt: skip
    assert not theta.requires_grad
    assert torch.allclose(theta, wanted)
    with torch.no_grad():
        again = unroll(case.net, case.theta, case.images, case.targets,
                       batches=case.batches, lr=case.lr, optimizer=SGD(), mode=mode)  # fmt: skip
    assert torch.equal(again, theta)


@pytest.mark.parametrize("optimizer", [SGD(momentum=0.9, weight_decay=0.01), Adam()])
def test_trains_like_torch_optim(optimizer):
    case = Case("convnet2-w4")
    theta = unroll(case.net, case.theta, case.images, case.targets,
                   batches=case.batches, lr=torch.tensor(0.05, dtype=torch.float64), optimizer=optimizer)  # fmt: skip
    module = case.module
    theirs = (
        torch.optim.Adam(module.parameters(), lr=0.05)
        if isinstance(optimizer, Adam)
        else torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    )
    for rows in case.batches:
        theirs.zero_grad()
        nn.functional.cross_entropy(module(case.images[rows].detach()), case.targets[rows].detach()).backward()
        theirs.step()
    assert torch.allclose(theta.detach(), case.net.flatten(module), atol=1e-9)


@pytest.mark.parametrize("mode", MODES)
def test_augmentation_is_replayed_on_the_way_back(mode):
    """An augmentation that depends on the step equals training on rows changed beforehand."""
    case = Case()
    factors = torch.linspace(0.5, 1.5, 5, dtype=torch.float64)
    found = case.gradients(optimizer=SGD(0.5), mode=mode, augment=lambda rows, step: rows * factors[step])
    split = Case()
    split.images = torch.cat([case.images.detach()[rows] * factors[t] for t, rows in enumerate(case.batches)])
    split.images.requires_grad_()
    split.targets = torch.cat([case.targets.detach()[rows] for rows in case.batches]).requires_grad_()
    split.batches = list(torch.arange(20).split(4))
    expected = split.gradients(optimizer=SGD(0.5), mode=mode)
    folded = torch.zeros_like(case.images)
    for t, rows in enumerate(case.batches):
        folded.index_add_(0, rows, factors[t] * expected[1][4 * t : 4 * t + 4])
    assert torch.allclose(found[1], folded, atol=1e-10)


def test_memory_does_not_grow_with_the_steps_beyond_the_buffer():
    weights = Case().net.count
    for mode in ("recompute", "first-order"):
        short, long = saved(mode, 4), saved(mode, 12)
        assert short[0] == long[0] == 4, "images, targets, step sizes, buffer"
        assert long[1] - short[1] == 8 * 2 * weights + 8, "weights, momentum, step size"
    assert saved("full", 12)[0] > 2.5 * saved("full", 4)[0]


def saved(mode: str, steps: int) -> tuple[int, int]:
    """Tensors that the finished graph still holds, by walking it from the result."""
    case = Case(steps=steps)
    theta = unroll(case.net, case.theta, case.images, case.targets,
                   batches=case.batches, lr=case.lr, optimizer=SGD(0.9), mode=mode)  # type: ignore[arg-type]  # fmt: skip
    kept, seen, todo = [], set(), [theta.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        names = [name for name in dir(node) if name.startswith("_saved_")] + ["saved_tensors"]
        for name in names:
            value = getattr(node, name, None)
            values = value if isinstance(value, (tuple, list)) else (value,)
            kept += [tensor.numel() for tensor in values if isinstance(tensor, Tensor)]
        todo += [next_node for next_node, _ in node.next_functions]
    return len(kept), sum(kept)


def test_a_regulariser_of_the_images_inside_the_inner_loss_is_dead():
    """What does not depend on the weights drops out of every inner gradient: it belongs to the outer loss.

    The official code of Remember the Past adds its coefficient regulariser to the inner loss.
    """
    case = Case("mlp-w8")
    theta = case.theta
    for step, rows in enumerate(case.batches):
        loss = nn.functional.cross_entropy(case.net.logits(theta, case.images[rows]), case.targets[rows])
        loss = loss + 10 * case.images.square().sum()
        theta = theta - case.lr[step] * torch.autograd.grad(loss, theta, create_graph=True)[0]
    inner = torch.autograd.grad(case.outcome(theta), case.images)[0]
    plain = case.gradients(optimizer=SGD(), mode="recompute")[1]
    assert torch.allclose(inner, plain, atol=1e-10)

    theta = unroll(case.net, case.theta, case.images, case.targets,
                   batches=case.batches, lr=case.lr, optimizer=SGD())  # fmt: skip
    outer = torch.autograd.grad(case.outcome(theta) + 10 * case.images.square().sum(), case.images)[0]
    assert torch.allclose(outer, plain + 20 * case.images, atol=1e-10)


def test_first_order_of_plain_sgd_is_the_sum_of_the_steps_own_shares():
    """`- sum_t lr_t (d g_t / d x)^T p` with every `theta_t` a constant, as TESLA writes it."""
    case = Case()
    found = case.gradients(optimizer=SGD(), mode="first-order")
    p = torch.autograd.grad(case.outcome(last := found[0].requires_grad_()), last)[0]
    theta, total = case.theta.detach(), torch.zeros_like(case.images)
    for step, rows in enumerate(case.batches):
        leaf = theta.requires_grad_()
        loss = nn.functional.cross_entropy(case.net.logits(leaf, case.images[rows]), case.targets[rows])
        gradient = torch.autograd.grad(loss, leaf, create_graph=True)[0]
        total -= case.lr[step].detach() * torch.autograd.grad(gradient, case.images, p, retain_graph=True)[0]
        theta = (leaf - case.lr[step] * gradient).detach()
    assert torch.allclose(found[1], total, atol=1e-10)


def test_dead_units_give_finite_gradients_under_adam():
    """The root of a second moment of zero has no derivative: the plain formula gives NaN for a dead unit."""
    case = Case("mlp-w8")
    theta = case.theta.detach().clone()
    names = case.net.unflatten(theta)
    names["hidden.0.bias"].fill_(-100)
    case.theta = theta.requires_grad_()
    assert all(torch.isfinite(part).all() for part in case.gradients(optimizer=Adam(), mode="recompute"))


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS[1:])
def test_compiled_steps_give_the_same(optimizer):
    case, compiled = Case("mlp-w8-sigmoid"), CompiledSteps(compile=True)
    expected = case.gradients(optimizer=optimizer, augment=lambda rows, step: rows * (1 + step))
    for _ in range(2):
        found = case.gradients(optimizer=optimizer, augment=lambda rows, step: rows * (1 + step), compiled=compiled)
        assert close(found, expected)
    if compiler_works():
        assert [fast is not None for fast in compiled._found.values()] == [True, True]


@pytest.mark.slow
def test_compiled_steps_take_rows_as_they_were_cut_out():
    """A crop that all rows share is a view of padded images, whose strides follow from the shift."""
    shifts = [torch.tensor([shift]) for shift in ([0, 0], [1, -1], [2, 0], [-1, 1], [0, 2])]
    case, compiled = Case("mlp-w8-sigmoid"), CompiledSteps(compile=True)
    expected = case.gradients(optimizer=SGD(0.5), augment=lambda rows, step: crop(rows, shifts[step]))
    found = case.gradients(optimizer=SGD(0.5), augment=lambda rows, step: crop(rows, shifts[step]), compiled=compiled)
    assert close(found, expected)
    if compiler_works():
        assert [fast is not None for fast in compiled._found.values()] == [True, True]


def test_networks_are_left_as_they_were():
    module = network("convnet2-w4-bn", (1, 8, 8), 3, 0)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    net = FlatNetwork(module)
    theta, state = net.flatten(module), net.flatten(module.state_dict())
    assert torch.equal(theta, state)
    assert net.count == len(theta) == sum(p.numel() for p in module.parameters())
    assert {name: value.shape for name, value in net.unflatten(theta).items()} == {
        name: value.shape for name, value in module.named_parameters()
    }
    inputs = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    module.train()
    logits = net.logits(theta, inputs)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert torch.equal(net.logits(theta, inputs), logits), "running statistics play no part and are not written"
    assert torch.allclose(logits, module(inputs), atol=1e-6)


def test_dropout_is_off_and_frozen_weights_are_no_part():
    module = nn.Sequential(nn.Linear(2, 4), nn.Dropout(0.9), nn.Linear(4, 3))
    module[0].weight.requires_grad_(False)
    net = FlatNetwork(module)
    assert net.count == 4 + 12 + 3
    inputs = torch.ones(2, 2)
    theta = net.flatten(module)
    assert torch.equal(net.logits(theta, inputs), net.logits(theta, inputs))
    with pytest.raises(ConfigError, match="at least one trainable weight"):
        FlatNetwork(nn.ReLU())


def test_what_does_not_fit_is_refused():
    case = Case()
    with pytest.raises(MismatchError, match=r"blocks.0.weight of shape \(5, 1, 3, 3\)"):
        case.net.flatten(network("convnet2-w5", (1, 8, 8), 3, 0))
    with pytest.raises(MismatchError, match="is missing"):
        case.net.flatten(network("mlp", (1, 8, 8), 3, 0))
    with pytest.raises(ConfigError, match="0 to 5"):
        case.gradients(optimizer=SGD(), start=6)
    case.lr = torch.ones(4)
    with pytest.raises(ConfigError, match=r"\[\] or \[5\]"):
        case.gradients(optimizer=SGD())
