"""Wrong labels found by the scores of one training: the area under the ROC curve against the planted truth.

A draw takes 10,000 training images, replaces each label with some probability by one of the other classes, trains once
while it watches every row, and asks of every score how well it ranks the wrong labels above the right ones. Rows are
watched after each pass, or in their batches during it. Draws are kept as they finish.

    python benchmarks/noise_found.py [--look during]
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from record import save
from selection_table import pool

import decoct
from decoct.evaluation import statistics
from decoct.evaluation.cells import Records
from decoct.training.roc import auc


@dataclass(frozen=True)
class Options:
    """What is run, and where finished draws are kept."""

    source: str = "fashion-mnist"
    """Data set: `mnist`, `fashion-mnist` or `cifar10-10k`."""
    noise: tuple[float, ...] = (0.05, 0.2)
    """Shares of labels that are replaced."""
    draws: int = 5
    """Draws of rows, of wrong labels and of the network, for each share."""
    look: Literal["after", "during"] = "after"
    """When rows are looked at."""
    epochs: int = 20
    """Passes of the training that is watched."""
    network: str = "convnet3-w32"
    """Network that is watched."""
    work: Path = Path("runs/benchmarks/noise_found")
    """Folder of finished draws."""


def main(options: Options) -> None:
    """Run the draws that are missing and write the result."""
    records = Records(options.work / "cells")
    common = {"source": options.source, "epochs": options.epochs, "network": options.network, "look": options.look}
    lines = []
    for noise in options.noise:
        keys = [{**common, "noise": noise, "draw": draw} for draw in range(options.draws)]
        for key in keys:
            if records.find(key) is None:
                records.keep(key, areas(noise, int(key["draw"]), options))
        found = [records.find(key) or {} for key in keys]
        for name in found[0]:
            values = [one[name] for one in found]
            lines.append({"noise": noise, "score": name, "auc": values, "interval": statistics.interval(values)})
    rows = len(pool(options.source, 0.0, options.work)[0].train)
    name = "noise_found" if options.look == "after" else f"noise_found_{options.look}"
    save(name, {**common, "rows": rows, "draws": options.draws, "lines": lines})


def areas(noise: float, draw: int, options: Options) -> dict[str, float]:
    """The area under the curve of every score, wrong labels being the positive rows."""
    data, right = pool(options.source, noise, options.work, draw)
    wrong = torch.from_numpy(np.array([not right[own] for own in data.train.ids.tolist()]))
    table, _ = decoct.score(data, network=options.network, epochs=options.epochs, seed=draw, look=options.look)
    return {name: auc(values, wrong).auc for name, values in table.columns.items()}


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
