"""Rows in an order that has nothing to do with the file they came from, so that equals are chosen among by lot."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from jaxtyping import Int64
from numpy.typing import NDArray
from torch import Tensor


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
