"""Squeeze, recover, relabel: 3 digits a class recovered from what a trained network remembers of all of them."""

import decoct
from decoct.distillation.labels.teacher import Teacher
from decoct.distillation.objective.statistics import Statistics
from decoct.distillation.recipe import Recipe
from decoct.distillation.storage.pixels import Pixels

data = decoct.open("digits")
teacher = "convnet2-w16-bn"
recipe = Recipe(
    Pixels(init_from="noise", clamp=True),
    Statistics(backbones=(teacher,), epochs=5, bn_weight=1.0, crop=(0.5, 1.0)),
    Teacher(network=teacher, epochs=5),
    lr=0.1, betas=(0.5, 0.9), schedule="cosine", steps=100,
)  # fmt: skip
small = decoct.distill(data, recipe, ipc=3, network="convnet2-w16", looks=2)
print(f"{len(small.classes)} images with {small.label_kind}, {small.nbytes.total} bytes")

card = decoct.evaluate(small, data, "quick", networks=["convnet2-w16"], seeds=2, baselines=["random"])
print(card.table())
