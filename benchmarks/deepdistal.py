"""DEEPDISTAL on CIFAKE: detectors of generated images against the budget, beside random rows, with nothing leaking.

Subjects are the groups: those of the test rows occur neither in the pool nor in validation. A second test part has the
same real images beside fakes of a generator that no detector has seen, an autoencoder trained on the pool's real
images. One loop a seed chooses the largest budget; smaller ones are its prefixes. Each seed draws other subjects, and
random rows of the same budget, class by class, from the same pool. Judged networks take the same number of steps at
every budget; test rows are read once. Every selection and every judged cell is kept: stop at any time, start again.

    python benchmarks/deepdistal.py
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from real_sets import DATA
from record import save

import decoct
from decoct.compact.coreset import Coreset
from decoct.data.dataset import Dataset, Split
from decoct.data.groups import split_by_group
from decoct.data.sources.tables import column_of
from decoct.evaluation import statistics
from decoct.evaluation.cells import Records
from decoct.evaluation.real_or_fake import judge_detector, one_split
from decoct.networks.decoder_networks import decoder_network, run_decoder
from decoct.selection.deepdistal import DeepDistal
from decoct.training.autoencoder import train_autoencoder

REAL, FAKE = 0, 1


@dataclass(frozen=True)
class Options:
    """What is run, and where its work is kept."""

    budgets: tuple[int, ...] = (500, 1000, 2000)
    """Rows; the largest is chosen, the others are its prefixes."""
    seeds: int = 5
    """Draws of subjects, of the loop and of the networks."""
    first_seed: int = 10
    """The first of them; others were used to choose the settings, on validation."""
    rounds: int = 7
    """Batches of the loop after the random start."""
    epochs: int = 10
    """Passes of every training in the loop."""
    network: str = "convnet3-w16"
    """Detector, in the loop and judged."""
    steps: int = 600
    """Steps of every judged training."""
    generator_steps: int = 200
    """Steps of the autoencoder that makes the fakes of an unseen generator."""
    work: Path = Path("runs/benchmarks/deepdistal")
    """Folder of selections and cells."""
    name: str = "deepdistal"
    """Name of the result."""


def main(options: Options) -> None:
    whole = decoct.open(f"parquet:{DATA / 'cifake'}", cache=options.work / "cache")
    subjects = column_of(str(DATA / "cifake"), "source")
    records = Records(options.work / "cells")
    cells: list[dict[str, Any]] = []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        data = split_by_group(whole, subjects, val_fraction=0.2, test_fraction=0.2, seed=seed)
        cells += one_seed(data, seed, options, records)
        print(f"seed {seed}: {len(cells)} cells", flush=True)
        settings = {name: str(value) for name, value in vars(options).items() if name != "work"}
        save(options.name, {"options": settings, **told(cells, options.budgets)})


def one_seed(data: Dataset, seed: int, options: Options, records: Records) -> list[dict[str, Any]]:
    """Cells of both methods at every budget, and of the whole pool."""
    loop = [options.rounds, options.epochs, max(options.budgets)]
    settings = {"network": options.network, "steps": options.steps, "loop": loop, "unseen": options.generator_steps}
    common = {"seed": seed, "data": data.spec.fingerprint, **settings}
    wanted = [("all", len(data.train)), *((m, b) for b in options.budgets for m in ("deepdistal", "random"))]
    keys = {(method, rows): {**common, "method": method, "rows": rows} for method, rows in wanted}
    if any(records.find(key) is None for key in keys.values()):
        parts = {"unseen subjects": data.test, "unseen subjects and generator": unseen_generator(data, seed, options)}
        chosen = select(data, seed, options)
        for (method, rows), key in keys.items():
            if records.find(key) is None:
                own = torch.arange(len(data.train)) if method == "all" else chosen[method, rows]
                judged = judge_detector(
                    data.with_train(own), parts, positive=FAKE, network=options.network, steps=options.steps,
                    seeds=[seed],
                )  # fmt: skip
                found = {part: {"auc": one.auc, "eer": one.eer, "rows": one.rows} for part, one in judged.items()}
                records.keep(key, {"parts": found})
    return [{"method": m, "budget": b, "seed": seed, **(records.find(key) or {})} for (m, b), key in keys.items()]


def select(data: Dataset, seed: int, options: Options) -> dict[tuple[str, int], torch.Tensor]:
    """Training rows by method and budget."""
    out = options.work / f"seed-{seed}-{options.rounds}-{options.epochs}-{max(options.budgets)}"
    if (out / "manifest.json").exists():
        loop = decoct.load(out)
    else:
        method = DeepDistal(rounds=options.rounds, epochs=options.epochs)
        features = f"network:{options.network}"
        loop = decoct.select(data, method, count=max(options.budgets), features=features, seed=seed, out=out)
    assert isinstance(loop, Coreset)
    # Classes take turns and give every batch the same share, so a prefix of whole batches is what was chosen by then.
    chosen = {("deepdistal", budget): loop.indices[:budget] for budget in options.budgets}
    for budget in options.budgets:
        chosen["random", budget] = decoct.select(data, "random", count=budget, seed=seed).indices
    return chosen


def unseen_generator(data: Dataset, seed: int, options: Options) -> Split:
    """The real test images, and fakes made of them by an autoencoder trained on the real images of the pool."""
    real = data.with_train(np.flatnonzero(data.train.y == REAL))
    decoder = decoder_network("small-decoder", data.spec.shape, data.spec.classes, seed)
    coder = train_autoencoder(real, decoder, options.generator_steps, seed)
    own = data.test.take(np.flatnonzero(data.test.y == REAL))
    inputs = data.inputs(own)
    with torch.no_grad():
        made = run_decoder(decoder, coder(inputs), F.one_hot(own.labels(), data.spec.classes).float())
    pixels = (data.spec.transform.inverse(made).clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    fakes = replace(own, x=pixels, y=np.full(len(own), FAKE), ids=np.char.add("made/", own.ids.astype(str)))
    return one_split([own, fakes])


def told(cells: list[dict[str, Any]], budgets: tuple[int, ...]) -> dict[str, Any]:
    """Means with 95 % intervals over seeds, the difference seed by seed, and what it says in words."""
    parts = list(cells[0]["parts"])
    lines = []
    for part in parts:
        for budget in (*budgets, None):
            own = {m: [c["parts"][part] for c in cells if c["method"] == m and c["budget"] == (budget or c["budget"])]
                   for m in (("deepdistal", "random") if budget else ("all",))}  # fmt: skip
            line: dict[str, Any] = {"part": part, "budget": budget or "all"}
            for method, found in own.items():
                for name in ("auc", "eer"):
                    values = [one[name] for one in found]
                    line[f"{method}_{name}"] = statistics.mean(values)
                    line[f"{method}_{name}_interval"] = statistics.interval(values)
            if budget:
                pairs = zip(own["deepdistal"], own["random"], strict=True)
                gaps = [mine["auc"] - its["auc"] for mine, its in pairs]
                interval = statistics.interval(gaps)
                line |= {"gain_auc": statistics.mean(gaps), "gain_interval": interval, "says": in_words(interval)}
            lines.append(line)
    return {"lines": lines, "cells": cells}


def in_words(interval: tuple[float, float] | None) -> str:
    if interval is None:
        return "one seed says nothing"
    return "above random" if interval[0] > 0 else "below random" if interval[1] < 0 else "not told apart from random"


if __name__ == "__main__":
    main(tyro.cli(Options))
