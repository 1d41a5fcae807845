"""A recipe: one named point of storage x objective x labels with its schedule."""

from __future__ import annotations

from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, Literal

from decoct.distillation.axes import Axis, Labels, Objective, Storage
from decoct.errors import ConfigError
from decoct.settings import out_of_range, require_above, require_choices, require_share

SAMPLED_ROWS = 2000
"""`rows_per_step` where nothing is said: what two cores can do."""
ALL_ROWS = 1_000_000
"""More rows than a set has: `rows_per_step` of steps that see all of it, as the published ones do."""


@dataclass(frozen=True)
class Recipe:
    """Storage, objective and labels, and how their tensors are moved."""

    storage: Storage
    objective: Objective
    labels: Labels
    optimizer: Literal["sgd", "adam"] = "adam"
    """Optimiser of images and learned labels."""
    lr: float = 0.01
    """Step size for the images, in units of network inputs."""
    lr_labels: float = 0.01
    """Step size for learned labels."""
    lr_objective: float = 0.01
    """Step size for settings of the training that the objective learns, such as its own step sizes."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decays of adam."""
    clip_norm: float | None = None
    """Bound of the L2 norm of the images' gradient; none leaves it free."""
    clip_ema: float | None = None
    """Bound of the same norm as a multiple of its own running mean; none leaves it free."""
    momentum: float = 0.5
    """Momentum of sgd."""
    schedule: Literal["constant", "cosine", "halved"] = "constant"
    """Step sizes over the run: constant, half a cosine down to a tenth, or halved after every tenth of the run (DD)."""
    steps: int = 1000
    """Outer steps where neither steps nor a time budget is asked for."""
    rows_per_step: int = SAMPLED_ROWS
    """Decoded rows seen by one step at most; larger sets are sampled, classes in equal shares: a row of every class at
    least, where the objective compares all classes."""
    augment: str = "auto"
    """Siamese strategy shared by real and synthetic images; "auto" chooses by the data, "" turns it off."""
    network: str | None = None
    """Network to distil with where the caller names none; none takes the field's ConvNet for the size of the data."""

    def __post_init__(self) -> None:
        for name, kind in (("storage", Storage), ("objective", Objective), ("labels", Labels)):
            _require_axis(name, getattr(self, name), kind)
        require_choices(self)
        for name in ("storage", "labels"):
            _require_experts(name, getattr(self, name), self.objective)
        above = ("lr", "lr_labels", "lr_objective", "steps", "rows_per_step", "clip_norm", "clip_ema")
        require_above(self, "a recipe", **dict.fromkeys(above, 0))
        require_share(self, "a recipe", "momentum")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise out_of_range(self, "betas", "a recipe", "two numbers from 0 to 1, 1 left out")

    def facts(self) -> dict[str, Any]:
        """The recipe as plain JSON, with the class of every axis."""
        axes = {"storage": self.storage, "objective": self.objective, "labels": self.labels}
        return {**asdict(self), **{name: axis.facts() for name, axis in axes.items()}}


def _require_experts(name: str, axis: Axis, objective: Objective) -> None:
    """Raise `ConfigError` where this axis starts from what experts say and the objective has none."""
    if axis.asks_experts and not objective.has_experts:
        raise ConfigError(
            f"choosing the {name} of a recipe",
            received=f"{axis!r:.100}, which starts from what experts say, beside the objective "
            f"{type(objective).__name__}",
            expected="an objective that trains experts on the real data, such as Trajectory",
            remedy=f"give another {name} too, such as that of another recipe, or keep the objective",
        )


def _require_axis(name: str, axis: object, kind: type[Axis]) -> None:
    """Raise `ConfigError` for anything but settings of that axis, and for settings that its fields do not list."""
    if isinstance(axis, type):
        received, remedy = f"the class {axis.__name__}", f"give an object of it, such as {axis.__name__}()"
    elif not isinstance(axis, kind):
        received, remedy = f"{type(axis).__name__}: {axis!r:.100}", f"derive it from {kind.__name__}, or give a name"
    elif not is_dataclass(axis):
        received, remedy = f"{type(axis).__name__}, no dataclass", "write @dataclass(frozen=True) above its class"
    else:
        require_choices(axis)
        return
    raise ConfigError(
        f"choosing the {name} of a recipe",
        received=received,
        expected=f"an object of a frozen dataclass of settings derived from {kind.__module__}.{kind.__name__}",
        remedy=remedy,
    )
