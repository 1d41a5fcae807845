"""Differentiate through training, with momentum, on images that are mixtures of a few bases all classes share."""

import decoct

data = decoct.open("digits")
small = decoct.distill(data, "rtp", ipc=1, steps=4, network="convnet2-w8", seed=0)
inputs, targets, weights = small.materialize()
print(
    f"{len(inputs)} images {tuple(inputs.shape[1:])} in {small.nbytes.images} bytes, where one is {data.spec.row_bytes}"
)

card = decoct.evaluate(small, data, "quick", networks=["convnet2-w8"], seeds=2, baselines=["random"])
print(card.table())
