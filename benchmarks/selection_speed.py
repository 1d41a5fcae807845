"""Selectors beside what users have, in one run: k-center on 60,000 x 512 to 6,000, facility location on 20,000 x 64.

k-center's textbooks take one pick after the other, and tell every row of it: by differences (`np.linalg.norm`), by
`sklearn.metrics.pairwise_distances`, and by inner products with norms computed each time (DeepCore) or kept. Each of
their steps costs the same, so `--steps` of them are timed and multiplied; ours is run whole. Two kinds of made-up rows:
one normal cloud, and 500 clusters, whose picks have less time to wait for each other. Facility location's textbook is
the lazy greedy of the usual libraries: a table of cosines in memory, a heap, one gain at a time, in numpy; apricot and
submodlib themselves stand beside it where they are installed, given the same table. Seconds of the processor.

    python benchmarks/selection_speed.py [--rows 60000 --count 6000 --facility-rows 20000 --facility-count 200]
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from record import save
from sklearn.metrics import pairwise_distances

from decoct.selection.facility_location import FacilityLocation
from decoct.selection.k_center import KCenter

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Options:
    """Sizes of the sets."""

    rows: int = 60_000
    """Rows that k-center picks from."""
    width: int = 512
    """Numbers of each of them."""
    count: int = 6_000
    """Picks of k-center."""
    steps: int = 30
    """Timed picks of each textbook of k-center."""
    facility_rows: int = 20_000
    """Rows that facility location picks from; the textbook's table takes 4 n^2 bytes."""
    facility_width: int = 64
    """Numbers of each of them."""
    facility_count: int = 200
    """Picks of facility location."""


def made_up(rows: int, width: int, clusters: int) -> Rows:
    """Rows of unit spread around that many centres three times as far apart."""
    rng = np.random.default_rng(0)
    centres = 3 * rng.standard_normal((clusters, width), dtype=np.float32) if clusters else np.zeros((1, width))
    noise = rng.standard_normal((rows, width), dtype=np.float32)
    return (noise + centres[rng.integers(0, len(centres), rows)]).astype(np.float32)


def by_differences(x: Rows) -> Callable[[int], Rows]:
    """Distances to one row: a difference for every number."""
    return lambda row: np.linalg.norm(x - x[row], axis=1)


def by_scikit_learn(x: Rows) -> Callable[[int], Rows]:
    """Distances to one row as scikit-learn gives them."""
    return lambda row: pairwise_distances(x, x[row : row + 1])[:, 0]


def by_products(x: Rows) -> Callable[[int], Rows]:
    """Distances to one row from inner products and norms that are kept."""
    norms = np.einsum("ij,ij->i", x, x)
    return lambda row: np.sqrt(np.maximum(norms + norms[row] - 2 * (x @ x[row]), 0))


def by_products_anew(x: Rows) -> Callable[[int], Rows]:
    """Distances to one row from inner products, all norms computed each time, as DeepCore's k-center does."""
    return lambda row: np.sqrt(np.maximum((x**2).sum(1) + (x[row] ** 2).sum() - 2 * (x @ x[row]), 0))


TEXTBOOKS = {
    "differences": by_differences, "scikit-learn": by_scikit_learn, "products, norms anew": by_products_anew,
    "products, norms kept": by_products,
}  # fmt: skip


def textbook_k_center(x: Rows, first: int, steps: int, make: Callable[[Rows], Callable[[int], Rows]]) -> list[int]:
    """The first rows of a farthest-first traversal."""
    distances, nearest, rows = make(x), np.full(len(x), np.inf, np.float32), [first]
    for _ in range(steps):
        nearest = np.minimum(nearest, distances(rows[-1]))
        nearest[rows[-1]] = -1
        rows.append(int(nearest.argmax()))
    return rows


