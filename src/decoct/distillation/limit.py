"""Where a distillation ends, and how often it looks at the validation split on the way."""

from __future__ import annotations

from dataclasses import dataclass

from decoct.distillation.recipe import Recipe
from decoct.durations import parse_duration
from decoct.errors import ConfigError

VALIDATIONS = 8
"""How often a run looks at the validation split, evenly over its course, the end included."""


@dataclass(frozen=True)
class Limit:
    """Where a run ends: after `steps`, or after `seconds` of work; and how often it looks at the validation split."""

    steps: int | None
    seconds: float | None
    looks: int = VALIDATIONS

    def share(self, step: int, elapsed: float) -> float:
        """How much of the run is done, in [0, 1]."""
        if self.steps is not None:
            return min(1.0, step / self.steps) if self.steps else 1.0
        assert self.seconds is not None
        return min(1.0, elapsed / self.seconds)


def limit_of(recipe: Recipe, budget: str | float | None, steps: int | None, looks: int) -> Limit:
    """The end that is asked for, or the recipe's own; raises `ConfigError` for what cannot be."""
    if looks < 1:
        raise ConfigError(
            "starting a distillation", received=f"looks={looks}", expected="1 or more",
            remedy="give looks=1 to look at the validation split only at the end",
        )  # fmt: skip
    if budget is not None and steps is not None:
        raise ConfigError(
            "starting a distillation",
            received=f"both a budget ({budget}) and steps ({steps})",
            expected="one of the two",
            remedy="give the time budget or the number of steps",
        )
    if steps is not None and steps < 1:
        raise ConfigError(
            "starting a distillation", received=f"steps={steps}", expected="1 or more", remedy="give more steps"
        )
    if not recipe.objective.moves:
        return Limit(0, None, looks)
    if budget is not None:
        return Limit(None, parse_duration(str(budget)), looks)
    return Limit(steps or recipe.steps, None, looks)
