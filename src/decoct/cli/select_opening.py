"""How `decoct select` and `decoct explain` open a source: with a cache in which more than images is kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from decoct.cli.opening import Opening, left_out


@dataclass(frozen=True, kw_only=True)
class Selecting(Opening):
    """How the source is read."""

    cache: Annotated[Path | None, left_out("DIR")] = None
    """Folder in which features, trained networks and what they said of every row, finished rounds of active and
    deepdistal, and the shards of features:PATH.npy are kept between runs, beside decoded images."""
