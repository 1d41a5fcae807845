"""FRePo on digits: regression on the features of a pool of networks, images and labels learned together."""

import decoct

data = decoct.open("digits")
small = decoct.distill(data, "frepo", ipc=1, steps=40, network="convnet2-w16", looks=2)
inputs, targets, _ = small.materialize()
margins = targets.topk(2, dim=1).values
print(f"{len(inputs)} images; the best score of each label is ahead of the next by")
print([round(float(first - second), 2) for first, second in margins])

card = decoct.evaluate(small, data, "quick", networks=["convnet2-w16"], seeds=2, baselines=["random"])
print(card.table())
