"""What a recipe is asked for: its schedule may depend on the data, the size and the machine at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from decoct.data.dataset import DataSpec
from decoct.networks.build import default_network

Preset = Literal["cpu", "paper"]


@dataclass(frozen=True)
class Task:
    """`ipc` stored images for every class of data like `spec`, at one of two scales.

    `cpu` is minutes on two cores; `paper` is the published setting, for a GPU.
    """

    spec: DataSpec
    ipc: int
    preset: Preset = "cpu"
    seconds: float = 1200.0
    """Time there is; what `auto` reckons with."""
    rate: float = 1e11
    """Floating-point operations a second of the machine, where it was measured."""
    asked: str | None = None
    """The network that the caller names; the run has it in place of the recipe's. A recipe reads it where it says by
    name which networks it trains on the real data."""

    def network(self, cpu_width: int, paper_width: int = 128) -> str:
        """The field's ConvNet for these images at the width of the preset; features get an MLP as it is."""
        name = default_network(self.spec.shape)
        width = cpu_width if self.preset == "cpu" else paper_width
        return f"{name}-w{width}" if name.startswith("convnet") else name

    @property
    def colour(self) -> bool:
        """Whether the rows are images of more than one channel."""
        return self.spec.is_image and self.spec.shape[0] > 1
