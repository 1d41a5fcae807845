"""Will it fit: the memory of a distillation step, reckoned before the first one."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from decoct.distillation.problem import Problem
from decoct.distillation.recipe import Recipe
from decoct.machine import require_memory
from decoct.networks.build import network


def activation_floats(problem: Problem) -> int:
    """Values that one image leaves in the layers of the network."""
    module = network(problem.network, problem.shape, problem.class_count, 0).eval()
    counted = 0

    def count(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: object) -> None:
        nonlocal counted
        if isinstance(output, torch.Tensor) and not list(layer.children()):
            counted += output.numel()

    hooks = [layer.register_forward_hook(count) for layer in module.modules()]
    with torch.no_grad():
        module(torch.zeros(1, *problem.shape))
    for hook in hooks:
        hook.remove()
    return counted


def step_bytes(problem: Problem, recipe: Recipe) -> int:
    """Bytes of the largest step, roughly: stored tensors with their moments, the decoded set, the decoded rows that the
    step sees and their gradients, its real rows, and the activations of what goes through the network together."""
    values = int(np.prod(problem.shape))
    rows = len(recipe.storage.classes(problem))
    seen = min(rows, recipe.rows_per_step)
    stored = 4 * problem.ipc * problem.class_count + rows
    real = 2 * recipe.objective.real_rows_seen(problem)
    active = 2 * recipe.objective.rows_at_once(problem, seen) * activation_floats(problem)
    return 4 * ((stored + 3 * seen + real) * values + active)


def require_room(problem: Problem, recipe: Recipe) -> None:
    """Raise `MemoryEstimateError` if a step would not fit into the memory that is free."""
    require_memory(
        f"distilling {problem.ipc} images a class of shape {problem.shape} for {problem.class_count} classes",
        step_bytes(problem, recipe),
        "ask for fewer images per class, a narrower network (--network convnet3-w32), or fewer rows_per_step",
        problem.device,
    )
