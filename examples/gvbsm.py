"""G-VBSM: one set recovered from the statistics of several networks, so that it leans on none of them."""

from dataclasses import replace

import decoct
from decoct.distillation.recipes.statistics import gvbsm
from decoct.distillation.recipes.task import Task

data = decoct.open("digits")
recipe = gvbsm(Task(data.spec, ipc=2))
backbones = ("convnet2-w16-bn", "convnet2-w16-bn-leaky")
recipe = replace(recipe, objective=replace(recipe.objective, backbones=backbones, epochs=5))  # type: ignore[type-var]
small = decoct.distill(data, recipe, ipc=2, steps=40, network="convnet2-w16", seed=0)
print(f"{len(small)} images from {len(backbones)} networks, labels are {small.label_kind}")
