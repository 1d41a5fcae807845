"""Rows in an order that has nothing to do with the file they came from, so that equals are chosen among by lot."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt64
from numpy.typing import NDArray
from torch import Tensor

from decoct.selection.content_order import stirred
from decoct.streams import derive_seed


def lots(ids: NDArray[Any], seed: int) -> Int64[Tensor, " n"]:
    """The place of each row in the order of the hashes of its id and the seed: 0 to n - 1, each once.

    Where rows of equal score are taken in the order of the file, a file sorted by class, by person or by difficulty
    decides what is chosen. A row's own lot goes along with it when rows change places.
    """
    drawn = [hashlib.sha256(f"{seed}/{name}".encode("utf-8", "backslashreplace")).digest() for name in ids.tolist()]
    order = sorted(range(len(drawn)), key=drawn.__getitem__)
    place = torch.empty(len(order), dtype=torch.int64)
    place[torch.tensor(order, dtype=torch.int64)] = torch.arange(len(order))
    return place


def numbered_lots(rows: Int64[np.ndarray, " n"], seed: int) -> UInt64[np.ndarray, " n"]:
    """A lot for each of these row numbers, which follows from the number and the seed alone; no two are the same.

    For tables whose rows have no names: seconds for ten million rows, the sorting by them among these.
    """
    return stirred(rows.astype(np.uint64) + np.uint64(derive_seed(seed, "lots")))
