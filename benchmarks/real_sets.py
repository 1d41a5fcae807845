"""The real data sets of the benchmarks, and the one place that says where they are."""

from __future__ import annotations

import os
from pathlib import Path

import decoct
from decoct.data.dataset import Dataset

DATA = Path(os.environ.get("DECOCT_DATA", Path(__file__).parents[2] / "shared" / "data"))
"""DECOCT_DATA, or without it `shared/data` beside the checkout."""
SHARD = "train-00000-of-00005.parquet"
"""The file of 10,000 rows that stands for all of CIFAR-10 where a table needs a small set."""


def real_set(name: str, work: Path) -> Dataset:
    """`mnist`, `fashion-mnist`, `cifar10`, or `cifar10-10k`: its first 10,000 training images, all test images."""
    if name == "cifar10-10k":
        folder = work / name
        folder.mkdir(parents=True, exist_ok=True)
        for file in (SHARD, "test-00000-of-00001.parquet"):
            if not (folder / file).exists():
                (folder / file).symlink_to((DATA / "cifar10" / file).resolve())
        return decoct.open(f"parquet:{folder}")
    if name == "cifar10":
        return decoct.open(f"parquet:{DATA / name}")
    return decoct.open(f"npz:{DATA / name}.npz")
