"""One hash for a whole data set, so that a result can say which data it was made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

import numpy as np

from decoct.data.blocks import row_blocks
from decoct.data.dataset import Split

WITHHELD = "withheld: a hash of private rows would tell who has the same rows"
"""What stands for the fingerprint of private data."""


def fingerprint(splits: Mapping[str, Split], shape: Sequence[int], class_names: Sequence[str]) -> str:
    """SHA-256, in hex, of rows and labels of all splits in order, of the shape and of the class names in order.

    Where the data came from, the ids and the kind of normalisation do not matter; the order of rows, of names and of
    splits does. Rows are read in blocks; the hash is the same on every machine.
    """
    digest = hashlib.sha256()
    head = {"version": 1, "shape": list(shape), "class_names": list(class_names)}
    digest.update(json.dumps(head, sort_keys=True).encode())
    for name, split in splits.items():
        digest.update(json.dumps([name, len(split)]).encode())
        digest.update(np.ascontiguousarray(split.y, dtype="<i8").data)
        for block in row_blocks(split.x):
            digest.update(np.ascontiguousarray(block, dtype=block.dtype.newbyteorder("<")).data)
    return digest.hexdigest()
