"""`decoct bias make SOURCE`: a biased set from any labelled images."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from decoct.cli.bias_weights import require_no_weights
from decoct.cli.opening import Opening, Output, Source, left_out


@dataclass(frozen=True, kw_only=True)
class Options:
    """Make a biased set: in training, an attribute of the picture goes with its class; in the test, it does not."""

    source: Source
    """digits, npz:PATH, imagefolder:PATH, parquet:PATH, hub:NAME or a bare path; images."""
    out: Path
    """Folder of the biased set."""
    kind: Literal["coloured", "corrupted"] = "coloured"
    """coloured: each class has its colour; corrupted: each class has its kind of damage (noise, blur, fog, ...)."""
    correlation: float = 0.95
    """Share of the training rows of a class that carry its attribute, from 0 to 1; 1 / min(classes, 10) is no bias:
    there are 10 attributes at most."""
    severity: int = 4
    """How strong the cue is, from 1 to 4."""
    rows: Annotated[int | None, left_out("N")] = None
    """At most so many training rows, one for each class or more; without it, all."""
    seed: int = 0
    """Everything random follows from this number."""
    opening: Opening = field(default_factory=Opening)
    output: Output = field(default_factory=Output)


def run(options: Options) -> dict[str, Any]:
    """Make the set, and say what is in it."""
    from decoct.trust.bias.make import Bias, make_biased

    # Wrong options are told before the data are read, which can take minutes.
    require_no_weights(options.opening, "making a biased set", "weigh the set that is made: decoct bias weigh")
    bias = Bias(options.kind, options.correlation, options.severity, options.seed, options.rows)
    made = make_biased(options.opening.open(options.source), bias, options.out)
    return {"out": str(options.out), "open": f"npz:{options.out}/biased.npz", **made.facts}


def show(result: dict[str, Any]) -> str:
    """The shares, and what to run next."""
    said = {"train": "training", "val": "validation", "test": "unbiased test", "anti-biased": "anti-biased test"}
    lines = [
        f"{said[part]:<17}{facts['rows']:>7} rows, {facts['aligned']:6.1%} with the attribute of their class, which "
        f"tells {max(0.0, facts['bits']):.2f} bits about it"
        for part, facts in result["splits"].items()
    ]
    return "\n".join(
        [
            f"{result['out']}: {result['source']} with {result['kind']} classes, severity {result['severity']}",
            *lines,
            f"groups           {result['out']}/groups.parquet, pictures {result['out']}/preview.png",
            f"Next: decoct distill {result['open']} --out RUN; decoct bias measure RUN {result['out']}",
        ]
    )
