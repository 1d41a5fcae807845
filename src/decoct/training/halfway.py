"""A training on its way: kept between its passes, so that one that was killed goes on and ends with the same bits."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from decoct.errors import IntegrityError
from decoct.training.checkpoint import Tensors, load_checkpoint, prefixed, save_checkpoint, under

SECONDS = 60.0
"""Seconds between two savings at least."""
SHARE = 0.05
"""Share of the time that savings may take: what is collected grows with every pass."""


class Halfway:
    """The file `path` of the training of one seed, and what its caller collects between the passes.

    `facts` say of what the training is; a file of others, or a damaged one, is not used. `collected()` gives what has
    to come back beside the training itself, as tensors on the CPU that are contiguous, apart from each other and never
    changed; `restore` takes them back.
    """

    seconds = SECONDS

    def __init__(
        self, path: Path, facts: dict[str, Any], collected: Callable[[], Tensors], restore: Callable[[Tensors], None]
    ) -> None:
        self._path, self._facts = path, json.dumps(facts, sort_keys=True)
        self._collected, self._restore = collected, restore
        self._saved, self._took = time.monotonic(), 0.0

    def read(self) -> tuple[Tensors, dict[str, Any]] | None:
        """What the training itself saved last, or None where there is nothing to go on from."""
        if not self._path.exists():
            return None
        try:
            tensors, found = load_checkpoint(self._path)
        except IntegrityError:
            return None
        if found["of"] != self._facts:
            return None
        self._restore(under("collected", tensors))
        return under("training", tensors), found["training"]

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() - self._saved >= max(self.seconds, self._took / SHARE)

    def save(self, tensors: Tensors, facts: dict[str, Any]) -> None:
        """Keep the training with what is collected now; raises `OutputError`."""
        start = time.monotonic()
        told = {"of": self._facts, "training": facts}
        save_checkpoint(self._path, prefixed("training", tensors), told, prefixed("collected", self._collected()))
        self._saved = time.monotonic()
        self._took = self._saved - start

    def drop(self) -> None:
        """The training is done and stored elsewhere."""
        self._path.unlink(missing_ok=True)
