"""Trajectory matching: images on which training lands where it landed on all the digits, and the step size for it."""

from dataclasses import replace

import decoct
from decoct.distillation.recipes.task import Task
from decoct.distillation.recipes.trajectory import mtt

data = decoct.open("digits")
recipe = mtt(Task(data.spec, ipc=1))
recipe = replace(recipe, objective=replace(recipe.objective, experts=2, expert_rows=500))  # type: ignore[type-var]
small = decoct.distill(data, recipe, ipc=1, steps=40, network="convnet2-w16", looks=2)
print(f"{len(small.classes)} images; step size {small.learned['lr']:.3f} for {small.learned['inner_steps']:.0f} steps")
print("validation accuracy by step:", {int(step): f"{share:.0%}" for step, share in small.provenance["validation"]})
