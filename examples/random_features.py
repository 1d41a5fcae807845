"""RFAD: ridge regression on features of many random networks, none of them ever trained."""

import decoct

data = decoct.open("digits")
small = decoct.distill(data, "rfad", ipc=1, steps=40, network="convnet2-w16", looks=2)
print("validation accuracy by step:", {int(step): f"{share:.0%}" for step, share in small.provenance["validation"]})

card = decoct.evaluate(small, data, "quick", networks=["convnet2-w16"], seeds=2, baselines=["random"])
print(card.table())
