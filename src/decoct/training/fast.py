"""Forward passes and gradients of a network in pieces that fit the cache, compiled where that pays.

The textbook way pushes a whole batch through every layer, so that each activation (52 MB for 100 images of
3x32x32 in the first block of ConvNet-3 w128) is fetched from memory by each of convolution, normalisation, ReLU and
pooling, and given back to the system between steps. Here a few rows go through the whole network, channels last, with
everything between two convolutions fused by the compiler. Sums over pieces are the sums over the batch, so the
results are the same up to rounding. Layers that join the rows of a batch (BatchNorm in training) are never cut.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import functional_call

from decoct.machine import native_bfloat16
from decoct.networks.embedding import embed
from decoct.training.config import Loss
from decoct.training.graphs import Compile, Function, Plan, compiled, compiler_works, measure, mixes_rows, plan_for
from decoct.training.losses import RowLosses, row_losses
from decoct.training.pieces import TOLERANCE, in_layout, pieces, two_rows

__all__ = ["FastEmbed", "FastGradient", "compiler_works"]

Embed = Callable[[nn.Module, Tensor], Tensor]


class FastEmbed:
    """Embeddings `[n, d]` of inputs `[n, ...]` by a network, or by others of the same structure.

    `planned_rows` is how many rows will be embedded in all: with compile="auto" it decides, together with the cost of
    a row, whether the network is compiled; 0 (unknown) never compiles. Give the number for the whole job, not for
    what is left of it, so that a resumed job computes the same bits. `how` says in words what was decided, at the
    first call. A device that only imitates bfloat16 computes in float32. `embed_fn(module, inputs)` may be any
    function whose rows depend on their own inputs alone.

    The module is never changed: running statistics stay as they are, and its mode (train or eval) is honoured.
    """

    def __init__(
        self,
        module: nn.Module,
        embed_fn: Embed = embed,
        *,
        dtype: torch.dtype = torch.float32,
        compile: Compile = "auto",
        piece: int | None = None,
        planned_rows: int = 0,
    ) -> None:
        self.module, self.how = module, "not run yet"
        self._carrier = _Carrier(module, embed_fn)
        self._dtype, self._piece, self._planned = _supported(dtype, module), piece, planned_rows
        self._compile: Compile = compile
        self._plan: Plan | None = None
        self._graphs: dict[bool, Function | None] = {}

    def __call__(self, inputs: Float[Tensor, "n ..."], module: nn.Module | None = None) -> Float[Tensor, "n d"]:
        """float32 embeddings without gradients; `module` lends its weights (same structure as the first one)."""
        with torch.no_grad():
            return self._run(inputs, module, differentiable=False)

    def differentiable(self, inputs: Float[Tensor, "n ..."], module: nn.Module | None = None) -> Float[Tensor, "n d"]:
        """The same with gradients for `inputs`, not for the weights."""
        if not inputs.requires_grad:
            return self(inputs, module)
        with torch.enable_grad():
            return self._run(inputs, module, differentiable=True)

    def _run(self, inputs: Tensor, module: nn.Module | None, differentiable: bool) -> Tensor:
        state = self._state(self.module if module is None else module)
        if len(inputs) == 0:
            return self._forward(state, inputs.to(self._dtype)).float()
        plan = self._plan or self._decide(state, inputs)
        function = self._function(plan, state, inputs, differentiable)
        size = plan.piece or len(inputs)
        found = []
        for rows, (x,) in pieces(size, inputs, pad=function != self._forward):
            found.append(function(state, in_layout(x.to(self._dtype)))[:rows].float())
        return torch.cat(found) if len(found) > 1 else found[0]

    def _decide(self, state: dict[str, Tensor], inputs: Tensor) -> Plan:
        cost = measure(lambda row: self._forward(state, row), two_rows(inputs).to(self._dtype))
        work = float(cost.flops) * self._planned
        # The size of a piece must not depend on which batch comes first, or a resumed job would round differently.
        device = inputs.device.type
        self._plan = plan_for(
            self.module, cost,
            rows=0, planned_flops=work, compile=self._compile, piece=self._piece, device=device,
        )  # fmt: skip
        self.how = f"{self._plan.how}, {str(self._dtype).removeprefix('torch.')}"
        return self._plan

    def _function(self, plan: Plan, state: dict[str, Tensor], inputs: Tensor, differentiable: bool) -> Function:
        if not plan.compile or plan.piece is None:
            return self._forward
        if differentiable not in self._graphs:
            _, (example,) = next(pieces(plan.piece, inputs.detach(), pad=True))
            self._graphs[differentiable] = compiled(
                self._forward, (state, in_layout(example.to(self._dtype))), TOLERANCE[self._dtype],
                differentiable=differentiable,
            )  # fmt: skip
            if self._graphs[differentiable] is None:
                self.how = "eager: the compiler failed; " + self.how.removeprefix("compiled, ")
        graph = self._graphs[differentiable]
        return self._forward if graph is None else graph

    def _forward(self, state: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(self._carrier, state, (x,))

    def _state(self, module: nn.Module) -> dict[str, Tensor]:
        """Weights in this object's precision and layout, and copies of the buffers, so that no forward pass changes
        the module."""
        weights = {f"inner.{name}": in_layout(self._cast(value.detach())) for name, value in module.named_parameters()}
        buffers = {f"inner.{name}": self._cast(value).clone() for name, value in module.named_buffers()}
        return weights | buffers

    def _cast(self, value: Tensor) -> Tensor:
        return value.to(self._dtype) if value.is_floating_point() else value


class FastGradient:
    """The mean loss of a batch and its gradient for the weights, which is left in `.grad` of the module's parameters.

    `sum_i w_i l(f(x_i), y_i) / n`, piece by piece: forward, loss and backward of a piece are one compiled graph where
    the work of the whole job, `planned_flops` (forward and backward) or `planned_rows`, makes compiling worth while.
    Works for every module of the structure of the first one; `rows` is the usual size of a batch, by default that of
    the first.
    bfloat16 runs forward and backward in bfloat16 and keeps weights, gradients and loss in float32; a device that only
    imitates bfloat16 computes in float32.
    """

    def __init__(
        self,
        module: nn.Module,
        loss: Loss | RowLosses = "ce",
        *,
        temperature: float = 1.0,
        dtype: torch.dtype = torch.float32,
        planned_flops: float = 0.0,
        planned_rows: int = 0,
        compile: Compile = "auto",
        piece: int | None = None,
        rows: int | None = None,
    ) -> None:
        self.module, self.how = module, "not run yet"
        self._row_losses = loss if callable(loss) else row_losses(loss, temperature)
        self._half = _supported(dtype, module) == torch.bfloat16 and not mixes_rows(module)
        self._tolerance = TOLERANCE[torch.bfloat16] if self._half else TOLERANCE[torch.float32]
        self._flops, self._planned = planned_flops, planned_rows
        self._piece, self._rows = piece, rows
        self._compile: Compile = compile
        self._plan: Plan | None = None
        self._graphs: dict[tuple, Function | None] = {}

    def __call__(
        self,
        module: nn.Module,
        inputs: Float[Tensor, "n ..."],
        targets: Shaped[Tensor, "n ..."],
        weights: Float[Tensor, " n"] | None = None,
    ) -> Float[Tensor, ""]:
        """The loss; `.grad` of every parameter is replaced. `targets` are int64 `[n]` or float `[n, C]`."""
        n = len(inputs)
        share = torch.full((n,), 1 / n, dtype=_loss_dtype(inputs), device=inputs.device)
        share = share if weights is None else share * weights
        plan = self._plan or self._decide(module, inputs)
        compile = plan.compile and (plan.piece is not None or n == self._rows)
        step = self._step(module, compile)
        total, gradient = torch.zeros((), dtype=share.dtype, device=share.device), []
        with torch.no_grad():
            for rows, (x, y, w) in pieces(plan.piece or n, inputs, targets, share, pad=compile):
                w[rows:] = 0  # the rows that fill up the last piece
                loss, found = step(x, y, w)
                total = total + loss
                if gradient:
                    for own, part in zip(gradient, found, strict=True):
                        own.add_(part)
                else:
                    gradient = list(found)
        for parameter, value in zip(module.parameters(), gradient, strict=True):
            # Optimisers may assume that a gradient lies in memory as its parameter does.
            same = value.stride() == parameter.stride()
            parameter.grad = value if same else torch.empty_like(parameter).copy_(value)
        return total

    def _step(self, module: nn.Module, compile: bool) -> Function:
        """(x, y, w) -> (loss, gradients) of one piece for the weights of `module`."""
        if not compile and not self._half and all(parameter.requires_grad for parameter in module.parameters()):
            return lambda x, y, w: self._plain(module, x, y, w)
        parameters = {name: in_layout(value.detach()) for name, value in module.named_parameters()}
        buffers = dict(module.named_buffers())
        if not compile:
            return lambda x, y, w: self._loss_and_gradient(parameters, buffers, x, y, w)

        def fast(x: Tensor, y: Tensor, w: Tensor) -> tuple[Tensor, list[Tensor]]:
            arguments = (parameters, buffers, in_layout(x), y, w)
            return self._graph(arguments)(*arguments)

        return fast

    def prepare(self, module: nn.Module, inputs: Float[Tensor, "n ..."]) -> nn.Module:
        """Lay the weights of `module` out as the compiled graph wants them, which saves copies at every step.

        Decides about compiling, from inputs of the shape that will come; changes no value.
        """
        plan = self._plan or self._decide(module, inputs)
        return module.to(memory_format=torch.channels_last) if plan.compile else module  # pyright: ignore

    def _decide(self, module: nn.Module, inputs: Tensor) -> Plan:
        state = {name: value.detach().clone() for name, value in module.state_dict().items()}
        cost = measure(lambda rows: functional_call(self.module, state, (rows,)), two_rows(inputs))
        self._rows = self._rows or len(inputs)
        device = inputs.device.type
        work = self._flops or 3.0 * cost.flops * self._planned
        self._plan = plan_for(
            self.module, cost,
            rows=self._rows, planned_flops=work, compile=self._compile, piece=self._piece, device=device,
        )  # fmt: skip
        self.how = f"{self._plan.how}, {'bfloat16' if self._half else str(inputs.dtype).removeprefix('torch.')}"
        return self._plan

    def _graph(self, arguments: tuple) -> Function:
        """The compiled function for tensors of these shapes, or the plain one where it cannot be compiled."""
        *_, x, y, _ = arguments
        key = (x.shape, y.shape, y.dtype)
        if key not in self._graphs:
            self._graphs[key] = compiled(self._loss_and_gradient, arguments, self._tolerance)
            if self._graphs[key] is None:
                self.how = "eager: the compiler failed; " + self.how.removeprefix("compiled, ")
        graph = self._graphs[key]
        return self._loss_and_gradient if graph is None else graph

    def _plain(self, module: nn.Module, x: Tensor, y: Tensor, w: Tensor) -> tuple[Tensor, list[Tensor]]:
        with torch.enable_grad():
            loss = (self._row_losses(module(x), y) * w).sum()
            found = torch.autograd.grad(loss, list(module.parameters()), allow_unused=True, materialize_grads=True)
        return loss.detach(), list(found)

    def _loss_and_gradient(
        self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor, w: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}
        with torch.enable_grad():
            weights = {name: leaf.bfloat16() for name, leaf in leaves.items()} if self._half else leaves
            logits = functional_call(self.module, weights | buffers, (x.bfloat16() if self._half else x,))
            losses = self._row_losses(logits.float() if self._half else logits, y)
            loss = (losses * w).sum()
            gradient = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True, materialize_grads=True)
        return loss.detach(), list(gradient)


class _Carrier(nn.Module):
    """Makes `embed_fn(inner, x)` a forward pass, so that it can be called with other weights."""

    def __init__(self, inner: nn.Module, embed_fn: Embed) -> None:
        super().__init__()
        self.inner, self.embed_fn = inner, embed_fn

    def forward(self, x: Tensor) -> Tensor:
        return self.embed_fn(self.inner, x)


def _supported(dtype: torch.dtype, module: nn.Module) -> torch.dtype:
    """float32 in place of bfloat16 where the device of `module` would only imitate it: more exact, and much faster."""
    weight = next(module.parameters(), None)
    device = "cpu" if weight is None else weight.device.type
    return torch.float32 if dtype == torch.bfloat16 and not native_bfloat16(device) else dtype


def _loss_dtype(inputs: Tensor) -> torch.dtype:
    return torch.float64 if inputs.dtype == torch.float64 else torch.float32
