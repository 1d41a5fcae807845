"""k-median: real rows with the least mean distance to all; compared by the features of a network trained for it."""

import decoct

data = decoct.open("digits")
picked = decoct.select(data, "k-median", ipc=5, features="network:convnet2-w16")
images, labels, weights = picked.materialize()
print(f"{len(images)} of {len(data.train)} rows, weights from {weights.min():.2f} to {weights.max():.2f}")

card = decoct.evaluate(picked, data, "quick", networks=["convnet2-w16"], seeds=2, baselines=["random"])
print(card.table())
