"""The gradient of every class for the weights of one network: of real rows, and of synthetic rows differentiably.

A class is a batch of its own. On a processor classes go one after another in pieces that fit the cache, unless they
have so few rows that the time is all overhead: then one vectorised pass takes them together. Both give the same
values up to rounding, because the network runs in evaluation mode, where no row sees another.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from decoct.errors import ConfigError
from decoct.training.fast import FastGradient

Metric = Literal["cosine", "mse", "l1"]
TOGETHER_ROWS = {"cpu": 4}
"""Rows a class up to which all classes go together; above, convolutions with a gradient for each class are slower.

ConvNet-3 w32 on one core: 1 row a class 17 ms together against 32 ms, 4 rows 65 against 66, 64 rows 2.0 s against
0.7 s, for the synthetic side of 10 classes."""
TOGETHER_ELSEWHERE = 32
"""The same on other devices, where starting a small kernel costs more than running it; not tuned."""
_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase)


def matched_weights(module: nn.Module, linear: bool = True) -> list[str]:
    """Names of the parameters whose gradients are compared: those with rows, neither biases nor normalisation.

    Frozen ones have no gradient to compare. `linear=False` leaves linear layers out, unless nothing else is there.
    Raises `ConfigError` where nothing is left.
    """
    norms = {id(p) for part in module.modules() if isinstance(part, _NORMS) for p in part.parameters(recurse=False)}
    moving = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    named = [(name, p) for name, p in moving if p.ndim >= 2 and id(p) not in norms]
    if not named:
        raise ConfigError(
            f"matching the gradients of {type(module).__name__}",
            received="no weight with more than one axis that requires gradients",
            expected="a network with linear or convolutional layers",
            remedy="choose another network, or another recipe such as 'dm'",
        )
    deep = [name for name, p in named if p.ndim > 2]
    return deep if deep and not linear else [name for name, _ in named]


def gradient_distance(
    real: Sequence[Float[Tensor, "_ _ ..."]], synthetic: Sequence[Float[Tensor, "_ _ ..."]], metric: Metric
) -> Float[Tensor, " k"]:
    """Distances of k pairs of gradients, summed over layers, each layer `[k, out, ...]`.

    cosine: the sum over rows `out` of `1 - g_r . g_s / (|g_r| |g_s| + 1e-6)`, mse: of squared, l1: of absolute
    differences. A row that is zero on either side has the cosine 0, with no gradient where both are.
    """
    total = real[0].new_zeros(len(real[0]))
    for wanted, own in zip(real, synthetic, strict=True):
        a, b = wanted.flatten(2) if wanted.ndim > 3 else wanted, own.flatten(2) if own.ndim > 3 else own
        if metric == "cosine":
            sizes = torch.linalg.vector_norm(a, dim=2) * torch.linalg.vector_norm(b, dim=2)
            total = total + (1 - (a * b).sum(2) / (sizes + 1e-6)).sum(1)
        else:
            gap = (a - b).flatten(1)
            total = total + (gap.square() if metric == "mse" else gap.abs()).sum(1)
    return total


class ClassGradients:
    """Class gradients of `module`, whose weights the caller changes as it likes; the mode is evaluation.

    `fast` computes the gradient of one large batch; `together` forces (or forbids) one pass for all classes.
    """

    def __init__(
        self, module: nn.Module, metric: Metric, fast: FastGradient, linear: bool = True, together: bool | None = None
    ) -> None:
        self.module, self._fast = module.eval(), fast
        self._metric: Metric = metric
        self._names = matched_weights(module, linear)
        self._together, self._vectorises = together, together

    def real(
        self, images: Float[Tensor, "n ..."], targets: Float[Tensor, "n classes"], groups: Sequence[Int[Tensor, " _"]]
    ) -> list[Float[Tensor, "_ _ ..."]]:
        """The gradient of the mean cross-entropy of every group of rows, by layer, without a graph."""
        if self._at_once(groups, images, targets):
            index = torch.stack(list(groups))
            return [g.detach() for g in self._stacked(images[index], targets[index])]
        found: list[list[Tensor]] = []
        for rows in groups:
            self._fast(self.module, images[rows], targets[rows])
            found.append([self._gradient_of(name).clone() for name in self._names])
        return [torch.stack(layers) for layers in zip(*found, strict=True)]

    def distances(
        self, real: Sequence[Float[Tensor, "_ _ ..."]], images: Float[Tensor, "m ..."],
        targets: Float[Tensor, "m classes"], groups: Sequence[Int[Tensor, " _"]],
    ) -> tuple[Float[Tensor, " k"], Float[Tensor, "m ..."], Float[Tensor, "m classes"]]:  # fmt: skip
        """Distance of each group's gradient to its row of `real`, and the gradient of their sum for images and targets.

        Without graphs: each group's own is freed before the next begins. Groups without rows have the distance 0,
        targets that need no gradient get zeros.
        """
        learned = targets.requires_grad
        images, targets = images.detach(), targets.detach()
        values = images.new_zeros(len(groups))
        image_gradient, target_gradient = torch.zeros_like(images), torch.zeros_like(targets)
        for places, index in self._batches(groups, images, targets):
            x, q = images[index].requires_grad_(), targets[index].requires_grad_(learned)
            own = self._stacked(x, q) if len(places) > 1 else self._one(x[0], q[0])
            found = gradient_distance([layer[places] for layer in real], own, self._metric)
            values[places] = found.detach()
            moved = torch.autograd.grad(found.sum(), [x, q] if learned else [x])
            image_gradient[index] = moved[0]
            if learned:
                target_gradient[index] = moved[1]
        return values, image_gradient, target_gradient

    def _batches(
        self, groups: Sequence[Tensor], images: Tensor, targets: Tensor
    ) -> list[tuple[list[int], Int[Tensor, "k b"]]]:
        """Places in `real` and rows `[k, b]` of what goes through the network together."""
        if self._at_once(groups, images, targets):
            return [(list(range(len(groups))), torch.stack(list(groups)))]
        return [([place], rows[None]) for place, rows in enumerate(groups) if len(rows)]

    def _at_once(self, groups: Sequence[Tensor], images: Tensor, targets: Tensor) -> bool:
        sizes = {len(rows) for rows in groups}
        if len(groups) < 2 or len(sizes) != 1 or 0 in sizes or self._together is False:
            return False
        limit = TOGETHER_ROWS.get(images.device.type, TOGETHER_ELSEWHERE)
        if self._together is None and max(sizes) > limit:
            return False
        if self._vectorises is None:
            self._vectorises = self._tried(images, targets)
        return self._vectorises

    def _tried(self, images: Tensor, targets: Tensor) -> bool:
        """Whether torch can vectorise this network, tried on blank rows."""
        x = torch.zeros_like(images[:1]).expand(2, 1, *images.shape[1:])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # a warning here says that the pass would be a slow loop
                self._stacked(x, torch.full_like(targets[:1], 1 / targets.shape[1]).expand(2, 1, -1))
        except Exception:  # networks fail to vectorise in many ways; one class at a time always works
            return False
        return True

    def _one(self, x: Tensor, q: Tensor) -> list[Tensor]:
        parameters = dict(self.module.named_parameters())
        loss = F.cross_entropy(self.module(x), q)
        found = torch.autograd.grad(
            loss, [parameters[name] for name in self._names],
            create_graph=True, allow_unused=True, materialize_grads=True,
        )  # fmt: skip
        return [gradient[None] for gradient in found]

    def _stacked(self, x: Float[Tensor, "k b ..."], q: Float[Tensor, "k b classes"]) -> list[Tensor]:
        weights = {name: value.detach() for name, value in self.module.named_parameters()}
        fixed = {name: weights.pop(name) for name in list(weights) if name not in self._names}

        def loss(own: dict[str, Tensor], images: Tensor, targets: Tensor) -> Tensor:
            return F.cross_entropy(functional_call(self.module, {**fixed, **own}, (images,)), targets)

        found = vmap(grad(loss), (None, 0, 0))(weights, x, q)
        return [found[name] for name in self._names]

    def _gradient_of(self, name: str) -> Tensor:
        gradient = self.module.get_parameter(name).grad
        assert gradient is not None
        return gradient


def rows_of_classes(classes: Int[Tensor, " n"], wanted: Int[Tensor, " k"]) -> list[Int[Tensor, " _"]]:
    """The rows of each wanted class."""
    return [torch.nonzero(classes == label).flatten() for label in wanted.tolist()]


def with_gradient(
    value: Float[Tensor, ""], of: Float[Tensor, "n ..."], gradient: Float[Tensor, "n ..."]
) -> Float[Tensor, ""]:
    """The same value, whose gradient for `of` is `gradient`, known already."""
    return value + ((of - of.detach()) * gradient).sum()


def settle_statistics(module: nn.Module, inputs: Float[Tensor, "n ..."]) -> None:
    """Give BatchNorm layers the statistics of `inputs` as their running ones; other modules stay as they are."""
    layers = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    layers = [part for part in layers if part.running_mean is not None]
    if not layers:
        return
    momenta = [part.momentum for part in layers]
    try:
        for part in layers:
            part.train().momentum = 1.0
        with torch.no_grad():
            module(inputs)
    finally:
        for part, momentum in zip(layers, momenta, strict=True):
            part.eval().momentum = momentum
