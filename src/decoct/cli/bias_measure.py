"""`decoct bias measure DIR DATA`: how much of its source's bias a set keeps or adds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from decoct.cli.opening import Folder, Opening, Output, left_out


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train networks on a set and on its source; compare them on rows with and without the attribute of their class.

    The answer is kept in DIR/analysis, where the report finds it.
    """

    folder: Folder
    """Folder of the set."""
    data: Annotated[Positional[str], arg(metavar="DATA")]
    """A folder of `decoct bias make`, or any source whose test rows have groups (--groups)."""
    groups: Annotated[Path | None, left_out("FILE")] = None
    """Parquet file with the columns id and attribute (and aligned, if known) for data of your own; a folder of `decoct
    bias make` has groups of its own."""
    network: Annotated[str | None, left_out("NAME")] = None
    """Network to train; without it, the field's ConvNet for the size of the images."""
    protocol: str = "quick"
    """How networks are trained: quick, dc-300, dsa-1000, soft-300 or soft-1000."""
    seeds: int = 5
    """Networks of each kind; the intervals are over them."""
    out: Annotated[Path | None, left_out("PATH")] = None
    """Where the finding and finished trainings go; without it, DIR/analysis."""
    device: Annotated[str | None, left_out("NAME")] = None
    """cpu, cuda or cuda:1; without it, the fastest there is."""
    opening: Opening = field(default_factory=Opening)
    output: Output = field(default_factory=Output)


def run(options: Options) -> dict[str, Any]:
    """Measure, and write what was found beside the set."""
    from decoct.compact.load import load
    from decoct.errors import ConfigError
    from decoct.trust.bias.groups import Groups
    from decoct.trust.bias.make import load_biased
    from decoct.trust.bias.measure import measure_bias

    own = (Path(options.data) / "bias.json").is_file()
    if own and options.groups is not None:
        raise ConfigError(
            f"measuring bias on {options.data}",
            received=f"--groups {options.groups} beside a folder that has groups of its own",
            expected="either of them",
            remedy=f"leave --groups out, or name the archive alone: npz:{options.data}/biased.npz",
        )
    small, anti, unread = load(options.folder), None, ()
    if own:
        source = load_biased(options.data)
        # Opened with the same options as for the set: a weight or a size is part of what is measured.
        data = options.opening.open(f"npz:{options.data}/biased.npz")
        groups = source.groups
        if data.spec.shape == source.data.spec.shape:
            anti = source.anti
        else:
            shapes = f"{list(source.data.spec.shape)}, those that were opened {list(data.spec.shape)}"
            unread = (f"Without the anti-biased test: its rows are {shapes}; leave out --size and --mode to have it.",)
    elif options.groups is not None:
        data, groups = options.opening.open(options.data), Groups.load(options.groups)
    else:
        raise ConfigError(
            f"measuring bias on {options.data}",
            received="data without groups",
            expected="a folder that decoct bias make wrote, or --groups FILE with the columns id and attribute",
            remedy="say which attribute each row carries: without groups there is no gap to measure",
        )
    out = options.out or options.folder / "analysis"
    found = measure_bias(
        small, data, groups, anti=anti, protocol=options.protocol, network=options.network, seeds=options.seeds,
        out=out / "bias-cells", device=options.device,
    )  # fmt: skip
    found = replace(found, notes=(*found.notes, *unread))
    found.save(out / "bias.json")
    return {"finding": found.to_json(), "out": str(out / "bias.json"), "folder": str(options.folder)}


def show(result: dict[str, Any]) -> str:
    """The finding as a table, and how to see it as a page."""
    from decoct.analysis.finding import Finding

    table = Finding.from_json(result["finding"]).table()
    return f"{table}\n\nfinding: {result['out']} (decoct report {result['folder']} shows it)"
