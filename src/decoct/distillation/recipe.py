"""A recipe: one named point of storage x objective x labels with its schedule."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from decoct.distillation.axes import Labels, Objective, Storage
from decoct.errors import ConfigError


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
    rows_per_step: int = 2000
    """Decoded rows seen by one step at most; larger sets are sampled, classes in equal shares."""
    augment: str = "auto"
    """Siamese strategy shared by real and synthetic images; "auto" chooses by the data, "" turns it off."""
    network: str | None = None
    """Network to distil with where the caller names none; none takes the field's ConvNet for the size of the data."""

    def __post_init__(self) -> None:
        for name, low in (("lr", 0.0), ("lr_labels", 0.0), ("lr_objective", 0.0), ("steps", 0), ("rows_per_step", 0)):
            if not getattr(self, name) > low:
                raise ConfigError(
                    f"setting {name} of a recipe",
                    received=repr(getattr(self, name)),
                    expected=f"a number above {low}",
                    remedy=f"give another {name}",
                )

    def facts(self) -> dict[str, Any]:
        """The recipe as plain JSON, with the class of every axis."""
        axes = {"storage": self.storage, "objective": self.objective, "labels": self.labels}
        named = {name: {"kind": type(axis).__name__, **asdict(axis)} for name, axis in axes.items()}  # type: ignore[call-overload]
        return {**asdict(self), **named}
