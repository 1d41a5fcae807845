"""The state of a run in one file, by the functions that keep a training too."""

from __future__ import annotations

from decoct.training.checkpoint import (
    Tensors,
    load_checkpoint,
    load_optimizer,
    optimizer_tensors,
    prefixed,
    save_checkpoint,
    under,
)

__all__ = ["Tensors", "load_checkpoint", "load_optimizer", "optimizer_tensors", "prefixed", "save_checkpoint", "under"]
