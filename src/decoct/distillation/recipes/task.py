"""What a recipe is asked for: its schedule may depend on the data, the size and the machine at hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from decoct.data.dataset import DataSpec
from decoct.networks.build import default_network, network
from decoct.networks.count import flops_forward
from decoct.settings import require_choices

Preset = Literal["cpu", "paper"]
TEACHERS_SHARE = 0.5
"""Share of a run's time that networks may take which are trained on the real rows before the first step."""


def assumed_speed() -> float:
    """Floating-point operations a second of a machine that nobody measured."""
    return 1e11


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
    speed: Callable[[], float] = assumed_speed
    """Floating-point operations a second of the machine; measuring takes seconds, so only who needs the number asks."""
    rows: int | None = None
    """Real training rows of a run that ends by the clock; none where nothing has to be cut short for it."""
    asked: str | None = None
    """The network that the caller names; the run has it in place of the recipe's. A recipe reads it where it says by
    name which networks it trains on the real data."""

    def __post_init__(self) -> None:
        require_choices(self)

    def network(self, cpu_width: int, paper_width: int = 128) -> str:
        """The field's ConvNet for these images at the width of the preset; features get an MLP as it is."""
        name = default_network(self.spec.shape)
        width = cpu_width if self.preset == "cpu" else paper_width
        return f"{name}-w{width}" if name.startswith("convnet") else name

    @property
    def colour(self) -> bool:
        """Whether the rows are images of more than one channel."""
        return self.spec.is_image and self.spec.shape[0] > 1

    def passes(self, wanted: int, *networks: str, rows: int | None = None, share: float = TEACHERS_SHARE) -> int:
        """Passes over the real rows to train each of `networks` for: `wanted`, or at least 1 that fits the time.

        A run that ends by the clock keeps what is beyond `share` of its time for the set itself. A row that is trained
        on costs about three of the plain forward passes by which speed is measured; the estimate is good to a factor
        of two, since speed is rounded to a power of two. `rows` are those of one pass where they are not all real ones.
        """
        if self.rows is None:
            return wanted
        return max(1, min(wanted, int(self._passes_there_is_time_for(networks, rows or self.rows, share))))

    def fitting(self, *networks: str) -> tuple[str, ...]:
        """The first of `networks`, as many as have time for a pass over the real rows each; one at least."""
        if self.rows is None:
            return networks
        counts = range(len(networks), 1, -1)
        most = next((n for n in counts if self._passes_there_is_time_for(networks[:n], self.rows) >= 1), 1)
        return networks[:most]

    def _passes_there_is_time_for(self, networks: Sequence[str], rows: int, share: float = TEACHERS_SHARE) -> float:
        shape, classes = self.spec.shape, self.spec.classes
        row = sum(3 * flops_forward(network(name, shape, classes, 0), shape) for name in networks)
        return share * self.seconds * self.speed() / (row * rows)
