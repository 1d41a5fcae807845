"""A table of features on disk, picked from shard by shard: the way for tables that no memory holds."""

import tempfile
from pathlib import Path

import numpy as np

from decoct.data.feature_table import feature_table
from decoct.selection.sharded.driver import select_table

rng = np.random.default_rng(0)
rows = 4 * rng.standard_normal((40, 32))[rng.integers(0, 40, 20_000)] + rng.standard_normal((20_000, 32))

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "features.npy"
    np.save(path, rows.astype(np.float16))
    picked = select_table(feature_table(path), "facility-location", fraction=0.01, out=Path(folder) / "run")
    print(f"{len(picked)} of {len(rows)} rows, the first of them {picked.indices[:5].tolist()}")
    fewer = select_table(feature_table(path), "facility-location", count=50)
    print("the first 50 are the pick of 50:", fewer.indices.tolist() == picked.indices[:50].tolist())
