"""TESLA: trajectory matching in memory that does not grow with the inner steps, and to the same gradient."""

from dataclasses import replace

import decoct
from decoct.distillation.recipes.task import Task
from decoct.distillation.recipes.trajectory import tesla

data = decoct.open("digits")
recipe = tesla(Task(data.spec, ipc=1))
recipe = replace(recipe, objective=replace(recipe.objective, experts=2, expert_rows=500))  # type: ignore[type-var]
small = decoct.distill(data, recipe, ipc=1, steps=20, network="convnet2-w16", looks=2)
print(f"{len(small)} images with {small.label_kind}; step size {small.learned['lr']:.3f}")
