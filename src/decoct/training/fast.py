"""Gradients of a network in pieces that fit the cache, compiled where that pays.

The textbook way pushes a whole batch through every layer, so that each activation (52 MB for 100 images of
3x32x32 in the first block of ConvNet-3 w128) is fetched from memory by each of convolution, normalisation, ReLU and
pooling, and given back to the system between steps. Here a few rows go through the whole network, channels last, with
everything between two convolutions fused by the compiler. Sums over pieces are the sums over the batch, so the
results are the same up to rounding. Layers that join the rows of a batch (BatchNorm in training) are never cut.
"""

from __future__ import annotations

from functools import partial

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import functional_call

from decoct.training.config import Loss
from decoct.training.graphs import Compile, Function, Plan, compiled, measure, mixes_rows, plan_for
from decoct.training.losses import RowLosses, row_losses
from decoct.training.optimise import trained
from decoct.training.pieces import TOLERANCE, in_layout, pieces, supported, two_rows

Found = tuple[Tensor, list[Tensor], list[Tensor]]
"""Loss of a piece, its gradients, and its outputs in a list, which is empty where they are not kept."""


class FastGradient:
    """The mean loss of a batch and its gradient for the weights, which is left in `.grad` of those that require one.

    `sum_i w_i l(f(x_i), y_i) / n`, piece by piece: forward, loss and backward of a piece are one compiled graph where
    the work of the whole job, `planned_flops` (forward and backward) or `planned_rows`, makes compiling worth while.
    Works for every module of the structure of the first one; `rows` is the usual size of a batch, by default that of
    the first.
    bfloat16 runs forward and backward in bfloat16 and keeps weights, gradients and loss in float32; a device that only
    imitates bfloat16 computes in float32. With `keep_outputs` what the network said of the last batch is in `outputs`.
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
        keep_outputs: bool = False,
    ) -> None:
        self.module, self.how = module, "not run yet"
        self.outputs: Tensor | None = None
        self._keep = keep_outputs
        self._row_losses = loss if callable(loss) else row_losses(loss, temperature)
        self._half = supported(dtype, module) == torch.bfloat16 and not mixes_rows(module)
        self._tolerance = TOLERANCE[torch.bfloat16] if self._half else TOLERANCE[torch.float32]
        self._flops, self._planned = planned_flops, planned_rows
        self._piece, self._rows = piece, rows
        self._compile: Compile = compile
        self._plan: Plan | None = None
        self._graphs: dict[tuple, Function | None] = {}
        self._count = len(list(module.parameters()))
        self._grouped = any(isinstance(part, nn.GroupNorm) for part in module.modules())

    def __call__(
        self,
        module: nn.Module,
        inputs: Float[Tensor, "n ..."],
        targets: Shaped[Tensor, "n ..."],
        weights: Float[Tensor, " n"] | None = None,
    ) -> Float[Tensor, ""]:
        """The loss; `.grad` of every weight that requires gradients is replaced, that of frozen ones left alone.

        `targets` are int64 `[n]` or float `[n, C]`. Raises `ConfigError` where all weights are frozen.
        """
        n = len(inputs)
        share = torch.full((n,), 1 / n, dtype=_loss_dtype(inputs), device=inputs.device)
        share = share if weights is None else share * weights
        plan = self._plan or self._decide(module, inputs)
        compile = plan.compile and (plan.piece is not None or n == self._rows)
        step = self._step(module, compile)
        total, gradient = torch.zeros((), dtype=share.dtype, device=share.device), []
        said: list[Tensor] = []
        with torch.no_grad():
            for rows, (x, y, w) in pieces(plan.piece or n, inputs, targets, share, pad=compile):
                w[rows:] = 0  # the rows that fill up the last piece
                loss, found, outputs = step(x, y, w)
                total = total + loss
                said.extend(part[:rows].float() for part in outputs)
                if gradient:
                    for own, part in zip(gradient, found, strict=True):
                        own.add_(part)
                else:
                    gradient = list(found)
        for parameter, value in zip(trained(module).values(), gradient, strict=True):
            # Optimisers may assume that a gradient lies in memory as its parameter does.
            same = value.stride() == parameter.stride()
            parameter.grad = value if same else torch.empty_like(parameter).copy_(value)
        self.outputs = torch.cat(said) if said else None
        return total

    def _step(self, module: nn.Module, compile: bool) -> Function:
        """(x, y, w) -> (loss, gradients, outputs in a list, or none) of one piece for the weights of `module`."""
        moving = trained(module)
        if not compile and not self._half:
            return lambda x, y, w: self._plain(module, list(moving.values()), x, y, w)
        parameters = {name: in_layout(value.detach()) for name, value in moving.items()}
        frozen = {name: in_layout(value.detach()) for name, value in module.named_parameters() if name not in moving}
        if self._half:
            frozen = {name: value.bfloat16() for name, value in frozen.items()}
        buffers = {name: self._cast(value) for name, value in module.named_buffers()} | frozen
        plain = partial(self._loss_and_gradient, module)
        if not compile:
            return lambda x, y, w: plain(parameters, buffers, x, y, w)

        def fast(x: Tensor, y: Tensor, w: Tensor) -> Found:
            arguments = (parameters, buffers, in_layout(x), y, w)
            return self._graph(plain, arguments)(*arguments)

        return fast

    def _cast(self, value: Tensor) -> Tensor:
        return value.bfloat16() if self._half and value.is_floating_point() else value

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

    def _graph(self, plain: Function, arguments: tuple) -> Function:
        """The compiled function for tensors of these shapes, or the plain one where it cannot be compiled."""
        parameters, _, x, y, _ = arguments
        key = (x.shape, y.shape, y.dtype, *parameters)
        if key not in self._graphs:
            self._graphs[key] = compiled(plain, arguments, self._tolerance, apart=int(self._keep))
            if self._graphs[key] is None:
                self.how = "eager: the compiler failed; " + self.how.removeprefix("compiled, ")
        graph = self._graphs[key]
        return plain if graph is None else graph

    def _plain(self, module: nn.Module, weights: list[nn.Parameter], x: Tensor, y: Tensor, w: Tensor) -> Found:
        with torch.enable_grad():
            outputs = module(x)
            loss = (self._row_losses(outputs, y) * w).sum()
            found = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
        return loss.detach(), list(found), self._kept(outputs)

    def _loss_and_gradient(
        self, module: nn.Module, parameters: dict[str, Tensor], buffers: dict[str, Tensor],
        x: Tensor, y: Tensor, w: Tensor,
    ) -> Found:  # fmt: skip
        leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}
        wanted = list(leaves.values())
        if self._grouped and len(leaves) < self._count:
            # Behind frozen weights group norm would be asked for no gradient of its input, and torch's backward pass of
            # it then crashes where channels are last in memory.
            wanted.append(x := x.detach().requires_grad_())
        with torch.enable_grad():
            weights = {name: leaf.bfloat16() for name, leaf in leaves.items()} if self._half else leaves
            logits = functional_call(module, weights | buffers, (x.bfloat16() if self._half else x,))
            losses = self._row_losses(logits.float() if self._half else logits, y)
            loss = (losses * w).sum()
            gradient = torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)
        return loss.detach(), list(gradient[: len(leaves)]), self._kept(logits)

    def _kept(self, outputs: Tensor) -> list[Tensor]:
        return [outputs.detach()] if self._keep else []


def _loss_dtype(inputs: Tensor) -> torch.dtype:
    return torch.float64 if inputs.dtype == torch.float64 else torch.float32
