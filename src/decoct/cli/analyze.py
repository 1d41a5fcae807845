"""`decoct analyze WHAT DIR SOURCE`: ask one question about a set."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, UseAppendAction, arg

from decoct.cli.opening import Folder, Opening, Output, Source, left_out

if TYPE_CHECKING:
    from decoct.analysis.routine import Routine
    from decoct.analysis.study import Analysis


@dataclass(frozen=True, kw_only=True)
class Options:
    """Ask one question about a set and keep the answer in DIR/analysis, where the report finds it.

    WHAT is mixing (does it stay good when real images are added?), substitutability (do networks of the one know the
    images of the other?), agreement (like early training, or like fewer images?), curvature (what can it still teach?),
    influence (what does each image teach?), scaling (images against soft labels), removed (is a class without images
    learned from labels?), or all.
    """

    what: Annotated[Positional[str], arg(metavar="WHAT")]
    """mixing, substitutability, agreement, curvature, influence, scaling, removed or all."""
    folder: Folder
    """Folder of the set."""
    source: Source
    """The source that the set was made from: digits, npz:PATH, imagefolder:PATH, ..."""
    settings: Annotated[
        UseAppendAction[tuple[tuple[str, ...], ...]], arg(name="set", metavar="NAME=VALUE...", help_behavior_hint="")
    ] = ()
    """Settings of the one analysis, such as --set added=0,5,20; `decoct methods` lists those of each with their
    defaults."""
    network: Annotated[str | None, left_out("NAME")] = None
    """Network to train; without it, the field's ConvNet for the size of the images."""
    seeds: int = 5
    """Networks of each kind; the intervals are over them."""
    steps: int = 300
    """Steps that each network is trained for."""
    lr: float = 0.01
    """Step size of every training."""
    out: Annotated[Path | None, left_out("PATH")] = None
    """Where the findings and finished trainings go; without it, DIR/analysis."""
    device: Annotated[str | None, left_out("NAME")] = None
    """cpu, cuda or cuda:1; without it, the fastest there is."""
    opening: Opening = field(default_factory=Opening)
    output: Output = field(default_factory=Output)

    @property
    def words(self) -> list[str]:
        """The settings of all --set, each NAME=VALUE."""
        return [word for given in self.settings for word in given]


def run(options: Options) -> dict[str, Any]:
    """Analyse the set and write what was found beside it; of all, those that set, network and machine allow and whose
    trainings come to an end."""
    from decoct.analysis.table import ANALYSES
    from decoct.registry import unknown_name

    if options.what not in ("all", *ANALYSES):
        raise unknown_name("analysis", options.what, [*sorted(ANALYSES), "all"])
    from decoct.analysis.analyze import analyze
    from decoct.analysis.routine import Routine
    from decoct.compact.load import load
    from decoct.errors import ConfigError, CurvatureError, DataError, DivergenceError, MemoryEstimateError

    routine = Routine(steps=options.steps, lr=options.lr)
    names = sorted(ANALYSES) if options.what == "all" else [options.what]
    asked = [_asked(options, name, routine) for name in names]
    small = load(options.folder)
    data = options.opening.open(options.source)
    out = options.out or options.folder / "analysis"
    found, refused = [], {}
    for name, one in zip(names, asked, strict=True):
        try:
            found.append(
                analyze(one, small, data, network=options.network, seeds=options.seeds, out=out, device=options.device)
            )
        except (ConfigError, DataError, MemoryEstimateError, DivergenceError, CurvatureError) as error:
            refused[name] = error
    if refused and not found:
        raise next(iter(refused.values()))
    return {
        "findings": [one.to_json() for one in found], "out": str(out), "folder": str(options.folder),
        "refused": {name: f"{error.received}; {error.expected}; {error.remedy}" for name, error in refused.items()},
    }  # fmt: skip


def _asked(options: Options, name: str, routine: Routine) -> Analysis:
    """The analysis with its settings; raises `UnknownNameError` and `ConfigError` before anything is read."""
    from decoct.analysis.table import ANALYSES
    from decoct.errors import ConfigError
    from decoct.selection.settings import with_settings

    if options.what == "all" and options.words:
        raise ConfigError(
            "asking all analyses", received=f"--set {' '.join(options.words)}",
            expected="no settings: each analysis has its own", remedy="ask that one analysis by its name",
        )  # fmt: skip
    return with_settings(ANALYSES.load(name)(routine=routine), options.words, name)


def show(result: dict[str, Any]) -> str:
    """Each finding as a table, and how to see it as a page."""
    from decoct.analysis.finding import Finding

    tables = [Finding.from_json(value).table() for value in result["findings"]]
    tables += [f"{name} has no answer: {why}" for name, why in result["refused"].items()]
    return "\n\n".join([*tables, f"findings: {result['out']} (decoct report {result['folder']} shows them)"])
