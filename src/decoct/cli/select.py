"""`decoct select SOURCE`: pick a small training set out of the real rows."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import UseAppendAction, arg

from decoct.cli import made, select_explained, select_images, select_table
from decoct.cli.opening import Output, Source, left_out
from decoct.cli.running import Running
from decoct.cli.select_opening import Selecting

if TYPE_CHECKING:
    from decoct.data.dataset import Dataset
    from decoct.selection.by_score import ByScore
    from decoct.selection.selector import Selector


METHOD = "herding"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Pick a small training set out of the real rows; give one of --ipc, --fraction, --count and --bytes."""

    source: Source
    """digits, npz:PATH, imagefolder:PATH, parquet:PATH, csv:PATH, hub:NAME or a bare path; or features:PATH.npy, a
    table of features [n, d] of any size, which is picked from shard by shard without loading it; or images with boxes,
    coco:JSON and voc:FOLDER, of which a COCO json is written."""
    out: Path
    """Folder of the result."""
    method: Annotated[str | None, left_out("NAME")] = None
    """How to pick; `decoct methods` lists the selectors. Without it herding, and csod for images with boxes."""
    ipc: Annotated[int | None, left_out("N")] = None
    """Rows per class."""
    fraction: Annotated[float | None, left_out("SHARE")] = None
    """Share of the rows, above 0 and at most 1."""
    count: Annotated[int | None, left_out("N")] = None
    """Rows in all."""
    bytes: Annotated[int | None, left_out("N")] = None
    """Bytes of the rows in all, as they are stored; rounded down to whole rows."""
    balance: Annotated[str, arg(metavar="class|global|floor:N", help_behavior_hint="(default: class)")] = "class"
    """How classes share --fraction, --count or --bytes: class gives them equal shares; floor:N shares in proportion to
    their sizes, none below N rows; both pick class by class. global picks from all rows at once, classes as they
    come."""
    settings: Annotated[
        UseAppendAction[tuple[tuple[str, ...], ...]], arg(name="set", metavar="NAME=VALUE...", help_behavior_hint="")
    ] = ()
    """Settings of the method, such as --set window=5; `decoct methods` lists those of each with their defaults."""
    features: str = "auto"
    """What rows are compared by: auto, pixels, pca, network, network:NAME, transformers:NAME (a pretrained backbone, by
    its name on the hub or its folder) or npy:PATH (a row for each training row)."""
    score: Annotated[str | None, left_out("NAME")] = None
    """For hardest, easiest, middle and ccs: the score that orders the rows, larger for harder ones, such as aum, el2n
    or forgetting; with --scores a column of the file, the other way round with a minus in front (--score=-NAME)."""
    scores: Annotated[Path | None, left_out("FILE")] = None
    """Read that score from this parquet or csv file (of `decoct score`, or of another tool) instead of training;
    for features:PATH.npy, a .npy file of one number a row."""
    labels: Annotated[Path | None, left_out("FILE")] = None
    """For features:PATH.npy: a .npy file of class numbers, so that classes are balanced (--balance)."""
    shard_rows: Annotated[int | None, left_out("N")] = None
    """Pick from shards of near rows, at most this many in each, which makes quadratic methods linear; 4096 for
    features:PATH.npy, otherwise none."""
    images: Annotated[Path | None, left_out("DIR")] = None
    """For coco:JSON and voc:FOLDER: the folder of the pictures, where they lie in none of the usual places."""
    explain: Annotated[tuple[str, ...], left_out("ID...")] = ()
    """Say of these training rows why they were kept or dropped; ids are those of selection.parquet, and of
    features:PATH.npy row numbers from 0. `decoct explain` says it later."""
    dropped: bool = False
    """Write dropped.parquet beside the result: the nearest kept row of every other row, its distance, and its score."""
    seed: int = 0
    """Everything random follows from this number."""
    device: str = "cpu"
    """cpu, cuda or cuda:1: where networks for features, scores, gradients and rounds are trained."""
    running: Running = field(default_factory=Running)
    opening: Selecting = field(default_factory=Selecting)
    output: Output = field(default_factory=Output)

    @property
    def words(self) -> list[str]:
        """The settings of all --set, each NAME=VALUE."""
        return [word for given in self.settings for word in given]

    def sizes(self) -> dict[str, Any]:
        """The budget as `select` takes it."""
        return {"ipc": self.ipc, "fraction": self.fraction, "count": self.count, "nbytes": self.bytes}


