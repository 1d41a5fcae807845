"""`decoct distill SOURCE`: synthesise a small training set."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from decoct.cli import made
from decoct.cli.opening import Opening, Output, Source, left_out


@dataclass(frozen=True, kw_only=True)
class Options:
    """Synthesise a small training set. The same command again goes on where it was stopped."""

    source: Source
    """digits, npz:PATH, imagefolder:PATH, parquet:PATH, csv:PATH, hub:NAME or a bare path."""
    out: Path
    """Folder of the run; the set, its metrics and its checkpoints go there."""
    recipe: str = "auto"
    """How to distill; auto chooses by the size, the time and the speed of this machine; `decoct methods` lists all."""
    ipc: int = 10
    """Images per class."""
    budget: Annotated[str | None, left_out("TIME")] = None
    """Time, such as 90s; not with --steps. Without either, auto takes 20min at most, another recipe its own steps."""
    steps: Annotated[int | None, left_out("N")] = None
    """Steps of the distillation, in place of a time."""
    looks: int = 8
    """Looks at the validation split, evenly over the run; the best set seen is kept, with 1 that of the last step."""
    seed: int = 0
    """Everything random follows from this number."""
    network: Annotated[str | None, left_out("NAME")] = None
    """Network to match in, such as convnet3 or package.module:factory; without it, one that fits the images."""
    preset: Literal["cpu", "paper"] = "cpu"
    """Scale of the recipe: minutes on two cores, or as published, for a GPU."""
    storage: Annotated[str | None, left_out("NAME")] = None
    """What is kept: pixels, multiformation, patches, bases, generator; without it, the recipe's own choice."""
    objective: Annotated[str | None, left_out("NAME")] = None
    """What is matched, such as characteristic; `decoct methods` lists all. Without it, the recipe's own choice."""
    labels: Annotated[str | None, left_out("NAME")] = None
    """What is taught: hard, learned, teacher; without it, the recipe's own choice."""
    augment: Annotated[str | None, left_out("FAMILIES")] = None
    """Picture changes under which rows are matched, if at all: none, or families of color, crop, cutout, flip, scale,
    rotate joined by underscores; leave out flip for digits in colour. Without it, the recipe's own choice; what a
    recipe would not use is refused."""
    experts: Annotated[Path | None, left_out("DIR")] = None
    """Folder that runs share for networks trained on the real data, such as experts of mtt; without it, in --out."""
    track: Annotated[Literal["tensorboard"] | None, left_out("tensorboard")] = None
    """Also write the metrics for this tool."""
    device: Annotated[str | None, left_out("NAME")] = None
    """cpu, cuda or cuda:1; without it, the fastest there is."""
    opening: Opening = field(default_factory=Opening)
    output: Output = field(default_factory=Output)


def run(options: Options) -> dict[str, Any]:
    """Distill, and say what was made."""
    from decoct.augment.siamese import Siamese
    from decoct.distillation.driver import distill
    from decoct.distillation.recipes.table import LABELS, OBJECTIVES, RECIPES, STORAGES

    # A wrong name or family is told before the data are read, which can take minutes.
    axes = ((STORAGES, options.storage), (OBJECTIVES, options.objective), (LABELS, options.labels))
    for registry, name in ((RECIPES, options.recipe), *axes):
        _ = name is None or registry[name]
    Siamese(options.augment or "none")
    data = options.opening.open(options.source)
    small = distill(
        data,
        options.recipe,
        ipc=options.ipc,
        budget=options.budget,
        steps=options.steps,
        looks=options.looks,
        seed=options.seed,
        network=options.network,
        storage=options.storage,
        objective=options.objective,
        labels=options.labels,
        augment=options.augment,
        out=options.out,
        experts=options.experts,
        device=options.device,
        track=options.track,
        preset=options.preset,
    )
    return made.facts(small, data, options.out, options.opening)


show = made.sentence
