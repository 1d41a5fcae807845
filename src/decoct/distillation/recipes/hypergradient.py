"""The recipe that condenses a validation set for hyper-parameter search."""

from __future__ import annotations

from decoct.distillation.labels.hard import Hard
from decoct.distillation.objective.hypergradient import Hypergradient
from decoct.distillation.recipe import ALL_ROWS, SAMPLED_ROWS, Recipe
from decoct.distillation.recipes.task import Task
from decoct.distillation.storage.pixels import Pixels
from decoct.training.responses import Walk


def hcdc(task: Task) -> Recipe:
    """Pixels x hypergradient x hard.

    A **validation** set: networks are not trained on it, they are ordered by their loss on it. The hyper-parameters are
    weight decay by layer and label smoothing; another space is `Hypergradient(space=...)` in a recipe of one's own, and
    `train_set=` names the small training set of the search. What is matched are hypergradients of networks trained on
    200 real rows of each class. `cpu`: 6 trajectories of 8 points on a narrow network; `paper`: 16 of 20 (the paper's
    settings are not public; these are of its order).
    """
    paper = task.preset == "paper"
    walk = Walk(starts=16, length=20, first_steps=500, next_steps=100) if paper else Walk(full_rows=200)
    return Recipe(
        Pixels(), Hypergradient(walk=walk, full_per_class=200), Hard(),
        optimizer="adam", lr=0.02, schedule="cosine", steps=2000 if paper else 300, augment="",
        rows_per_step=ALL_ROWS if paper else SAMPLED_ROWS, network=task.network(cpu_width=8),
    )  # fmt: skip
