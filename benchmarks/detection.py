"""CSOD beside random and k-center: AP50 of a detector trained from scratch on a few images, on BCCD.

At each budget and seed every method picks from all training images, a detector is trained on the picks with the same
number of steps whatever their number, and is read on the test images once. A seed decides the draw of random, the
network whose features csod and k-center share, and the first weights and order of the measured detector, so that
methods are paired by seed. Intervals are 95 %, over seeds; that of a difference is of the paired differences.
Everything that was chosen (steps, step size, weight of CSOD) was chosen on 60 of the training images.

    python benchmarks/detection.py [--source coco:JSON --test coco:JSON] [--budgets 10 20 40] [--seeds 5]

Finished cells stand in `results/<name>.json` and are not run again.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

import tyro
from real_sets import DATA
from record import RESULTS, save

from decoct.data.detection.detection_set import DetectionSet
from decoct.data.detection.open import open_detection
from decoct.evaluation.detection import judge_detection
from decoct.evaluation.statistics import interval
from decoct.selection.detection.csod import Csod
from decoct.selection.detection.region_features import Features, detection_features
from decoct.selection.detection.select import select_images
from decoct.training.detector import DetectorConfig

METHODS = ("csod", "random", "k-center")


@dataclass(frozen=True)
class Options:
    """What to measure."""

    source: str = f"coco:{DATA / 'bccd' / 'instances_train.json'}"
    """Training images."""
    test: str = f"coco:{DATA / 'bccd' / 'instances_test.json'}"
    """Test images."""
    budgets: tuple[int, ...] = (10, 20, 40)
    """Images picked."""
    seeds: int = 5
    """Draws, each with a detector of its own."""
    whole: int = 3
    """Seeds for which a detector is trained on all images, as a ceiling."""
    steps: int = 200
    """Steps of every training."""
    name: str = "detection"
    """Name of the result."""


@dataclass(frozen=True)
class Work:
    """The data, and what is known of them so far."""

    train: DetectionSet
    test: DetectionSet
    config: DetectorConfig
    features: dict[int, Features]

    def cell(self, method: str, budget: int, seed: int) -> dict[str, Any]:
        """One selection and one detector."""
        began = time.perf_counter()
        if method == "all":
            small, boxes = self.train, {}
        else:
            picked = select_images(self.train, method, count=budget, features=self._features(seed), seed=seed)
            small, boxes = picked.subset(), picked.box_counts()
        found = judge_detection(small, self.test, config=self.config, seeds=(seed,)).precisions[0]
        return {
            "ap50": found.mean, "by_class": list(found.by_class), "boxes": boxes,
            "images": list(small.ids) if method != "all" else "all",
            "seconds": round(time.perf_counter() - began, 1),
        }  # fmt: skip

    def _features(self, seed: int) -> Features:
        if seed not in self.features:
            self.features[seed] = detection_features(self.train, "network", seed, config=self.config)
        return self.features[seed]


def main(options: Options) -> None:
    """Run what is missing, cell by cell, and write `results/<name>.json` after each."""
    config = DetectorConfig(steps=options.steps)
    settings = {"detector": asdict(config), "csod": asdict(Csod()), "source": os.path.basename(options.source)}
    settings = json.loads(json.dumps(settings))
    path = RESULTS / f"{options.name}.json"
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"cells": {}, "settings": settings}
    if old["settings"] != settings:
        raise SystemExit(f"{path} was measured with other settings; give another --name")
    work = Work(open_detection(options.source), open_detection(options.test), config, {})
    cells = old["cells"]
    # Seed by seed, so that what is there so far compares all methods at all budgets.
    plan = [(m, b, s) for s in range(options.seeds) for b in options.budgets for m in METHODS]
    plan += [("all", len(work.train), seed) for seed in range(options.whole)]
    for method, budget, seed in plan:
        key = f"{method}/{budget}/{seed}"
        if key in cells:
            continue
        cells[key] = work.cell(method, budget, seed)
        print(key, f"AP50 {cells[key]['ap50']:.3f} in {cells[key]['seconds']} s", flush=True)
        save(
            options.name,
            {"what": (__doc__ or "").splitlines()[0], "settings": settings, **summary(cells), "cells": cells},
        )
    for line in shown(summary(cells)):
        print(line)


def summary(cells: dict[str, Any]) -> dict[str, Any]:
    """AP50 of every method and budget, and what csod is ahead of the others by, paired by seed."""
    values: dict[str, dict[int, float]] = {}
    for key, cell in cells.items():
        method, budget, seed = key.split("/")
        values.setdefault(f"{method}/{budget}", {})[int(seed)] = cell["ap50"]
    table = {key: _mean([found[seed] for seed in sorted(found)]) for key, found in values.items()}
    ahead = {}
    for key, found in values.items():
        method, budget = key.split("/")
        own = values.get(f"csod/{budget}", {})
        both = sorted(found.keys() & own.keys())
        if method not in ("csod", "all") and both:
            ahead[f"csod - {method}/{budget}"] = _mean([own[seed] - found[seed] for seed in both])
    return {"ap50": table, "ahead": ahead}


def _mean(values: list[float]) -> dict[str, Any]:
    found = interval(values)
    return {"mean": fmean(values), "interval": list(found) if found else None, "seeds": len(values)}


def shown(found: dict[str, Any]) -> list[str]:
    """Lines for a person."""
    lines = []
    for key, value in {**found["ap50"], **found["ahead"]}.items():
        low, high = value["interval"] or (float("nan"), float("nan"))
        lines.append(f"{key:<24} {value['mean']:+.3f}  [{low:+.3f}, {high:+.3f}]  {value['seeds']} seeds")
    return lines


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
