"""The networks of a private release, in which no row may see another: else one row moves every embedding."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from decoct.data.dataset import Dataset
from decoct.errors import ConfigError
from decoct.networks.build import network
from decoct.networks.embedding import embed
from decoct.streams import Streams, derive_seed
from decoct.training.graphs import mixes_rows

BLOCK = 512
"""Rows of a sample that are embedded at a time, so that what networks compute of them fits in memory."""
PROBED = 4
"""Made-up rows on which it is tried whether a network keeps rows apart."""


def release_network(data: Dataset, name: str, streams: Streams, number: int) -> nn.Module:
    """Network number r, a function of the seed alone, never of the rows.

    It is in evaluation mode, where batch normalisation takes the statistics that it was built with and not those of the
    rows beside: `clip` bounds what a row adds to a table only if it changes nobody else's embedding.
    """
    seed = derive_seed(streams.seed, "network", number)
    return network(name, data.spec.shape, data.spec.classes, seed).requires_grad_(False).eval()


def require_separate_rows(module: nn.Module, name: str, shape: tuple[int, ...]) -> None:
    """Raise `ConfigError` where the embedding of a row depends on the rows beside it, on earlier rows, or on chance.

    Batch normalisation without running statistics is known by its layers, anything else (a network of one's own) by its
    answer: the same made-up rows are embedded beside another last row.
    """
    if mixes_rows(module) or not _keeps_apart(module, shape):
        raise ConfigError(
            f"distilling privately with the network {name!r}",
            received="a network in which the embedding of a row depends on the rows beside it, or on chance",
            expected="embeddings that follow from their own row alone: one row then adds at most clip to a sum",
            remedy="take instance, layer or group normalisation, or batch normalisation that keeps running statistics, "
            "such as convnet3 or convnet3-bn",
        )


def _keeps_apart(module: nn.Module, shape: tuple[int, ...]) -> bool:
    rows = torch.randn(PROBED, *shape, generator=Streams(0)("rows apart"))
    others = torch.cat([rows[:-1], rows[-1:] + 1])
    with torch.no_grad():
        first, second = embed(module, rows)[:-1], embed(module, others)[:-1]
    return bool(torch.allclose(first, second, rtol=1e-4, atol=1e-5 * float(first.abs().max())))


def embedded_blocks(module: nn.Module, data: Dataset, rows: Int64[Tensor, " b"]) -> Iterator[Float[Tensor, "k d"]]:
    """The embeddings of these training rows, `BLOCK` at a time; of none, one block without rows."""
    for block in rows.split(BLOCK):
        inputs = data.inputs(data.train, block) if len(block) else torch.zeros(1, *data.spec.shape)
        with torch.no_grad():
            found = embed(module, inputs)[: len(block)]
        yield found
