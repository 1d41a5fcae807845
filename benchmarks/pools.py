"""A few thousand real rows, the same in every benchmark that cannot afford all of them."""

from __future__ import annotations

import os
from pathlib import Path

import torch

import decoct
from decoct.data.dataset import Dataset
from decoct.streams import derive_seed

DATA = Path(os.environ.get("DECOCT_DATA", Path(__file__).parents[2] / "shared" / "data"))


def pool(source: str, per_class: int, size: int | None = None) -> Dataset:
    """`per_class` training rows of every class of an npz set, drawn once; validation and test stay as they are."""
    data = decoct.open(f"npz:{DATA / source}.npz", size=size)
    rows = []
    for c, members in enumerate(data.train.class_rows(data.spec.classes)):
        generator = torch.Generator().manual_seed(derive_seed(0, "pool", c))
        rows.append(torch.from_numpy(members)[torch.randperm(len(members), generator=generator)[:per_class]])
    return data.with_train(torch.cat(rows).sort().values)
