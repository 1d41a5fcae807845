"""`decoct apply architectures SOURCE`: rank networks by small sets, and compare with training on all rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from decoct.cli.opening import Opening, Output, Source, left_out
from decoct.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Options:
    """Train 48 ConvNets on small sets and on all rows: which set ranks them best, and what time that saves or costs."""

    source: Source
    """digits, npz:PATH, imagefolder:PATH, parquet:PATH, csv:PATH, hub:NAME or a bare path."""
    sets: Annotated[tuple[Path, ...], left_out("DIR...")] = ()
    """Folders of sets made from this source, each a proxy of the name of its folder."""
    methods: Annotated[tuple[str, ...], arg(metavar="NAME...")] = ("k-center", "dm")
    """Selectors and recipes that make sets for the purpose; with --sets none unless named."""
    ipc: int = 10
    """Images per class of those; where only random and herding are asked for, of these."""
    steps: Annotated[int | None, left_out("N")] = None
    """Steps of each distillation; without it, the recipe's own."""
    networks: Annotated[tuple[str, ...], left_out("NAME...")] = ()
    """Networks to rank; without it, 48 ConvNets: depth x width x normalisation x activation x pooling."""
    seeds: int = 3
    """Runs of each network on each set."""
    epochs: int = 60
    """Passes over a small set."""
    full_epochs: int = 12
    """Passes over all rows."""
    early: Annotated[int | None, left_out("N")] = None
    """Passes of early stopping; without it, as many rows are shown as by a small set."""
    out: Path = Path("decoct-architectures")
    """Folder of sets, finished runs, the result and the report; the same command goes on."""
    device: Annotated[str | None, left_out("NAME")] = None
    """cpu, cuda or cuda:1; without it, the fastest there is."""
    opening: Opening = field(default_factory=Opening)
    output: Output = field(default_factory=Output)


def run(options: Options) -> dict[str, Any]:
    """Make the sets, rank, and report."""
    from dataclasses import replace

    from decoct.applications.architecture_search import PROTOCOL, architecture_search, ranked_networks
    from decoct.cli.finding_report import write_finding
    from decoct.files import make_folder

    for name in ("seeds", "epochs", "full_epochs", "ipc", "early"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            raise ConfigError(
                "ranking networks",
                received=f"--{name.replace('_', '-')} {getattr(options, name)}",
                expected="1 or more",
                remedy="give a larger number",
            )
    methods = _methods(options)
    data = options.opening.open(options.source)
    names = ranked_networks(options.networks or None, data)  # before sets are made, which takes minutes
    fit = replace(PROTOCOL.fit, epochs=options.epochs)
    most = options.full_epochs * len(data.train)
    protocol = replace(PROTOCOL, fit=fit, full_epochs=options.full_epochs, full_samples=most)
    found = architecture_search(
        data, _sets(options, methods, data), names, seeds=options.seeds, protocol=protocol,
        early_epochs=options.early, ipc=options.ipc, out=make_folder(options.out), device=options.device,
    )  # fmt: skip
    return write_finding(options.out, "architectures", found, data)


def _methods(options: Options) -> list[str]:
    """What sets are made by: not the baselines, which are there anyway. Raises `ConfigError` for two sets of a name and
    for a recipe with a start, `UnknownNameError`."""
    from decoct.applications.architecture_search import BASELINES, require_proxy_names
    from decoct.cli.plain_maker import require_plain_maker

    default = type(options).__dataclass_fields__["methods"].default
    asked = () if options.sets and options.methods == default else options.methods
    for name in asked:
        require_plain_maker(name, "ranking networks", "leave the plus out, or give --sets the folder of such a set")
    methods = [name for name in dict.fromkeys(asked) if name not in BASELINES]
    names = [folder.resolve().name for folder in options.sets] + methods
    require_proxy_names(names)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            "ranking networks",
            received=f"two sets called {twice[0]!r}",
            expected="sets of different names: a set is called as its folder, or as the method that makes it",
            remedy="rename one of the folders, or leave one out",
        )
    return methods


def _sets(options: Options, methods: list[str], data: Any) -> dict[str, Any]:
    """Sets by name: those of the folders, and those made here."""
    from decoct.compact.load import load
    from decoct.evaluation.compare import Maker
    from decoct.machine import usable_device

    found = {folder.resolve().name: load(folder) for folder in options.sets}
    maker = Maker(data, None, options.steps, 0, options.out / "sets", usable_device(options.device))
    return {**found, **{method: maker.make(method, options.ipc)[0] for method in methods}}


def show(result: dict[str, Any]) -> str:
    """The table, and where the report is."""
    return f"{result['table']}\nreport: {Path(result['report']).resolve()}"
