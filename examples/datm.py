"""DATM: the part of an expert's training that is matched moves on from easy to hard, and labels are learned too."""

from dataclasses import replace

import decoct
from decoct.distillation.recipes.task import Task
from decoct.distillation.recipes.trajectory import datm

data = decoct.open("digits")
recipe = datm(Task(data.spec, ipc=2))
recipe = replace(recipe, objective=replace(recipe.objective, experts=2, expert_rows=500))  # type: ignore[type-var]
small = decoct.distill(data, recipe, ipc=2, steps=20, network="convnet2-w16", looks=2)
_, targets, _ = small.materialize()
print(f"labels are {small.label_kind}; the first:", *(f"{share:.2f}" for share in targets[0].tolist()))
