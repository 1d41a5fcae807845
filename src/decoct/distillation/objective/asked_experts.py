"""What experts say of images: the same of each image, whatever else they are asked about."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor, nn

from decoct.distillation.class_gradients import settle_statistics
from decoct.distillation.problem import Problem, RealSource
from decoct.streams import derive_seed
from decoct.training.flat import FlatNetwork
from decoct.training.trajectories import Trajectories

BLOCK = 256
"""Rows that an expert is asked about at a time, and real rows whose statistics BatchNorm has meanwhile."""


class AskedExperts:
    """The experts of `trajectories` after their last pass, in evaluation mode.

    Trajectories hold weights and no running statistics, so BatchNorm is given those of `BLOCK` real rows, classes in
    equal shares, which follow from `seed`. Those of the images that are asked about would not do: of images of one
    class they take away what the class has in common.
    """

    def __init__(self, problem: Problem, flat: FlatNetwork, trajectories: Trajectories, seed: int) -> None:
        self._problem, self._flat, self._trajectories, self._seed = problem, flat, trajectories, seed

    def __call__(self, images: Float[Tensor, "n ..."]) -> Iterator[Float[Tensor, "n classes"]]:
        """Logits of each expert in turn."""
        for number in range(len(self._trajectories)):
            module = self._expert(number).to(images)
            with torch.no_grad():
                said = torch.cat([module(part) for part in images.split(BLOCK)])
            yield said

    def _expert(self, number: int) -> nn.Module:
        module = copy.deepcopy(self._flat.module).eval()
        weights = self._trajectories.at(number, self._trajectories.epochs)
        module.load_state_dict(self._flat.unflatten(weights), strict=False)
        if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules()):
            settle_statistics(module, self._mixed)
        return module

    @cached_property
    def _mixed(self) -> Float[Tensor, "n ..."]:
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "asked experts"))
        return RealSource(self._problem.data, self._problem.device, generator).batch(BLOCK)[0]
