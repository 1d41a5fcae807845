"""Pure functions of a training step, each compiled once for its shapes where the work that lies ahead pays for it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from torch import Tensor

from decoct.training.graphs import WORTH_FLOPS, Compile, Function, compiled, compiler_works
from decoct.training.pieces import TOLERANCE

DEARER = 3.0
"""A step with its second derivatives takes so many times longer to compile than a gradient does."""
SHAPES = 2
"""Shapes that one function is compiled for; more (a ragged last batch each time) run plainly."""


class CompiledSteps:
    """Keeps the compiled form of functions over the outer steps of a run.

    `planned_flops` is the work of the whole job; with compile="auto" it decides, on processors only, so that a resumed
    job gives the same bits. On ConvNet-3 w32 with 10 gray images a step and its way back take less than half.
    """

    def __init__(self, planned_flops: float = 0.0, compile: Compile = "auto") -> None:
        self._wanted = compile is True or (compile == "auto" and planned_flops >= DEARER * WORTH_FLOPS)
        self._anywhere = compile is True
        self._found: dict[tuple[Any, ...], Function | None] = {}

    def __call__(self, name: Hashable, function: Function, *arguments: Tensor) -> Any:
        """`function(*arguments)`; `name` tells functions apart that are not the same computation."""
        device = arguments[0].device.type
        if not self._wanted or not (self._anywhere or device == "cpu") or not compiler_works():
            return function(*arguments)
        # A compiled graph takes the layout of the first tensors for granted; cropped rows lie as they were cut out.
        arguments = tuple(argument.contiguous() for argument in arguments)
        key = (name, device, *((argument.shape, argument.dtype) for argument in arguments))
        if key not in self._found:
            same = sum(1 for other in self._found if other[0] == name)
            allowed = TOLERANCE[arguments[0].dtype]
            self._found[key] = compiled(function, arguments, allowed) if same < SHAPES else None
        fast = self._found[key]
        return function(*arguments) if fast is None else fast(*arguments)
