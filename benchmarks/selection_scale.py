"""Selection of 1 % from 1, 3 and 10 million rows of 256 float16 features, shard by shard; what sharding loses.

The rows are made up: clusters of unequal size with unequal spread, and one row in fifty a near duplicate of another.
Every cell (a method on so many rows) runs in a process of its own, whose processor seconds, seconds by the clock and
peak resident memory are kept; a cell that is there is not run again. The table takes 5.1 GB at 10 million rows, and its
shards as much again while a cell runs; `--clean` removes both.

    python benchmarks/selection_scale.py --rows 1000000          # the cells of one size
    python benchmarks/selection_scale.py --loss                  # sharded beside unsharded at 100,000 rows
    python benchmarks/selection_scale.py --clean
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from jaxtyping import Float
from numpy.typing import NDArray
from record import RESULTS, save
from torch import Tensor

from decoct.data.feature_table import FeatureTable, feature_table
from decoct.files import make_folder, writing
from decoct.machine import peak_memory
from decoct.progress import progress
from decoct.selection.coverage import Coverage
from decoct.selection.deduplicate import SemDeDup
from decoct.selection.facility_location import FacilityLocation
from decoct.selection.graph_cut import GraphCut
from decoct.selection.k_center import KCenter
from decoct.selection.selector import Selector
from decoct.selection.sharded.driver import select_table
from decoct.selection.sharded.selector import Sharded

WORK = Path(__file__).parent.parent / "runs" / "selection-scale"
METHODS: dict[str, Selector] = {
    "k-center": KCenter(),
    "facility-location": FacilityLocation(),
    "graph-cut": GraphCut(),
    "ccs": Coverage(),
    "semdedup": SemDeDup(),
}
BLOCK = 65536
TWINS = 50
"""One row in so many is a near duplicate of one before it."""


@dataclass(frozen=True)
class Options:
    """Which cells."""

    rows: tuple[int, ...] = ()
    """Sizes of the table."""
    methods: tuple[str, ...] = tuple(METHODS)
    """Methods to run."""
    width: int = 256
    """Numbers of each row."""
    share: float = 0.01
    """Share of the rows to pick."""
    loss: bool = False
    """Also compare with the unsharded answers."""
    loss_rows: int = 100_000
    """Rows of that comparison."""
    cell: str = ""
    """For the process of one cell: its name, such as k-center-1000000."""
    clean: bool = False
    """Remove the made-up tables and shards."""


def made_up(rows: int, width: int) -> tuple[Path, Path]:
    """The table and its scores, written once, block by block; the first rows of a larger table are those of a smaller.

    2000 centres of spread 1 around 0, cluster c with a share like 1 / (c + 10) and a spread of 0.3 to 0.9.
    """
    features, scores = WORK / f"{rows}.npy", WORK / f"{rows}-scores.npy"
    if scores.exists():
        return features, scores
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((2000, width), dtype=np.float32)
    spread = rng.uniform(0.3, 0.9, 2000).astype(np.float32)
    shares = 1 / (np.arange(2000) + 10)
    make_folder(WORK)
    found = []
    with writing(features), features.open("wb") as file, progress(f"making {rows} rows", rows) as tick:
        head = {"descr": "<f2", "fortran_order": False, "shape": (rows, width)}
        np.lib.format.write_array_header_1_0(file, head)
        for block, start in enumerate(range(0, rows, BLOCK)):
            own = np.random.default_rng([1, block])
            cluster = own.choice(2000, BLOCK, p=shares / shares.sum())
            x = centres[cluster] + spread[cluster, None] * own.standard_normal((BLOCK, width), dtype=np.float32)
            x[TWINS - 1 :: TWINS] = x[: BLOCK - TWINS + 1 : TWINS] + 0.02 * own.standard_normal(
                (len(x[TWINS - 1 :: TWINS]), width), dtype=np.float32
            )
            count = min(BLOCK, rows - start)
            file.write(x[:count].astype(np.float16).tobytes())
            found.append((spread[cluster] + 0.2 * own.standard_normal(BLOCK, dtype=np.float32))[:count])
            tick(start + count)
    np.save(scores, np.concatenate(found))
    return features, scores


def table_of(rows: int, width: int) -> FeatureTable:
    features, scores = made_up(rows, width)
    return feature_table(features, scores=scores)


def run_cell(options: Options) -> None:
    """In a process of its own: select, and write what it took."""
    method, _, rows = options.cell.rpartition("-")
    table = table_of(int(rows), options.width)
    before, clock, processor = peak_memory(), time.perf_counter(), time.process_time()
    picked = select_table(table, METHODS[method], fraction=options.share, out=WORK / f"run-{options.cell}")
    seconds, processor = time.perf_counter() - clock, time.process_time() - processor
    save(f"selection_scale/{options.cell}", {
        "method": method, "rows": int(rows), "width": options.width, "picked": len(picked), "seconds": seconds,
        "processor_seconds": processor, "peak_memory": peak_memory(), "memory_before": before,
        "threads": 1, "shard_rows": picked.provenance["shard_rows"],
    })  # fmt: skip
    shutil.rmtree(WORK / f"run-{options.cell}", ignore_errors=True)


def radius(phi: Float[Tensor, "n d"], rows: NDArray[np.int64]) -> tuple[float, float]:
    """Largest and mean distance of a row to the nearest pick."""
    picks = phi[torch.from_numpy(rows)]
    near = torch.cat([torch.cdist(part, picks).amin(1) for part in phi.split(4096)])
    return float(near.max()), float(near.mean())


def worths(method: str, phi: Float[Tensor, "n d"], rows: NDArray[np.int64]) -> dict[str, float]:
    """What the picks are worth to the method that picked them."""
    if method == "k-center":
        largest, mean = radius(phi, rows)
        return {"covering radius": largest, "mean distance": mean}
    units = torch.nn.functional.normalize(phi, dim=1)
    picks = units[torch.from_numpy(rows)]
    if method == "facility-location":
        return {
            "value": float(
                sum((1 + part @ picks.T).div(2).amax(1).sum(dtype=torch.float64) for part in units.split(4096))
            )
        }
    if method == "graph-cut":
        among = (1 + picks @ picks.T).double().sum() / 2
        with_all = (len(units) * len(picks) + float(picks.double().sum(0) @ units.double().sum(0))) / 2
        return {"value": 2 * with_all - float(among)}
    kept = np.zeros(len(phi), bool)
    kept[rows] = True
    # Twins stand 49 rows apart within a block.
    second = np.concatenate([
        np.arange(start + TWINS - 1, min(start + BLOCK, len(phi)), TWINS) for start in range(0, len(phi), BLOCK)
    ])  # fmt: skip
    return {"near duplicates kept beside their twin, %": 100 * float((kept[second] & kept[second - TWINS + 1]).mean())}


def loss(options: Options) -> None:
    """Every method on 100,000 rows with shards and without, and as many rows at random."""
    table = table_of(options.loss_rows, options.width)
    phi = torch.from_numpy(table.take(np.arange(table.rows)).astype(np.float32))
    for method in options.methods:
        name = f"selection_scale/loss-{method}-{options.loss_rows}"
        if method == "ccs" or (RESULTS / f"{name}.json").exists():
            continue
        count = int(options.share * len(phi))
        if method == "semdedup":
            # As many as there are without the planted duplicates.
            count = len(phi) - len(phi) // TWINS
        found: dict[str, Any] = {}
        ways = {"whole": METHODS[method], "sharded": Sharded(METHODS[method])}
        for way, selector in ways.items():
            start = time.process_time()
            rows = selector.pick(phi, count, torch.Generator().manual_seed(0)).rows.numpy()
            found[way] = {"processor_seconds": time.process_time() - start, **worths(method, phi, rows)}
            print(method, way, found[way], flush=True)
        chance = np.random.default_rng(0).choice(len(phi), count, replace=False)
        found["random"] = worths(method, phi, chance)
        save(name, {"method": method, "rows": len(phi), "width": options.width, "picked": count, "ways": found})


def cells(options: Options) -> None:
    """Run what is not there yet, each cell in a process of its own."""
    for rows in options.rows:
        table_of(rows, options.width)
        for method in options.methods:
            name = f"{method}-{rows}"
            if not (RESULTS / "selection_scale" / f"{name}.json").exists():
                subprocess.run([sys.executable, __file__, "--cell", name, "--share", str(options.share)], check=True)


def collect() -> dict[str, Any]:
    """All cells that are there."""
    found = [
        json.loads(path.read_text(encoding="utf-8")) for path in sorted((RESULTS / "selection_scale").glob("*.json"))
    ]
    return {"cells": [cell for cell in found if "ways" not in cell], "loss": [cell for cell in found if "ways" in cell]}


def main(options: Options) -> None:
    """Run what is asked for."""
    torch.set_num_threads(1)
    if options.clean:
        shutil.rmtree(WORK, ignore_errors=True)
    elif options.cell:
        run_cell(options)
    else:
        cells(options)
        if options.loss:
            loss(options)


if __name__ == "__main__":
    main(tyro.cli(Options))
