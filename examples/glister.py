"""GLISTER: rows whose gradients help validation rows; a third of the labels are wrong, those of validation are not."""

from dataclasses import replace

import numpy as np

import decoct

clean = decoct.open("digits")
chance = np.random.default_rng(0)
wrong = chance.random(len(clean.train)) < 1 / 3
labels = np.where(wrong, (clean.train.y + chance.integers(1, 10, len(wrong))) % 10, clean.train.y)
data = replace(clean, train=replace(clean.train, y=labels))

for method in ("glister", "random"):
    core = decoct.select(data, method, ipc=20)
    print(f"{method}: {wrong[core.indices.numpy()].mean():.0%} of {len(core)} rows have a wrong label")
