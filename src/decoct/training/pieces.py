"""Batches in pieces that fit a cache, and the layout and rounding that compiled graphs have."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from decoct.machine import native_bfloat16

TOLERANCE = {torch.float32: 1e-2, torch.bfloat16: 0.2, torch.float64: 1e-6}
"""Largest relative difference between a compiled graph and the module that is taken for rounding (which moves values
across the kink of ReLU, and is larger for gradients than for outputs)."""


def in_layout(value: Tensor) -> Tensor:
    """Images and convolution weights with channels last in memory; anything else as it is."""
    return value.contiguous(memory_format=torch.channels_last) if value.ndim == 4 else value


def pieces(size: int, *tensors: Tensor, pad: bool) -> Iterator[tuple[int, list[Tensor]]]:
    """Cut tensors `[n, ...]` into pieces of `size` rows: how many rows are real, and the pieces.

    With `pad` the last piece is filled up with its last row, because a compiled graph has one shape.
    """
    n = len(tensors[0])
    for start in range(0, n, size):
        rows = min(size, n - start)
        cut = [tensor[start : start + rows] for tensor in tensors]
        if pad and rows < size:
            cut = [torch.cat([part, part[-1:].expand(size - rows, *part.shape[1:])]) for part in cut]
        yield rows, cut


def two_rows(inputs: Tensor) -> Tensor:
    """Two rows like those of `inputs`: BatchNorm in training needs more than one."""
    return inputs.detach()[:1].expand(2, *inputs.shape[1:]).contiguous()


def supported(dtype: torch.dtype, module: nn.Module) -> torch.dtype:
    """float32 in place of bfloat16 where the device of `module` would only imitate it: more exact, and much faster."""
    weight = next(module.parameters(), None)
    device = "cpu" if weight is None else weight.device.type
    return torch.float32 if dtype == torch.bfloat16 and not native_bfloat16(device) else dtype
