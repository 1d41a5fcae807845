"""A coreset as a DataComp subset file: the 128-bit uids of the kept rows, for programs that filter shards by uid.

DataComp (Gadre et al., "DataComp: In search of the next generation of multimodal datasets", 2023,
https://arxiv.org/abs/2304.14108) names every sample by 32 hex digits. A subset is a NumPy file of dtype "u8,u8" and
shape `[k]`, sorted: the number of the first 16 digits and the number of the last 16. Its resharder looks samples up by
binary search, hence the order; what is not in the file is dropped.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decoct.compact.compact_set import CompactSet
from decoct.compact.folder import content_writer
from decoct.compact.stored import readable
from decoct.errors import ConfigError
from decoct.files import write_atomically

DTYPE = np.dtype("u8,u8")
_UID = re.compile(r"[0-9a-fA-F]{32}")


def uid_of(name: str) -> str:
    """The uid of a row: its id where that is 32 hex digits, else the first 32 of the sha256 of the id in UTF-8."""
    return name.lower() if _UID.fullmatch(name) else hashlib.sha256(readable(name).encode()).hexdigest()[:32]


def uids(names: Iterable[str]) -> NDArray[Any]:
    """The uids of these ids as DataComp keeps them: pairs of uint64, sorted, `[k]`."""
    pairs = [(int(uid[:16], 16), int(uid[16:], 16)) for uid in map(uid_of, names)]
    return np.sort(np.array(pairs, DTYPE))


def write_datacomp(small: CompactSet, path: Path) -> None:
    """Write the uids of a coreset; weights and order are not part of the format.

    Raises `ConfigError` for a set of made rows, which have no ids, and `OutputError`.
    """
    if small.table is None:
        raise ConfigError(
            "exporting a set as a DataComp subset file",
            received="a distilled set, whose rows were made and have no ids",
            expected="a coreset: rows of a source, each with its id",
            remedy="export it to parquet, npz or an image folder",
        )
    buffer = io.BytesIO()
    np.save(buffer, uids(small.table["id"]), allow_pickle=False)
    write_atomically(path, content_writer(buffer.getvalue()))
