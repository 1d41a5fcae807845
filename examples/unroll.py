"""RaT-BPTT: back-propagation through a window of a training, placed at random, so that it need not be kept whole."""

import decoct

data = decoct.open("digits")
small = decoct.distill(data, "rat-bptt", ipc=1, steps=20, network="convnet2-w16", looks=2)
print("validation accuracy by step:", {int(step): f"{share:.0%}" for step, share in small.provenance["validation"]})

card = decoct.evaluate(small, data, "quick", networks=["convnet2-w16"], seeds=2, baselines=["random"])
print(card.table())
