"""`decoct bias weigh SOURCE`: weights of the training rows that undo a bias."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from decoct.cli.bias_weights import require_no_weights
from decoct.cli.opening import Opening, Output, Source, left_out


@dataclass(frozen=True, kw_only=True)
class Options:
    """Weigh the rows of a source against its bias; distill, select and evaluate take the file as --weights."""

    source: Source
    """digits, npz:PATH, imagefolder:PATH, parquet:PATH, csv:PATH, hub:NAME or a bare path."""
    out: Path = Path("weights.parquet")
    """Where the weights go: a parquet file with the columns id and weight."""
    by: Literal["density", "errors", "groups"] = "density"
    """density: rare rows of a class in an early network's features; errors: rows that it gets wrong; groups: known
    groups, each with the same weight."""
    groups: Annotated[Path | None, left_out("FILE")] = None
    """For groups: a parquet file with the columns id and attribute."""
    bandwidth: Annotated[float | None, left_out("H")] = None
    """For density: width of the kernel, in distances of features of length 1; without it, from the data."""
    share: Annotated[float | None, left_out("SHARE")] = None
    """For errors: weight of the wrong rows in a class; without it, 1 - 1 / min(classes, 10)."""
    seed: int = 0
    """Everything random follows from this number."""
    opening: Opening = field(default_factory=Opening)
    output: Output = field(default_factory=Output)


def run(options: Options) -> dict[str, Any]:
    """Weigh, write, and say how uneven the weights are."""
    from decoct.machine import usable_device
    from decoct.trust.bias.groups import Groups
    from decoct.trust.bias.reweight import by_density, by_early_errors, by_groups

    _require_own(options)
    groups = None if options.groups is None else Groups.load(options.groups)
    data = options.opening.open(options.source)
    device = usable_device(None)
    if groups is not None:
        table = by_groups(data, groups)
    elif options.by == "density":
        table = by_density(data, bandwidth=options.bandwidth, seed=options.seed, device=device)
    else:
        table = by_early_errors(data, share=options.share, seed=options.seed, device=device)
    table.save(options.out)
    own = data.with_weights(table).train.weights
    effective = 1.0 if own is None else float(own.sum() ** 2 / (own**2).sum() / len(own))
    return {
        "out": str(options.out), "by": options.by, "rows": len(table), "source": data.spec.source,
        "largest": 1.0 if own is None else float(own.max()), "effective_share": effective,
    }  # fmt: skip


OWN = {"groups": "groups", "bandwidth": "density", "share": "errors"}
"""The way to weigh that each of these options belongs to."""


def _require_own(options: Options) -> None:
    """Raise `ConfigError` for --by groups without them, and for an option that belongs to another way to weigh."""
    from decoct.errors import ConfigError

    called = f"weighing rows by {options.by}"
    require_no_weights(options.opening, called, "the file that this command writes stands in for them")
    if options.by == "groups" and options.groups is None:
        raise ConfigError(
            called,
            received="no --groups",
            expected="--groups FILE with --by groups",
            remedy="give the groups.parquet of the data, or --by density, which needs none",
        )
    for option, by in OWN.items():
        if options.by != by and getattr(options, option) is not None:
            raise ConfigError(
                called,
                received=f"--{option} {getattr(options, option)}",
                expected=f"--{option} with --by {by}, and only there",
                remedy=f"leave --{option} out, or weigh with --by {by}",
            )


def show(result: dict[str, Any]) -> str:
    """How uneven they are, and what to run next."""
    return "\n".join(
        [
            f"{result['out']}: weights of {result['rows']} rows of {result['source']} by {result['by']}; the heaviest "
            f"counts {result['largest']:.3g} times, all together as much as {result['effective_share']:.0%} of them",
            f"Next: decoct distill {result['source']} --weights {result['out']} --out RUN",
        ]
    )
