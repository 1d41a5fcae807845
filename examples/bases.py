"""Bases: images of all classes share a few small pictures, so that the bytes of ten digits hold eighty."""

import decoct
from decoct.distillation.labels.hard import Hard
from decoct.distillation.objective.ridge import Ridge
from decoct.distillation.recipe import Recipe
from decoct.distillation.storage.bases import Bases

data = decoct.open("digits")
point = Recipe(Bases(downsample=1, max_per_class=8), Ridge(reg=1.0), Hard(), lr=0.01, steps=40)
small = decoct.distill(data, point, ipc=1, network="convnet2-w16", looks=2)
spent, count = small.nbytes.images + small.nbytes.decoder, len(small.tensors["bases"])
print(f"{len(small)} images out of {count} bases: {spent} bytes, {10 * data.spec.row_bytes} allowed")

card = decoct.evaluate(small, data, "quick", networks=["convnet2-w16"], seeds=2, baselines=["random"])
print(card.table())
