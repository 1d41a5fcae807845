"""The log of every visit to test data: the proof, in the folder itself, that nothing was chosen on them."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decoct.files import writing

LOG_NAME = "test_reads.jsonl"


@dataclass(frozen=True)
class Reads:
    """One line for each visit to test data, written before they are read; nothing without a folder.

    A line is `{"cell": name of the run's file, "rows": ..., "network": ..., "seed": ..., "rows_of": ..., "measured":
    ...}`. A run visits its test data once, after training, and measures the weights after the last pass and, where
    these are others, those that validation chose: `measured` is 1 or 2, how often it passed over the rows. Nothing is
    chosen in between. A second line of a cell means that the run was done again with the same seed: its file was lost
    or damaged, or the process was killed after reading. The scorecard holds the largest count.
    """

    folder: Path | None

    @property
    def path(self) -> Path | None:
        return None if self.folder is None else self.folder / LOG_NAME

    def note(self, cell: str, rows: int, facts: Mapping[str, Any]) -> None:
        """Say that the run `cell` is about to visit `rows` test rows; raises `OutputError`."""
        if self.path is None:
            return
        line = json.dumps({"cell": cell, "rows": rows, **facts}, allow_nan=False)
        with writing(self.path), self.path.open("a", encoding="utf-8") as file:
            # A line that a kill cut short must not swallow the next one.
            cut = file.tell() > 0 and self.path.read_bytes()[-1:] != b"\n"
            file.write(("\n" if cut else "") + line + "\n")
            file.flush()
            os.fsync(file.fileno())

    def counts(self) -> Counter[str]:
        """How often each run visited test data; lines that a kill cut short count for nothing."""
        found: Counter[str] = Counter()
        if self.path is None or not self.path.exists():
            return found
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                found[str(json.loads(line)["cell"])] += 1
            except (ValueError, KeyError, TypeError):
                continue
        return found

    def facts(self) -> dict[str, int]:
        """For a scorecard: how many runs in this folder visited test data, and how often one of them did at most."""
        counts = self.counts()
        return {"runs": len(counts), "most_reads_of_a_run": max(counts.values(), default=0)}