def measure_k_center(options: Options, clusters: int) -> dict[str, Any]:
    """Seconds of ours, and of each textbook as its steps foretell; how many of their picks are ours too."""
    x = made_up(options.rows, options.width, clusters)
    start = time.process_time()
    picks = KCenter().pick(torch.from_numpy(x), options.count, torch.Generator())
    ours = time.process_time() - start
    rows, textbooks = picks.rows.tolist(), {}
    steps = min(options.steps, options.count - 1)
    for name, make in TEXTBOOKS.items():
        start = time.process_time()
        found = textbook_k_center(x, rows[0], steps, make)
        seconds = (time.process_time() - start) / steps * options.count
        same = sum(a == b for a, b in zip(found, rows, strict=False))
        textbooks[name] = {
            "seconds": seconds,
            "timed_steps": steps,
            "times_slower": seconds / ours,
            "same_picks": same,
            "of": len(found),
        }
        print(f"k-center, {clusters} clusters: {name} {seconds:.1f} s, ours {ours:.1f} s, {seconds / ours:.1f} x")
    return {"clusters": clusters, "seconds": ours, "textbooks": textbooks}


def cosines(x: Rows) -> Rows:
    """The table of shifted cosines."""
    units = x / np.linalg.norm(x, axis=1, keepdims=True)
    return (1 + units @ units.T) / 2


def by_apricot(x: Rows, count: int) -> list[int]:
    """apricot's lazy greedy."""
    from apricot import FacilityLocationSelection  # pyright: ignore[reportMissingImports]

    return FacilityLocationSelection(count, metric="precomputed", optimizer="lazy").fit(cosines(x)).ranking.tolist()


def by_submodlib(x: Rows, count: int) -> list[int]:
    """submodlib's lazy greedy."""
    from submodlib import FacilityLocationFunction  # pyright: ignore[reportMissingImports]

    function = FacilityLocationFunction(n=len(x), mode="dense", sijs=cosines(x), separate_rep=False)
    return [row for row, _ in function.maximize(budget=count, optimizer="LazyGreedy", show_progress=False)]


def textbook_facility_location(x: Rows, count: int) -> list[int]:
    """Lazy greedy with a heap on a table of shifted cosines."""
    table = cosines(x)
    level = np.zeros(len(x), np.float32)
    heap = [(-float(total), row) for row, total in enumerate(table.sum(1))]
    heapq.heapify(heap)
    rows: list[int] = []
    while len(rows) < count:
        _, row = heapq.heappop(heap)
        gain = float(np.maximum(table[row] - level, 0).sum())
        if heap and (-gain, row) > heap[0]:
            heapq.heappush(heap, (-gain, row))
            continue
        rows.append(row)
        np.maximum(level, table[row], out=level)
    return rows


def measure_facility_location(options: Options) -> dict[str, Any]:
    """Seconds of ours in both exact forms and of the textbook; how many picks are the same."""
    x = made_up(options.facility_rows, options.facility_width, 100)
    seconds: dict[str, float] = {}
    same: dict[str, int] = {}
    start = time.process_time()
    textbook = textbook_facility_location(x, options.facility_count)
    seconds["textbook"] = time.process_time() - start
    for name, library in (("apricot", by_apricot), ("submodlib", by_submodlib)):
        try:
            library(x[:100], 5)  # what they import and compile is not part of the race
        except ImportError as error:
            print(f"{name} is left out: {error}")
            continue
        start = time.process_time()
        found = library(x, options.facility_count)
        seconds[name], same[name] = time.process_time() - start, len(set(found) & set(textbook))
    for form in ("blocks", "dense"):
        start = time.process_time()
        picks = FacilityLocation(form=form).pick(torch.from_numpy(x), options.facility_count, torch.Generator())
        seconds[form] = time.process_time() - start
        same[form] = len(set(picks.rows.tolist()) & set(textbook))
    print("facility location:", {name: round(value, 2) for name, value in seconds.items()})
    return {"seconds": seconds, "same_picks": same, "of": options.facility_count}


def main(options: Options) -> None:
    """Measure and write results/selection_speed.json."""
    save("selection_speed", {
        "setting": vars(options),
        "threads": torch.get_num_threads(),
        "k_center": [measure_k_center(options, clusters) for clusters in (0, 500)],
        "facility_location": measure_facility_location(options),
    })  # fmt: skip


if __name__ == "__main__":
    main(tyro.cli(Options))
