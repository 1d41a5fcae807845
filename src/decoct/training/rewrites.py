"""Tensor operations that the compiler for processors lowers poorly, in a form that it lowers well.

A replacement takes the arguments of the operation, and returns NotImplemented where it does not apply.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def rewrites() -> dict[Any, Callable[..., Any]]:
    """Operation -> its replacement, for recording a graph."""
    aten = torch.ops.aten
    return {
        aten.avg_pool2d.default: _avg_pool2d,
        aten.avg_pool2d_backward.default: _avg_pool2d_backward,
        aten.convolution.default: _convolution,
        aten.convolution_backward.default: _convolution_backward,
        aten.native_group_norm_backward.default: _group_norm_backward,
    }


def _avg_pool2d(
    x: Tensor,
    kernel: list[int],
    stride: list[int] | tuple[()] = (),
    padding: list[int] | tuple[int, int] = (0, 0),
    ceil: bool = False,
    pad: bool = True,
    div: Any = None,
) -> Any:
    """Windows that do not overlap are an axis of their own: a mean over it, which also gives a simple gradient."""
    if not _tiles(x, kernel, stride) or any(padding) or ceil or div:
        return NotImplemented
    n, c, h, w = x.shape
    kh, kw = (list(kernel) * 2)[:2]
    return x.reshape(n, c, h // kh, kh, w // kw, kw).mean((3, 5))


def _avg_pool2d_backward(
    grad: Tensor, x: Tensor, kernel: list[int], stride: list[int], padding: list[int], ceil: bool, pad: bool, div: Any
) -> Any:
    """Without overlap every input value gets its share of one output value: no bounds to test, no indices to divide.

    For 2x2 windows the same bits as torch's own; a step of ConvNet-3 w128 takes about a tenth less.
    """
    if not _tiles(x, kernel, stride) or any(padding) or ceil or div:
        return NotImplemented
    n, c, h, w = x.shape
    kh, kw = (list(kernel) * 2)[:2]
    share = grad / (kh * kw)
    return share[:, :, :, None, :, None].expand(n, c, h // kh, kh, w // kw, kw).reshape(n, c, h, w)


_PADDED = 4
"""Input channels that gray images get: one channel alone is convolved five times slower than four."""


def _convolution(x: Tensor, weight: Tensor, bias: Tensor | None, *settings: Any) -> Any:
    """A gray image convolved as one of four channels, three of them zero: the same sums, in a faster kernel."""
    if not _gray(x, weight):
        return NotImplemented
    return torch.ops.aten.convolution.default(_more_channels(x), _more_channels(weight), bias, *settings)


def _convolution_backward(grad: Tensor, x: Tensor, weight: Tensor, biases: Any, *settings: Any) -> Any:
    """The gradient of a bias as a sum of its own, which costs a fifth of what the fused one does; gray images as in
    the forward pass.
    """
    *how, mask = settings
    gray = _gray(x, weight)
    if not gray and not mask[2]:
        return NotImplemented
    own = torch.ops.aten.convolution_backward.default
    bias = grad.sum((0, 2, 3)) if mask[2] else None
    if gray:
        x, weight = _more_channels(x), _more_channels(weight)
    images, kernel, _ = own(grad, x, weight, None, *how, [mask[0], mask[1], False])
    if gray:
        images, kernel = (None if part is None else part[:, :1] for part in (images, kernel))
    return images, kernel, bias


def _group_norm_backward(grad: Tensor, x: Tensor, *settings: Any) -> Any:
    """The gradient of the input even where nobody wants it, which the compiler leaves out again: without it the
    kernel crashes where channels are last in memory, behind frozen weights.
    """
    *how, mask = settings
    if mask[0]:
        return NotImplemented
    own = torch.ops.aten.native_group_norm_backward.default
    return (None, *own(grad, x, *how, [True, *mask[1:]])[1:])


def _gray(x: Tensor, weight: Tensor) -> bool:
    return x.ndim == 4 and x.shape[1] == 1 and weight.shape[1] == 1 and x.device.type == "cpu"


def _more_channels(values: Tensor) -> Tensor:
    wide = torch.nn.functional.pad(values, (0, 0, 0, 0, 0, _PADDED - 1))
    return wide.contiguous(memory_format=torch.channels_last)


def _tiles(x: Tensor, kernel: list[int], stride: list[int] | tuple[()]) -> bool:
    """Whether windows of this size and stride cover `x` `[n, c, h, w]` exactly, each value once."""
    kh, kw = (list(kernel) * 2)[:2]
    strides = (list(stride) * 2)[:2] if stride else [kh, kw]
    return x.ndim == 4 and strides == [kh, kw] and x.shape[2] % kh == 0 and x.shape[3] % kw == 0
