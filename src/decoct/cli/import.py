"""`decoct import PATH --data SOURCE`: anyone's published set, so that it can be judged."""  # noqa: N999

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from decoct.cli.opening import Opening, Output, left_out


@dataclass(frozen=True, kw_only=True)
class Options:
    """Read a published set (.pt, .npz, .safetensors, class folders) without running code that stands in it."""

    path: Annotated[Positional[Path], arg(metavar="PATH")]
    """The file, or the folder of class folders or of images_best.pt."""
    data: str
    """The source that the set was made from: npz:PATH, parquet:PATH, ..."""
    out: Path
    """Folder of the imported set."""
    scale: str = "auto"
    """Of its images: unit, bytes, data, zca, or the mean and deviation of cifar10, cifar100, mnist, svhn, ..."""
    labels: str = "auto"
    """What its labels are: hard, probabilities, logits, scores, or ordered (none, class by class)."""
    factor: int = 1
    """Each image is a grid of N by N (IDC, NCFM: 2)."""
    experiment: int = 0
    """Which one of several in the file (DC, DSA, DM)."""
    bits: int = 8
    """Bits in which a value is kept and counted: 8, 16 or 32."""
    name: Annotated[str | None, left_out("NAME")] = None
    """What it is called in tables; without it, the name of the file."""
    opening: Opening = field(default_factory=Opening)
    output: Output = field(default_factory=Output)


def run(options: Options) -> dict[str, Any]:
    """Import and save."""
    from decoct.compact.imports.importing import assumptions, import_set
    from decoct.compact.save import require_place

    require_place(options.out)
    data = options.opening.open(options.data)
    small = import_set(
        options.path, data.spec, scale=options.scale, labels=options.labels, factor=options.factor,
        experiment=options.experiment, bits=options.bits, name=options.name,
    )  # fmt: skip
    small.save(options.out)
    size = small.nbytes
    return {
        "out": str(options.out),
        "name": small.provenance["name"],
        "rows": len(small),
        "label_kind": small.label_kind,
        "layout": small.provenance["imported"]["layout"],
        "bytes": {"images": size.images, "labels": size.labels, "decoder": size.decoder, "total": size.total},
        "assumed": assumptions(small),
        "next": shlex.join(["decoct", "evaluate", str(options.out), "--data", options.data, *options.opening.words()]),
    }


def show(result: dict[str, Any]) -> str:
    """What was read, what had to be assumed, and what to run next."""
    lines = [
        f"{result['out']}: {result['name']}, {result['rows']} rows with {result['label_kind']} labels, "
        f"{result['bytes']['total']:,} bytes ({result['layout']})",
        *(f"assumed: {one}" for one in result["assumed"]),
        f"Next: {result['next']}",
    ]
    return "\n".join(lines)
