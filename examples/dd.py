"""Dataset distillation as first published: a few steps from a known start, each with a step size of its own."""

import decoct

data = decoct.open("digits")
small = decoct.distill(data, "dd", ipc=1, steps=20, network="convnet2-w16", looks=2)
print("step sizes, learned:", *(f"{rate:.3f}" for rate in small.learned["lrs"][:5]), "...")

for protocol in ("own", "quick"):  # along the learned steps, and as any other set
    card = decoct.evaluate(small, data, protocol, networks=["convnet2-w16"], seeds=2, baselines=["random"])
    print(card.table())
