"""How values are kept: small integer types for labels, and the checks that both kinds of result share."""

from __future__ import annotations

from jaxtyping import Int64, Integer
from torch import Tensor, int32, uint8

from decoct.errors import ConfigError


def hard_label_bytes(rows: int, classes: int) -> int:
    """Bytes of `rows` hard labels as they are counted: one each, two above 256 classes."""
    return rows * (1 if classes <= 256 else 2)


def narrow(labels: Int64[Tensor, " m"], classes: int) -> Integer[Tensor, " m"]:
    """The labels in the type in which they are saved: uint8 up to 256 classes, int32 above."""
    return labels.to(uint8 if classes <= 256 else int32)


def require(holds: bool, called: str, received: str, expected: str) -> None:
    """Raise `ConfigError` unless `holds`."""
    if not holds:
        raise ConfigError(called, received=received, expected=expected, remedy="check how the parts were made")


def readable(name: str) -> str:
    """`name` as valid Unicode: bytes of a file name that are none are written as \\udcXX."""
    return name.encode("utf-8", "backslashreplace").decode()
