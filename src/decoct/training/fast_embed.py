"""Embeddings of many rows by one network after another, in the pieces and by the graphs of `fast.py`."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from decoct.networks.embedding import embed
from decoct.training.graphs import Compile, Function, Plan, compiled, measure, plan_for
from decoct.training.pieces import TOLERANCE, in_layout, pieces, supported, two_rows

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
        self._dtype, self._piece, self._planned = supported(dtype, module), piece, planned_rows
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


class _Carrier(nn.Module):
    """Makes `embed_fn(inner, x)` a forward pass, so that it can be called with other weights."""

    def __init__(self, inner: nn.Module, embed_fn: Embed) -> None:
        super().__init__()
        self.inner, self.embed_fn = inner, embed_fn

    def forward(self, x: Tensor) -> Tensor:
        return self.embed_fn(self.inner, x)
