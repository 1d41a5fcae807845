"""Will it fit: the memory of a distillation step, reckoned before the first one."""

from __future__ import annotations

import numpy as np

from decoct.distillation.problem import Problem
from decoct.distillation.recipe import Recipe
from decoct.distillation.step_rows import StepRows
from decoct.machine import require_memory
from decoct.networks.build import network
from decoct.networks.count import activation_values


def step_bytes(problem: Problem, recipe: Recipe) -> int:
    """Bytes of the largest step, roughly: stored tensors with their moments, the decoded set, the decoded rows that the
    step sees and their gradients, its real rows, and the activations of what goes through the network together."""
    values = int(np.prod(problem.shape))
    classes = recipe.storage.classes(problem)
    rows, seen = len(classes), StepRows(recipe, classes, problem.class_count).count
    stored = 4 * problem.ipc * problem.class_count + rows
    real = 2 * recipe.objective.real_rows_seen(problem)
    module = network(problem.network, problem.shape, problem.class_count, 0)
    active = 2 * recipe.objective.rows_at_once(problem, seen) * activation_values(module, problem.shape)
    return 4 * ((stored + 3 * seen + real) * values + active)


def require_room(problem: Problem, recipe: Recipe) -> None:
    """Raise `MemoryEstimateError` if a step would not fit into the memory that is free."""
    require_memory(
        f"distilling {problem.ipc} images a class of shape {problem.shape} for {problem.class_count} classes",
        step_bytes(problem, recipe),
        "ask for fewer images per class, a narrower network (--network convnet3-w32), or fewer rows_per_step",
        problem.device,
    )
