"""`decoct apply graph FILE.npz`: order filters of a graph by condensed validation graphs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from decoct.cli.opening import Output, left_out


@dataclass(frozen=True, kw_only=True)
class Options:
    """Condense the validation nodes of a graph, and see whether losses on the small graphs order polynomial filters and
    weight decays as all validation nodes do. hcdc makes graphs for this; test nodes are never read."""

    graph: Annotated[Positional[Path], arg(metavar="FILE.npz")]
    """Nodes with features, edges, labels and a split, as docs/hyperparameter-search.md says."""
    methods: Annotated[tuple[str, ...], arg(metavar="NAME...")] = ("random", "distribution", "hcdc")
    """random (nodes with the edges among them), distribution, hcdc, hcdc-length."""
    ipc: int = 1
    """Nodes of each class of a condensed graph."""
    space: Literal["discrete", "continuous"] = "discrete"
    """discrete: nine filters by name; continuous: the coefficients of hops 0 to 4. Both with a weight decay."""
    decays: Annotated[int | None, left_out("N")] = None
    """For discrete: weight decays of each filter by name; without it, 8."""
    candidates: Annotated[int | None, left_out("N")] = None
    """For continuous: how many candidates; without it, 72."""
    starts: int = 14
    """Trajectories of hyper-parameters along which hypergradients are matched."""
    length: int = 6
    """Points of each."""
    steps: int = 400
    """Steps of each condensation."""
    columns: int = 300
    """Keep so many features, the ones that most nodes have; 0 keeps all, which takes longer."""
    seeds: int = 3
    """Condensed graphs of each kind."""
    out: Path = Path("decoct-graph")
    """Folder of losses, the result and the report; the same command goes on."""
    output: Output = field(default_factory=Output)


def run(options: Options) -> dict[str, Any]:
    """Open the graph, order the candidates, and report."""
    from decoct.applications.graph_model import GraphSearch
    from decoct.applications.graph_orders import order_filters
    from decoct.cli.finding_report import write_finding
    from decoct.data.graph import open_graph
    from decoct.settings import require_at_least

    # Wrong numbers are told before the graph is read.
    require_at_least(options, "the search of graph filters", columns=0, ipc=1, seeds=1)
    _require_own(options)
    given: dict[str, Any] = {name: value for name in OWN if (value := getattr(options, name)) is not None}
    search = GraphSearch(
        discrete=options.space == "discrete", starts=options.starts, length=options.length, steps=options.steps, **given
    )
    graph = open_graph(options.graph)
    found = order_filters(
        graph.most_frequent(options.columns) if options.columns else graph, options.methods, search,
        per_class=options.ipc, seeds=options.seeds, out=options.out,
    )  # fmt: skip
    return write_finding(options.out, "graph", found)


OWN = {"decays": "discrete", "candidates": "continuous"}
"""The space that each of these options belongs to."""


def _require_own(options: Options) -> None:
    """Raise `ConfigError` for an option that belongs to the other space, where nothing would follow from it."""
    from decoct.errors import ConfigError

    for option, space in OWN.items():
        if options.space != space and getattr(options, option) is not None:
            raise ConfigError(
                f"ordering filters of the {options.space} space",
                received=f"--{option} {getattr(options, option)}",
                expected=f"--{option} with --space {space}, and only there",
                remedy=f"leave --{option} out, or ask for --space {space}",
            )


def show(result: dict[str, Any]) -> str:
    """The table, and where the report is."""
    return f"{result['table']}\nreport: {Path(result['report']).resolve()}"
