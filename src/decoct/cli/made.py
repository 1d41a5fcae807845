"""What is said about a set that was just made."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from decoct.durations import show_bytes

if TYPE_CHECKING:
    from decoct.cli.opening import Opening
    from decoct.compact.compact_set import CompactSet
    from decoct.data.dataset import Dataset


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
            f"Next: {result['next']}",
        ]
    )
