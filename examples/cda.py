"""CDA: recovery whose crops are whole images at first and shrink over the run, from the gist to the detail."""

from dataclasses import replace

import decoct
from decoct.distillation.recipes.statistics import cda
from decoct.distillation.recipes.task import Task

data = decoct.open("digits")
recipe = cda(Task(data.spec, ipc=2))
changed = replace(recipe.objective, backbones=("convnet2-w16-bn",), epochs=5, curriculum=0.5)  # type: ignore[type-var]
small = decoct.distill(data, replace(recipe, objective=changed), ipc=2, steps=40, network="convnet2-w16", seed=0)
print(f"{len(small)} images, smallest crops after {changed.curriculum:.0%} of the run, labels are {small.label_kind}")
