"""SemDeDup: of rows that nearly repeat each other one stays; here 300 digits were stored twice, the copies noisy."""

import numpy as np
from sklearn.datasets import load_digits

import decoct

pixels, labels = (np.asarray(part) for part in load_digits(return_X_y=True))
noise = np.random.default_rng(0).normal(0, 0.3, (300, 64))
pixels = np.concatenate([pixels, (pixels[:300] + noise).clip(0, 16)])
images = (pixels * (255 / 16)).reshape(-1, 8, 8).astype(np.uint8)
data = decoct.open((images, np.concatenate([labels, labels[:300]])))


def twice(ids: list[str]) -> int:
    rows = {int(name.rpartition("/")[2]) for name in ids}
    return sum(row in rows and 1797 + row in rows for row in range(300))


before = twice(data.train.ids.tolist())
core = decoct.select(data, "semdedup", count=len(data.train) - before, balance="global")
print(f"{len(core)} of {len(data.train)} rows kept; stored twice: {twice(core.ids.tolist())} digits, {before} before")
