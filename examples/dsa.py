"""Gradient matching, plain (DC) and augmented (DSA): 1 digit a class that trains a network the way real digits do."""

import decoct

data = decoct.open("digits")
for name in ("dc", "dsa"):
    small = decoct.distill(data, name, ipc=1, steps=20, network="convnet2-w16", looks=2)
    accuracy = small.provenance["best_val_accuracy"]
    print(f"{name}: {len(small)} images in {small.nbytes.total} bytes, {accuracy:.1%} on validation")

card = decoct.evaluate(small, data, "quick", networks=["convnet2-w16"], seeds=2, baselines=["random"])
print(card.table())
