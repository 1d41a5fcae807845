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
    """Bytes of the largest step: stored tensors with their moments, decoded rows and their activations."""
    values = int(np.prod(problem.shape))
    rows = len(recipe.storage.classes(problem))
    seen = min(rows, recipe.rows_per_step)
    stored = 4 * 4 * rows * values
    return stored + 4 * seen * (3 * values + 2 * activation_floats(problem))


def require_room(problem: Problem, recipe: Recipe) -> None:
    """Raise `MemoryEstimateError` if a step would not fit into the memory that is free."""
    require_memory(
        f"distilling {problem.ipc} images a class of shape {problem.shape} for {problem.class_count} classes",
        step_bytes(problem, recipe),
        "ask for fewer images per class, a narrower network (--network convnet3-w32), or fewer rows_per_step",
    )
