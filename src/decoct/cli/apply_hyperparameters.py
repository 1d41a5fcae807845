"""`decoct apply hyperparameters SOURCE`: order hyper-parameters by small sets, and compare with all of the data."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from decoct.cli.opening import Opening, Output, Source, left_out

if TYPE_CHECKING:
    from decoct.compact.compact_set import CompactSet
    from decoct.data.dataset import Dataset
    from decoct.training.space import Space


MATCHED: dict[str, dict[str, Any]] = {
    "hcdc": {}, "hcdc-length": {"metric": "relative"}, "hcdc-slopes": {"slope_weight": 1.0},
    "hcdc-small": {"full_per_class": 0},
}  # fmt: skip
"""Ways to match hypergradients: settings of the objective that differ from those of the recipe hcdc."""
TRAIN_IPC = 10
"""Rows of each class that networks are trained on where nothing is said."""
HASHED = 12
"""Digits of the hash of a training set in the name of the folder of a validation set made for it."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Condense a training and a validation set, and see whether validation losses on them order hyper-parameters as
    all of the data do. hcdc makes validation sets for this; other methods condense the validation rows as they would
    training rows."""

    source: Source
    """digits, npz:PATH, imagefolder:PATH, parquet:PATH, csv:PATH, hub:NAME or a bare path."""
    train: Annotated[Path | None, left_out("DIR")] = None
    """Folder of a compact set to train candidates on; without it, herding picks one."""
    train_ipc: Annotated[int | None, left_out("N")] = None
    """Rows of each class that herding picks for it; without it, 10. Not together with --train."""
    methods: Annotated[tuple[str, ...], arg(metavar="NAME...")] = ("herding", "hcdc")
    """Selectors and recipes that make validation sets; random is always there. hcdc matches directions of
    hypergradients, hcdc-length their lengths too, hcdc-slopes gradients for all weights beside them; hcdc-small those
    of networks of the small training set, which takes less time and orders worse."""
    ipc: int = 1
    """Rows of each class of a validation set."""
    steps: Annotated[int | None, left_out("N")] = None
    """Steps of each distillation; without it, the recipe's own."""
    space: Annotated[tuple[str, ...], arg(metavar="NAME...")] = ("layer-decay", "smoothing")
    """Hyper-parameters: decay, layer-decay, smoothing, noise, operations (images only), learning-rate."""
    candidates: int = 40
    """How many hyper-parameters are ordered."""
    network: str = "convnet2-w8"
    """Network to train; mlp for features."""
    seeds: int = 3
    """Runs of each candidate."""
    out: Path = Path("decoct-hyperparameters")
    """Folder of sets, trained weights, the result and the report; the same command goes on."""
    device: Annotated[str | None, left_out("NAME")] = None
    """cpu, cuda or cuda:1; without it, the fastest there is."""
    opening: Opening = field(default_factory=Opening)
    output: Output = field(default_factory=Output)


def run(options: Options) -> dict[str, Any]:
    """Make the sets, order the candidates, and report."""
    from decoct.applications.candidates import Search
    from decoct.applications.hyperparameter_search import RANDOM, hyperparameter_search
    from decoct.applications.small_set import require_usable
    from decoct.cli.finding_report import write_finding
    from decoct.cli.plain_maker import require_plain_maker
    from decoct.compact.load import load
    from decoct.evaluation.compare import Maker
    from decoct.machine import usable_device
    from decoct.settings import require_at_least

    space, search = _space(options.space), Search(candidates=options.candidates)
    require_at_least(options, "the search of hyper-parameters", seeds=1, ipc=1)
    picked = _rows_picked(options)
    for name in options.methods:
        require_plain_maker(name, "searching hyper-parameters", "leave the plus out", more=tuple(MATCHED))
    methods = [name for name in dict.fromkeys(options.methods) if name != RANDOM]
    data = options.opening.open(options.source)
    require_usable(data, methods, options.ipc, options.network)
    folder, device = options.out / "train", usable_device(options.device)
    if options.train is None:
        Maker(data, None, None, 0, folder, device).make("herding", picked)
    train = options.train or next(folder.glob(f"herding-ipc{picked}-*"))
    train_set = load(train)
    made = {
        name: _validation_set(options, data, name, train, train_set.content_hash, space, device) for name in methods
    }
    found = hyperparameter_search(
        data, train_set, made, space,
        network=options.network, search=search, seeds=options.seeds, out=options.out, device=device,
    )  # fmt: skip
    return write_finding(options.out, "hyperparameters", found, data)


def _rows_picked(options: Options) -> int:
    """Rows of each class of the training set that herding picks. Raises `ConfigError` where one was given besides."""
    from decoct.errors import ConfigError

    if options.train_ipc is not None and (options.train is not None or options.train_ipc < 1):
        given = "" if options.train is None else f" beside --train {options.train}"
        raise ConfigError(
            "searching hyper-parameters",
            received=f"--train-ipc {options.train_ipc}{given}",
            expected="1 or more rows of each class, for herding to pick where no training set is given",
            remedy="leave out one of the two" if given else "give 1 or more",
        )
    return options.train_ipc or TRAIN_IPC


def _validation_set(
    options: Options, data: Dataset, method: str, train: Path, content: str, space: Space, device: str
) -> CompactSet:  # fmt: skip
    """The validation set of a method: hcdc for the training set in `train`, whose hash is `content`, and this space,
    others from the validation rows."""
    from dataclasses import replace

    from decoct.applications.hyperparameter_search import condensing
    from decoct.distillation.driver import distill
    from decoct.distillation.objective.hypergradient import Hypergradient
    from decoct.distillation.recipes.table import RECIPES, resolve
    from decoct.distillation.recipes.task import Task
    from decoct.evaluation.compare import Maker

    recipe = "hcdc" if method in MATCHED else method
    point = resolve(recipe, Task(data.spec, options.ipc)) if recipe in RECIPES else None
    if point is None or not isinstance(point.objective, Hypergradient):
        maker = Maker(condensing(data), None, options.steps, 0, options.out / "validation", device)
        return maker.make(method, options.ipc)[0]
    settings = {"space": space, "train_set": str(train), **MATCHED.get(method, {})}
    # A run is known by what its training set holds, so that each training set takes a folder of its own.
    name = f"{method}-ipc{options.ipc}-{'-'.join(options.space)}-{content[:HASHED]}"
    # Points of the search are the same for every way to match them on networks of the same rows.
    return distill(
        data, replace(point, objective=replace(point.objective, **settings)), ipc=options.ipc, steps=options.steps,
        network=options.network, device=device, experts=options.out / "validation" / "points",
        out=options.out / "validation" / name,
    )  # fmt: skip


def _space(names: tuple[str, ...]) -> Space:
    """The space of these kinds; raises `UnknownNameError`."""
    from decoct.registry import unknown_name
    from decoct.training.space import KINDS, Space

    for name in names:
        if name not in KINDS:
            raise unknown_name("kind of hyper-parameters", name, sorted(KINDS))
    return Space(tuple(KINDS[name] for name in dict.fromkeys(names)))


def show(result: dict[str, Any]) -> str:
    """The table, and where the report is."""
    return f"{result['table']}\nreport: {Path(result['report']).resolve()}"
