"""`Routine`: the one fixed way in which an analysis trains its networks."""

from __future__ import annotations

from dataclasses import dataclass

from decoct.settings import require_settings
from decoct.training.config import FitConfig


@dataclass(frozen=True)
class Routine:
    """Plain SGD for a number of steps, nothing augmented: what differs between two networks is then their data alone.

    300 steps of SGD 0.01 with momentum 0.9 are the fixed training of "What is Dataset Distillation Learning?" (Yang,
    Zhu, Deng & Russakovsky, ICML 2024, https://arxiv.org/abs/2406.04284), whole set a step.
    """

    steps: int = 300
    """Steps of each network."""
    lr: float | int = 0.01
    """Step size, the same from first to last."""
    momentum: float | int = 0.9
    """Share of the last step that is kept, in [0, 1)."""
    batch_size: int = 256
    """Rows of a step at most; a smaller set is one batch."""

    def __post_init__(self) -> None:
        require_settings(
            self, "an analysis",
            ("steps", self.steps >= 1, "at least 1"),
            ("lr", self.lr > 0, "a positive number"),
            ("momentum", 0 <= self.momentum < 1, "a number in [0, 1)"),
            ("batch_size", self.batch_size >= 1, "at least 1"),
        )  # fmt: skip

    def config(self, rows: int) -> FitConfig:
        """The training on so many rows: as many whole passes as come nearest to `steps`, at least one."""
        batches = -(-rows // min(self.batch_size, rows))
        return FitConfig(
            optimizer="sgd", lr=float(self.lr), momentum=float(self.momentum), weight_decay=0.0, schedule="constant",
            epochs=max(1, round(self.steps / batches)), batch_size=self.batch_size,
        )  # fmt: skip
