"""Predictions and accuracy in pieces, without a float copy of a whole split."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from decoct.data.dataset import Dataset, Split
from decoct.errors import DataError
from decoct.networks.probe import blank_inputs, undisturbed
from decoct.training.fast_embed import FastEmbed
from decoct.training.graphs import Compile

BLOCK = 2048
"""Rows that are turned into network inputs at a time."""


def predict(
    module: nn.Module,
    inputs: Float[Tensor, "n ..."] | Dataset,
    split: Split | None = None,
    *,
    compile: Compile = "auto",
) -> Float[Tensor, "n classes"]:
    """Logits `[n, C]` on the CPU of network inputs, or of a split of a data set (its test split if none is named).

    Computed where the weights of the module are, without gradients and in eval mode; the module is left as it was. A
    split is read in blocks, so memory stays that of `BLOCK` inputs. Compiled where the split is large enough to pay.
    """
    device = blank_inputs(module, (), 0).device
    if isinstance(inputs, Tensor):
        blocks, n = (part.to(device) for part in inputs.split(BLOCK)), len(inputs)
    else:
        data, rows = inputs, inputs.test if split is None else split
        n = len(rows)
        blocks = (data.inputs(rows, slice(start, start + BLOCK), str(device)) for start in range(0, n, BLOCK))
    if n == 0:
        raise DataError(
            "predicting classes", received="no rows", expected="at least one row", remedy="choose another split"
        )
    with undisturbed(module):
        forward = FastEmbed(module, _logits, planned_rows=n, compile=compile)
        return torch.cat([forward(block).cpu() for block in blocks])


def accuracy(module: nn.Module, data: Dataset, split: Split) -> float:
    """Fraction in [0, 1] of the rows of `split` whose largest logit is that of their class.

    Rows with weights count by them. Raises `DataError` for an empty split.
    """
    right = (predict(module, data, split).argmax(1) == split.labels()).float()
    weights = split.weight()
    return float(right.mean() if weights is None else (weights * right).sum() / weights.sum())


def _logits(module: nn.Module, inputs: Tensor) -> Tensor:
    return module(inputs)
