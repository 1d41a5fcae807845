"""A few thousand real rows, the same in every benchmark that cannot afford all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from real_sets import DATA

import decoct
from decoct.data.dataset import Dataset, Split
from decoct.streams import Streams, derive_seed


def pool(source: str, per_class: int, size: int | None = None) -> Dataset:
    """`per_class` training rows of every class of an npz set, drawn once; validation and test stay as they are."""
    data = decoct.open(f"npz:{DATA / source}.npz", size=size)
    rows = []
    for c, members in enumerate(data.train.class_rows(data.spec.classes)):
        generator = torch.Generator().manual_seed(derive_seed(0, "pool", c))
        rows.append(torch.from_numpy(members)[torch.randperm(len(members), generator=generator)[:per_class]])
    return data.with_train(torch.cat(rows).sort().values)


def parts_of(source: str, counts: Mapping[str, int]) -> Dataset:
    """So many rows of each class of the `train`, `val` and `test` rows of an npz set, drawn once."""
    data = decoct.open(f"npz:{DATA / source}.npz")
    parts = {name: _part(getattr(data, name), count, name) for name, count in counts.items()}
    # Where the file lies says nothing to others.
    spec = replace(data.spec, source=f"npz:{source}.npz")
    return Dataset(spec, parts["train"], parts["val"], parts["test"])


def _part(split: Split, count: int, name: str) -> Split:
    generator = Streams(0)(name)
    rows = [
        torch.from_numpy(members)[torch.randperm(len(members), generator=generator)[:count]]
        for members in split.class_rows(10)
    ]
    return split.take(torch.cat(rows).sort().values)
