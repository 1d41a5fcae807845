"""Kernel ridge regression on a pool of networks, with learned labels: 1 digit a class that says more than its class."""

import decoct

data = decoct.open("digits")
small = decoct.distill(data, "ridge", ipc=1, steps=40, network="convnet2-w16", looks=2)
inputs, targets, weights = small.materialize()
print(f"{len(inputs)} images {tuple(inputs.shape[1:])}; their labels are {small.label_kind}, the first:")
print([round(score, 2) for score in targets[0].tolist()])

card = decoct.evaluate(small, data, "quick", networks=["convnet2-w16"], seeds=2, baselines=["random"])
print(card.table())
