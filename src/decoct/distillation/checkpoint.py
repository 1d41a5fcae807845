"""The state of a run in one file, by the functions that keep a training too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from torch import OutOfMemoryError

from decoct.errors import MismatchError
from decoct.training.checkpoint import (
    Tensors,
    load_checkpoint,
    load_optimizer,
    optimizer_tensors,
    prefixed,
    save_checkpoint,
    under,
)

if TYPE_CHECKING:
    from decoct.distillation.run import Distillation

__all__ = ["Tensors", "load_checkpoint", "load_optimizer", "optimizer_tensors", "prefixed", "save_checkpoint", "under"]

VERSION = 1
"""Of the state of a run: raised where the same tensors come to mean something else. One that says none is the first."""


def save_run(path: Path, run: Distillation) -> None:
    """Write the state of `run`; raises `OutputError`."""
    tensors, facts = run.state()
    save_checkpoint(path, tensors, {"version": VERSION, **facts})


def load_run(path: Path, run: Distillation) -> None:
    """Put `run` where the state in this file was.

    Raises `IntegrityError` for a damaged file, `MismatchError` for a state that another version of decoct wrote, or
    that does not fit the run.
    """
    tensors, facts = load_checkpoint(path)
    version = facts.get("version", 1)
    if version != VERSION:
        raise _unfit(path, f"a state of version {version}")
    try:
        run.load_state(tensors, facts)
    except OutOfMemoryError:
        raise
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        raise _unfit(path, f"a state that does not fit ({type(error).__name__}: {error!s:.300})") from error


def _unfit(path: Path, received: str) -> MismatchError:
    return MismatchError(
        f"resuming from {path}",
        received=received,
        expected=f"the state of this very run, as this version of decoct writes it (version {VERSION})",
        remedy=f"go on with the version of decoct that began the run, or delete {path.parent} to start it anew",
    )