def run(options: Options) -> dict[str, Any]:
    """Select, and say what was picked."""
    from decoct.compact.budget import Budget, floor_of
    from decoct.selection.cost import estimate
    from decoct.selection.driver import select

    if select_images.concerns(options):
        return select_images.run(options)
    # Wrong names and budgets are told before the data are read, which can take minutes.
    method = chosen(options)
    floor_of(options.balance)
    budget = Budget(**options.sizes())
    if options.source.startswith("features:"):
        return select_table.run(options, method)
    select_table.refuse_labels(options.labels, f"selecting from {options.source}")
    data = options.opening.open(options.source)
    select_explained.require_ids(options, data)
    compared = features(options, data, method)
    cost = estimate(
        data, method, budget=budget, features=compared, seed=options.seed, balance=options.balance,
        device=options.device, shard_rows=options.shard_rows,
    )  # fmt: skip
    print(f"estimate: {cost.sentence}", file=sys.stderr)
    with options.running.start() as engine, select_explained.kept(options) as cache:
        picked = select(
            data,
            method,
            **options.sizes(),
            features=compared,
            seed=options.seed,
            balance=options.balance,
            out=options.out,
            device=options.device,
            shard_rows=options.shard_rows,
            cache=cache,
            engine=engine,
        )
        said = select_explained.explained(options, picked, data, method, compared, cache, engine)
    told = {"flops": cost.flops, "seconds": cost.seconds, "passes": cost.passes}
    told["break_even_passes"] = None if cost.kept == cost.rows else cost.break_even
    return {
        **made.facts(picked, data, options.out, options.opening),
        "explanations": said, "estimate": told,
        "dropped": str(options.out / select_explained.DROPPED) if options.dropped else None,
    }  # fmt: skip


def chosen(options: Options) -> Any:
    """The selector with its score and settings, where they are given; raises `UnknownNameError` and `ConfigError`."""
    from dataclasses import replace

    from decoct.errors import ConfigError
    from decoct.selection.by_score import ByScore
    from decoct.selection.methods import selector
    from decoct.selection.settings import with_settings

    select_images.refuse_rows(options)
    name = options.method or METHOD
    found = with_settings(selector(name), options.words, name)
    if isinstance(found, ByScore):
        _require_score(options, found, name)
        # A score of another tool has a name of its own, which no list of ours knows.
        own = options.score is None or options.scores is not None
        return found if own else replace(found, score=options.score)
    if options.score is not None or options.scores is not None:
        raise ConfigError(
            f"selecting by {name}",
            received="--score or --scores",
            expected="a method that looks at scores: hardest, easiest, middle, ccs or dyn-unc",
            remedy="leave --score out, or choose one of these methods",
        )
    return found


def _require_score(options: Options, method: ByScore, name: str) -> None:
    """Raise `ConfigError` for what a method by score would pass over: settings, or features in the score's place."""
    from decoct.errors import ConfigError
    from decoct.selection.features import OWN

    if options.scores is not None:
        # Features beside scores are what --explain and --dropped compare rows by.
        method.require_used()
    elif options.features.startswith(OWN):
        raise ConfigError(
            f"selecting by {name}",
            received=f"--features {options.features}",
            expected="a score of each row: this method compares no features",
            remedy="give scores of your own with --scores FILE (parquet or csv), or leave --features out",
        )


def features(options: Options, data: Dataset, method: Selector) -> Any:
    """What rows are compared by: a kind of features, or the scores of a file."""
    from decoct.selection.by_score import ByScore

    if options.scores is None or not isinstance(method, ByScore):
        return options.features
    from decoct.selection.own_scores import OwnScores
    from decoct.selection.scored import read_scores

    table, name = read_scores(options.scores), options.score or method.score
    for notice in table.notices_for(data, name):
        print(f"note: {notice}", file=sys.stderr)
    return OwnScores(table.for_data(data, name), name, str(options.scores))


def show(result: dict[str, Any]) -> str:
    """What was picked, and why the rows that were asked about are in it or not."""
    if "boxes" in result:
        return select_images.show(result)
    if "of" in result:
        return select_table.show(result)
    dropped = [f"Nearest kept row of every dropped row: {result['dropped']}"] if result["dropped"] else []
    return "\n".join([made.sentence(result), *result["explanations"], *dropped])
