"""Which decoded rows a step sees: all of them, or a sample of so many."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from decoct.distillation.recipe import Recipe
from decoct.errors import ConfigError
from decoct.streams import Streams


class StepRows:
    """Draws the rows of each step out of the decoded ones, whose nominal classes are `classes` `[m]`.

    More than `rows_per_step` rows are sampled, as many of one class as of another. Where there are more classes than
    that, an objective that takes each row by itself (`of_some_classes`) sees one row each of so many classes, drawn
    anew for every step; one that compares all classes sees a row of each, though that is more than was asked for.

    Raises `ConfigError` for an objective that goes through the rows in their order (`in_order`) where a step would see
    only some of them.
    """

    def __init__(self, recipe: Recipe, classes: Int[Tensor, " m"], class_count: int) -> None:
        most, objective = recipe.rows_per_step, recipe.objective
        self._classes, self._class_count, self._most = classes, class_count, most
        self._whole = len(classes) <= most
        self._some_classes = most < class_count and objective.of_some_classes
        self._share = max(1, most // class_count)
        if not self._whole and objective.in_order:
            raise ConfigError(
                f"steps of the objective {type(objective).__name__}, which takes rows in their order",
                received=f"rows_per_step={most}, and a set of {len(classes)} rows",
                expected="steps that see every row: of a sample, the order is not that of the set",
                remedy=f"give the recipe rows_per_step={len(classes)} or more, or leave ordered out",
            )

    @property
    def count(self) -> int:
        """Rows of every step."""
        if self._some_classes and not self._whole:
            return self._most
        sizes = torch.bincount(self._classes, minlength=self._class_count)
        return int((sizes if self._whole else sizes.clamp_max(self._share)).sum())

    def draw(self, streams: Streams) -> Int[Tensor, " k"]:
        """The rows of the next step."""
        if self._whole:
            return torch.arange(len(self._classes))
        generator, picked = streams("rows"), []
        for label in self._labels(generator):
            members = torch.nonzero(self._classes == label).flatten()
            picked.append(members[torch.randperm(len(members), generator=generator)[: self._share]])
        return torch.cat(picked)

    def _labels(self, generator: torch.Generator) -> list[int]:
        """The classes of a step, in their order."""
        if not self._some_classes:
            return list(range(self._class_count))
        return sorted(torch.randperm(self._class_count, generator=generator)[: self._most].tolist())
