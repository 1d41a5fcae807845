"""From stored tensors to network inputs: one plain function for each storage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from decoct.compact.decoders.cells import enlargement, multiformation, multiformation_rows
from decoct.compact.decoders.generated import WEIGHTS, generated, generated_rows
from decoct.compact.decoders.memory import bases, bases_rows, quantise_columns, query_bases
from decoct.compact.decoders.values import check_pixels, dequantise, pixels, quantise
from decoct.registry import Registry

__all__ = [
    "DECODERS",
    "bases",
    "belongs_to_decoder",
    "dequantise",
    "enlargement",
    "generated",
    "multiformation",
    "pixels",
    "quantise",
    "quantise_columns",
    "query_bases",
    "row_count",
]

DECODERS = Registry(
    "decoder",
    {
        "pixels": "decoct.compact.decoders:pixels",
        "multiformation": "decoct.compact.decoders:multiformation",
        "bases": "decoct.compact.decoders:bases",
        "generator": "decoct.compact.decoders:generated",
    },
)
"""name -> `function(tensors, config, rows=None) -> network inputs [r, ...]` float32, of all rows where `rows` is None.

A decoder is differentiable with respect to its float tensors, so that the same function serves learning and reading.
"""

_SCALES = frozenset({"low", "step", "coefficient_low", "coefficient_step"})


def belongs_to_decoder(name: str) -> bool:
    """Whether the stored tensor of this name is no image: its bytes are then counted as the decoder's."""
    return name in _SCALES or name.startswith(WEIGHTS)


def _pixels_rows(tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> int:
    check_pixels("pixels", tensors)
    return len(tensors["pixels"])


_ROWS: dict[str, Callable[[Mapping[str, Tensor], Mapping[str, Any]], int]] = {
    "pixels": _pixels_rows,
    "multiformation": multiformation_rows,
    "bases": bases_rows,
    "generator": generated_rows,
}


def row_count(storage: str, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> int | None:
    """How many rows the stored tensors decode to; None for a storage of another package.

    Raises `ConfigError` where tensors and config do not make a set of that storage, `UnknownNameError` for a decoder
    network that no registry lists.
    """
    count = _ROWS.get(storage)
    return None if count is None else count(tensors, config)
