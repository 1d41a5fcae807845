"""`decoct demo`: a comparison on real handwritten digits that comes with the installation."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from decoct.cli import compare
from decoct.cli.opening import Output, left_out

NETWORK = "convnet3-w64"
"""Half of the default width, which saves time; students that are narrower still fit no scores in so few steps."""
METHODS = ("random", "herding", "k-means", "dm", "auto")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Five methods at 1 and 5 images per class on 1,797 real handwritten digits, judged by narrow networks."""

    out: Path = Path("decoct-demo")
    """Folder of sets, finished runs, comparison.json and report.html."""
    seeds: int = 3
    """Networks that judge each set."""
    budget: str = "8s"
    """Time for each of the four distillations."""
    device: Annotated[str | None, left_out("NAME")] = None
    """cpu, cuda or cuda:1; without it, the fastest there is."""
    output: Output = field(default_factory=Output)


def run(options: Options) -> dict[str, Any]:
    """What `decoct compare digits` does, at sizes that suit a first look."""
    asked = compare.Options(
        source="digits", methods=METHODS, ipc=(1, 5), seeds=options.seeds, budget=options.budget, out=options.out,
        device=options.device, networks=(NETWORK,), baselines=("random", "random+teacher", "full"),
    )  # fmt: skip
    return compare.run(asked)


show = compare.show
