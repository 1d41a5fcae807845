"""The outer optimiser: one step size for images, labels and the objective's own settings, schedule and clipping."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from decoct.distillation.axes import Tensors
from decoct.distillation.checkpoint import load_optimizer, optimizer_tensors, prefixed, under
from decoct.distillation.recipe import Recipe

FINAL_SHARE = 0.1
"""What the cosine schedule leaves of the step size at the end."""
HALVINGS = 10
"""Equal parts of a run with the schedule `halved`, each with half the step size of the one before."""
NORM_DECAY = 0.9
"""Decay of the running mean of gradient norms."""


def step_factor(schedule: str, share: float) -> float:
    """What the schedule leaves of every step size at this share of the run."""
    if schedule == "cosine":
        return FINAL_SHARE + (1 - FINAL_SHARE) * 0.5 * (1 + math.cos(math.pi * share))
    return 0.5 ** int(HALVINGS * share) if schedule == "halved" else 1.0


class Outer:
    """Moves `storage`, `labels` and `objective` tensors by the recipe's rule, each group with its own step size.

    `clip_norm` bounds the joint L2 norm of the storage's gradients; `clip_ema` bounds it to so many times its own
    running mean (RaT-BPTT: 2), which costs nothing while gradients behave and saves a run when one does not: a step
    whose norm is not finite moves nothing.

    Differs from the official code of RaT-BPTT (https://github.com/fengyzpku/Simple_Dataset_Distillation): there the
    norm of a step enters the mean as it is, before the step is bound by that mean; here it is bound by the mean of the
    steps before it and enters as what is left of it, so that one large step does not raise its own bound.
    """

    def __init__(self, recipe: Recipe, storage: Tensors, labels: Tensors, objective: Tensors) -> None:
        self._recipe, self._storage = recipe, list(storage.values())
        own = [({name: tensor}, recipe.lr * recipe.storage.rate(name)) for name, tensor in storage.items()]
        groups = (*own, (labels, recipe.lr_labels), (objective, recipe.lr_objective))
        self._rates = [rate for tensors, rate in groups if tensors]
        settings: list[dict[str, Any]] = [
            {"params": list(tensors.values()), "lr": rate} for tensors, rate in groups if tensors
        ]
        if recipe.optimizer == "sgd":
            self._optimizer: torch.optim.Optimizer = torch.optim.SGD(settings, momentum=recipe.momentum)
        else:
            self._optimizer = torch.optim.Adam(settings, betas=recipe.betas)
        self._norm = torch.zeros(())

    def schedule(self, share: float) -> None:
        """Set the step sizes for this share of the run."""
        factor = step_factor(self._recipe.schedule, share)
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor

    def zero_grad(self) -> None:
        self._optimizer.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Clip, then move; tensors without a gradient stay."""
        if self._recipe.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._storage, self._recipe.clip_norm)
        if self._recipe.clip_ema is not None:
            self._clip_to_mean(self._recipe.clip_ema)
        self._optimizer.step()

    def _clip_to_mean(self, times: float) -> None:
        gradients = [tensor.grad for tensor in self._storage if tensor.grad is not None]
        norm = torch.stack([gradient.detach().square().sum() for gradient in gradients]).sum().sqrt().cpu()
        if not torch.isfinite(norm):
            # A step that exploded says nothing, of labels and step sizes neither.
            self.zero_grad()
            return
        self._norm = norm if float(self._norm) == 0 else self._norm
        bound = times * self._norm
        if norm > bound:
            for gradient in gradients:
                gradient.mul_(float(bound / norm))
        self._norm = NORM_DECAY * self._norm + (1 - NORM_DECAY) * torch.minimum(norm, bound)

    def state_dict(self) -> Tensors:
        """Moments and the running norm."""
        return {**prefixed("moments", optimizer_tensors(self._optimizer)), "norm": self._norm}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        load_optimizer(self._optimizer, under("moments", state))
        self._norm = state["norm"].cpu()
