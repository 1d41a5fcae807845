"""Compiling pure tensor functions, and deciding by arithmetic alone whether that is worth its time.

A function is recorded as one graph of tensor operations (forward, loss and backward together), two poor spots of the
compiler on processors are rewritten, and the graph is compiled. The compiled graph is compared with the plain
function on its first inputs; a function that cannot be recorded, compiled or reproduced runs plainly, and `how` says
so. Nothing is decided by a stopwatch, so that the same work gives the same bits again.
"""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode

from decoct.networks.dropout import draws_noise_itself
from decoct.streams import seeded
from decoct.training.rewrites import rewrites

_log = logging.getLogger(__name__)

Compile = bool | Literal["auto"]
Function = Callable[..., Any]

WORTH_FLOPS = 5e11
"""Planned floating-point operations above which compiling (2 to 10 s on two cores) pays for itself."""
PIECE_BYTES = 6 << 20
"""Bytes of the largest activation of one piece: what two to four of them leave in a processor's cache."""
LARGEST_PIECE = 4096


@dataclass(frozen=True)
class Plan:
    """How a network is to be run: compiled or not, and in which pieces."""

    compile: bool
    piece: int | None
    """Rows of a piece; None where the rows of a batch must stay together."""
    how: str


@dataclass(frozen=True)
class Cost:
    """Of one row: floating-point operations of a forward pass and bytes of its largest activation."""

    flops: int
    activation: int


def measure(forward: Callable[[Tensor], Tensor], rows: Tensor) -> Cost:
    """Count what a row costs in one forward pass of `rows` `[n, ...]`."""
    watch = _Largest(len(rows))
    # Noise of a network in training is not taken from the stream of its caller, who may have planned before.
    with torch.no_grad(), seeded(0), FlopCounterMode(display=False) as counter, watch:
        forward(rows)
    return Cost(int(counter.get_total_flops()) // len(rows), watch.bytes // len(rows))


class _Largest(torch.utils._python_dispatch.TorchDispatchMode):  # pyright: ignore[reportAttributeAccessIssue]
    """Remembers the bytes of the largest result that has one entry a row; weights are not activations."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows, self.bytes = rows, 8 * rows

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if isinstance(found, Tensor) and found.ndim > 0 and len(found) == self.rows:
            self.bytes = max(self.bytes, found.numel() * found.element_size())
        return found


def mixes_rows(module: nn.Module) -> bool:
    """Whether a row's output depends on the other rows: a BatchNorm layer that uses the statistics of its batch."""
    return any(
        isinstance(part, nn.modules.batchnorm._BatchNorm) and (part.training or part.running_mean is None)
        for part in module.modules()
    )


def draws_noise(module: nn.Module) -> bool:
    """Whether the module draws random numbers as it runs, in the mode that it is in."""
    return any(draws_noise_itself(part) and part.training for part in module.modules())


def best_piece(rows: int, cost: Cost, device: str = "cpu") -> int:
    """Rows of a piece that fits a cache and wastes little on the last, padded piece of `rows`.

    Among 0.6 to 1.4 times the fitting size the one that leaves the fewest rows to pad, then the nearest, then the
    larger; the fitting size itself where `rows` is 0, which means any number.
    """
    if device != "cpu":
        return rows or LARGEST_PIECE
    fitting = max(1, min(LARGEST_PIECE, PIECE_BYTES // cost.activation))
    if rows == 0:
        return fitting
    if rows <= fitting * 1.4:
        return max(1, rows)
    sizes = range(int(1.4 * fitting), max(1, int(0.6 * fitting)) - 1, -1)
    return min(sizes, key=lambda size: (-(-rows // size) * size, abs(size - fitting)))


def plan_for(
    module: nn.Module, cost: Cost, *, rows: int, planned_flops: float, compile: Compile, piece: int | None, device: str
) -> Plan:
    """Decide from arithmetic how `module` runs on batches of `rows` rows."""
    noisy, whole = draws_noise(module), mixes_rows(module)
    size = None if whole else piece or best_piece(rows, cost, device)
    rows_in = "whole batches, because BatchNorm joins their rows" if whole else f"pieces of {size} rows"
    wanted = compile is True or (compile == "auto" and device == "cpu" and planned_flops >= WORTH_FLOPS)
    if not wanted:
        return Plan(False, size, f"eager, {rows_in}")
    if noisy:
        return Plan(False, size, f"eager, {rows_in}: dropout draws its noise from the seeded generator")
    if not compiler_works():
        return Plan(False, size, f"eager, {rows_in}: no working compiler on this machine")
    return Plan(True, size, f"compiled, {rows_in}")


@cache
def compiler_works() -> bool:
    """Whether torch can compile here: tried once on a tiny function (a few seconds)."""
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        return False
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            doubled = torch.compile(lambda x: (x * 2).relu().sum(), dynamic=False)(torch.ones(64))
        return doubled.item() == 128
    except Exception as error:  # the compiler's errors have no common type
        _log.info("torch cannot compile here (%s: %s); running eagerly", type(error).__name__, error)
        return False


def compiled(
    function: Function, arguments: tuple[Any, ...], tolerance: float, *, differentiable: bool = False, apart: int = 0
) -> Function | None:
    """`function` compiled for tensors like `arguments` (any nesting), or None where that fails or differs.

    The result is compared with the plain function: the difference of every output, relative to its size, must stay
    within `tolerance`. In-place changes of arguments are kept by the compiled function; trials run on copies.
    With `differentiable` the result has gradients for the last argument, which are compared too. The last `apart` of
    the outputs are of another kind than those before, and compared by themselves.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    def plain(*given: Any) -> Any:  # the recorder counts the arguments of a bound method wrongly
        return function(*given)

    def copies() -> Any:
        return pytree.tree_map_only(Tensor, lambda t: t.clone(), arguments)

    def trial(tried: Function) -> list[Any]:
        if not differentiable:
            return pytree.tree_leaves(tried(*copies()))
        *first, last = copies()
        last.requires_grad_()
        with torch.enable_grad():
            out = tried(*first, last[:])
            out.float().square().sum().backward()
        return [out.detach(), last.grad]

    try:
        with warnings.catch_warnings(), torch.no_grad(), seeded(0):
            warnings.simplefilter("ignore")
            graph = make_fx(plain, decomposition_table=rewrites())(*copies())
            # One graph serves one set of shapes, which the caller looks up; checking them again at every call costs
            # as much as a layer.
            unchecked: dict[str, Any] = {"guard_filter_fn": torch.compiler.skip_all_guards_unsafe}
            fast = torch.compile(graph, dynamic=False, options=unchecked)
            found, expected = trial(fast), trial(function)
            alike = len(expected) - apart
            close = _close(found[:alike], expected[:alike], tolerance)
            close = close and _close(found[alike:], expected[alike:], tolerance)
    except Exception as error:  # recording, lowering and the C++ compiler fail in many ways
        _log.info("compiling failed (%s: %s); running eagerly", type(error).__name__, error)
        return None
    if not close:
        _log.info("the compiled graph differs from the module; running eagerly")
        return None
    return fast


def _close(found: list[Any], expected: list[Any], tolerance: float) -> bool:
    # Some gradients are rounding noise about zero (a bias before a normalisation): the largest output sets a floor.
    floor = 0.01 * max((float(b.double().norm()) for b in expected), default=0.0) + 1e-6
    return all(
        bool((a.double() - b.double()).norm() <= tolerance * (b.double().norm() + floor))
        for a, b in zip(found, expected, strict=True)
    )
