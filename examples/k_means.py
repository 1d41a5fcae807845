"""k-means: the row nearest to each centre, weighted by how many rows stand behind it; here on your own features."""

import numpy as np

import decoct

rng = np.random.default_rng(0)
labels = np.arange(600) % 3
table = (rng.normal(size=(600, 8)) + 3 * np.eye(3, 8)[labels]).astype(np.float32)

data = decoct.open((table, labels))
picked = decoct.select(data, "k-means", ipc=4, features="pixels")
print("rows:", *picked.indices.tolist())
print("weights:", *(f"{weight:.2f}" for weight in picked.weights.tolist()))
print(decoct.evaluate(picked, data, seeds=3, baselines=["random", "full"]).table())
