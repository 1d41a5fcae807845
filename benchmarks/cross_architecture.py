"""Sets of Fashion-MNIST at 10 images per class on other networks and under other augmentations, with fair scores.

Each set comes from three minutes of one core with a ConvNet-3 of width 32 (the folders of `recipe_table.py`, made
where they are missing). Students are narrow; all together takes about 40 minutes of one core, the sets included. Every
student is a cell that is never trained twice: stop the script at any time and start it again.

    python benchmarks/cross_architecture.py
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro
from real_sets import real_set
from recipe_table import Cell, made
from recipe_table import Options as Table
from record import save

from decoct.data.dataset import Dataset
from decoct.evaluation.fair_scores import fair_scores_of
from decoct.evaluation.matrix import Matrix, evaluate_matrix
from decoct.evaluation.protocol import PROTOCOLS
from decoct.evaluation.scorecard import entry_to_json

PROTOCOL = replace(PROTOCOLS["quick"], name="quick-short-full", full_samples=120_000)
"""quick, whose full-data line and teacher take 2 passes: what this machine finishes."""
RECIPES = ("ncfm", "dm")
HOME = "convnet3-w16"
"""The kind of network that the sets were made with."""
NETWORKS = (HOME, "mlp", "convnet2-w16", "convnet3-w16-bn", "vgg11-w8", "vit3-w48", "resnet18-w4", "alexnet-w8",
            "convnet4-w16", "convnet3-w32")  # fmt: skip
AUGMENTATIONS = ("protocol", "none", "cutmix", "randaugment", "dsa")


@dataclass(frozen=True)
class Options:
    """Which cells, and where their work is kept."""

    source: str = "fashion-mnist"
    """Data set."""
    ipc: int = 10
    """Images per class."""
    seeds: int = 3
    """Students for each field."""
    work: Path = Path("runs/benchmarks")
    """Folder of sets and finished students."""
    networks: tuple[str, ...] = NETWORKS
    """Networks of the first half."""
    augmentations: tuple[str, ...] = AUGMENTATIONS
    """Augmentations of the second half, on the home network; two or more."""
    recipes: tuple[str, ...] = RECIPES
    """Which sets."""
    full: bool = True
    """Also train on all of the data, for the label-robust score."""


def main(options: Options) -> None:
    """Networks first, then augmentations on the home network, set by set; the result is written after each step."""
    data = real_set(options.source, options.work)
    found: dict[str, Any] = {}
    for recipe in options.recipes:
        small = made(Cell(options.source, options.ipc, recipe, 0), Table(work=options.work / "recipes"), data)
        own: dict[str, Any] = {}
        found[recipe] = own
        for count in range(1, len(options.networks) + 1):
            wide = _judged(small, data, options, options.networks[:count], ("protocol",), ("random",))
            own["networks"] = _shown(wide, options.source)
            _write(options, data, found)
        home = _judged(small, data, options, (HOME,), options.augmentations[:1], ("random",))
        for count in range(2, len(options.augmentations) + 1):
            home = _judged(small, data, options, (HOME,), options.augmentations[:count], ("random",))
            own["augmentations"] = _shown(home, options.source)
            own["fair_scores"] = [score.to_json() for score in fair_scores_of(home)]
            _write(options, data, found)
        if options.full:
            # The full data once, under the protocol itself: nothing else asks for it.
            full = _judged(small, data, options, (HOME,), ("protocol",), ("random", "full"))
            whole = Matrix({**home.scorecards, "protocol": full.first})
            own["fair_scores"] = [score.to_json() for score in fair_scores_of(whole)]
            own["full"] = entry_to_json(next(entry for entry in full.first.entries if entry.name == "full"))
            _write(options, data, found)


def _shown(matrix: Matrix, source: str) -> dict[str, Any]:
    """The matrix as JSON, the data by name: where the file lies says nothing to others."""
    value = matrix.to_json()
    for card in value["scorecards"].values():
        card["data"]["source"] = source
    return value


def _write(options: Options, data: Dataset, found: dict[str, Any]) -> None:
    save(
        "cross_architecture",
        {"source": options.source, "ipc": options.ipc, "seeds": options.seeds, "protocol": PROTOCOL.facts(),
         "rows": {"train": len(data.train), "val": len(data.val), "test": len(data.test)}, "sets": found},
    )  # fmt: skip


def _judged(
    small: Any, data: Dataset, options: Options, networks: tuple[str, ...], augmentations: tuple[str, ...],
    baselines: tuple[str, ...],
) -> Matrix:  # fmt: skip
    return evaluate_matrix(
        small, data, PROTOCOL, networks, options.seeds, augmentations=augmentations, baselines=baselines,
        out=options.work / "cross_architecture", device="cpu",
    )  # fmt: skip


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
