"""Improved distribution matching: 2 digits a class, matched under a queue of networks trained on the real ones."""

import decoct

data = decoct.open("digits")
small = decoct.distill(data, "idm", ipc=2, steps=40, network="convnet2-w16", looks=2)
print(f"{len(small)} images in {small.nbytes.total} bytes, {small.provenance['best_val_accuracy']:.1%} on validation")

card = decoct.evaluate(small, data, "quick", networks=["convnet2-w16"], seeds=2, baselines=["random"])
print(card.table())
