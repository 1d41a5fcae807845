"""One recipe at its published setting on a GPU, in as many short turns as it takes.

Each call goes on with its cell for at most `--minutes`, saves its state in `--work` and stops; the call that reaches
the last step also judges the set and writes results/paper/<cell>.json. Give the same command again to go on. With
`--steps` the run is shorter than published, and says so.

    python benchmarks/paper_cells.py --source cifar10 --ipc 1 --recipe rtp --minutes 9
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import tyro
from real_sets import DATA
from record import RESULTS, save

import decoct
from decoct.errors import InterruptedRunError
from decoct.evaluation.judge import Bench
from decoct.evaluation.scorecard import entry_to_json


@dataclass(frozen=True)
class Options:
    """Which cell, and for how long this time."""

    source: str
    """Anything `decoct.open` takes, or the stem of an npz file in DECOCT_DATA."""
    ipc: int
    """Images per class."""
    recipe: str
    """A recipe, at its preset `paper`."""
    minutes: float = 9.0
    """Stop distilling after so many minutes and keep the state."""
    steps: int | None = None
    """Steps of the whole run; the published number by default."""
    whiten: bool = False
    """ZCA whitening, as most published colour results have it."""
    protocol: str = "dsa-1000"
    """How students are trained."""
    seeds: int = 5
    """Students."""
    work: Path = Path("runs/benchmarks/paper")
    """Folder of states, sets and finished students."""
    device: str = "cuda"
    """Where everything runs."""


def main(options: Options) -> None:
    """Go on with the cell, and judge it when it is distilled."""
    cell = f"{Path(options.source).stem}-{options.ipc}-{options.recipe}"
    file = DATA / f"{options.source}.npz"
    data = decoct.open(f"npz:{file}" if file.exists() else options.source, whiten=options.whiten)
    signal.signal(signal.SIGALRM, _interrupt)
    signal.setitimer(signal.ITIMER_REAL, 60 * options.minutes)
    try:
        small = decoct.distill(
            data, options.recipe, ipc=options.ipc, steps=options.steps, preset="paper", device=options.device,
            out=options.work / cell,
        )  # fmt: skip
    except InterruptedRunError as stopped:
        print(f"{cell}: {stopped}")
        return
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    bench = Bench.of(
        data, options.protocol, None, options.seeds,
        baselines=("random", "herding", "random+teacher"), out=options.work / "judged", device=options.device,
    )  # fmt: skip
    card = bench.judge(small, options.recipe)
    (RESULTS / "paper").mkdir(exist_ok=True)
    keys = ("steps_done", "seconds", "best_step", "best_val_accuracy", "settings", "network")
    save(f"paper/{cell}", {
        "source": options.source, "ipc": options.ipc, "recipe": options.recipe, "protocol": bench.protocol.facts(),
        "made": {key: small.provenance[key] for key in keys},
        "entries": [entry_to_json(entry) for entry in (*card.judged, *card.baselines)],
    })  # fmt: skip


def _interrupt(number: int, frame: FrameType | None) -> None:
    """The end of this turn, as if somebody had pressed Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
