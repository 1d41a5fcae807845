"""What is said about a set that was just made."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from decoct.durations import show_bytes, show_duration

if TYPE_CHECKING:
    from decoct.cli.opening import Opening
    from decoct.compact.compact_set import CompactSet
    from decoct.data.dataset import Dataset


FEW_STEPS = 20
"""Steps below which a time budget was too short to distil anything."""


def facts(small: CompactSet, data: Dataset, out: Path, opening: Opening) -> dict[str, Any]:
    """Plain JSON about a set: where it is, how large, how much smaller than its source, and what to run next."""
    size, full = small.nbytes, len(data.train) * data.spec.row_bytes
    return {
        "out": str(out),
        "source": data.spec.source,
        "rows": len(small),
        "classes": small.spec.classes,
        "label_kind": small.label_kind,
        "bytes": {"images": size.images, "labels": size.labels, "decoder": size.decoder, "total": size.total},
        "times_smaller": round(full / size.total, 2),
        "content_hash": small.content_hash,
        "provenance": small.provenance,
        "next": shlex.join(["decoct", "evaluate", str(out), "--data", data.spec.source, *opening.words()]),
    }


def sentence(result: dict[str, Any]) -> str:
    """The same for a person, with what to do next."""
    size, out = result["bytes"], result["out"]
    parts = ", ".join(f"{name} {show_bytes(size[name])}" for name in ("images", "labels", "decoder") if size[name])
    return "\n".join(
        [
            f"{out}: {result['rows']} rows of {result['classes']} classes in {show_bytes(size['total'])} ({parts}),",
            f"{result['times_smaller']:g} times smaller than the {result['source']} it was made from.",
            *_too_short(result["provenance"]),
            f"Next: {result['next']}",
        ]
    )


def _too_short(provenance: dict[str, Any]) -> list[str]:
    """A word of warning where networks trained on the real data left no time for the set itself."""
    steps, seconds = provenance.get("steps_done"), provenance.get("budget_seconds")
    if steps is None or seconds is None or steps >= FEW_STEPS:
        return []
    return [
        f"note: {show_duration(seconds)} were enough for {steps} step{'' if steps == 1 else 's'}: training on the real "
        "data took the rest. Give a larger --budget, or a number of --steps"
    ]
