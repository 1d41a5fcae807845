"""Multi-formation storage: four half-size digits in the bytes of one, here with distribution matching."""

import decoct
from decoct.distillation.storage.multiformation import Multiformation

data = decoct.open("digits")
small = decoct.distill(data, "dm", storage=Multiformation(factor=2), ipc=2, steps=16, network="convnet2-w16", looks=2)
print(f"{small.storage}: {len(small)} images in {small.nbytes.images} bytes, {data.spec.row_bytes} would be one")

card = decoct.evaluate(small, data, "quick", networks=["convnet2-w16"], seeds=2, baselines=["random"])
print(card.table())
