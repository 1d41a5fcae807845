"""Membership inference against real, selected and distilled training data, copies in sets, and what noise costs.

Fashion-MNIST at 14 x 14 pixels, 300 training rows a class, half of them for each of 16 networks of a way. Every cell is
done once: stop the script at any time and start it again.

    python benchmarks/privacy.py                   # 26 minutes of one core, half of them for private sets
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from pools import pool
from record import save

import decoct
from decoct.applications.privacy.copies import copies
from decoct.applications.privacy.dp import PrivateConfig, private_matching, public_view
from decoct.applications.privacy.membership import PRIVATE, WAYS, MembershipConfig, membership
from decoct.applications.small_set import small_set
from decoct.data.dataset import Dataset
from decoct.evaluation.cells import Records
from decoct.evaluation.protocol import Protocol
from decoct.evaluation.scorecard import entry_to_json
from decoct.files import make_folder
from decoct.training.config import FitConfig

PROTOCOL = Protocol(
    "private",
    FitConfig(optimizer="adamw", lr=2e-3, weight_decay=0.01, epochs=120, batch_size=64, schedule="cosine"),
    full_epochs=25, full_samples=100_000, full_batch=64, checks=1,
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """What is run."""

    source: str = "fashion-mnist"
    """Data set: the stem of an npz file in DECOCT_DATA."""
    per_class: int = 300
    """Training rows of every class."""
    size: int = 14
    """Height and width of the images."""
    ways: tuple[str, ...] = (*WAYS, PRIVATE)
    """What networks are trained on; the sets of `private` have the largest of `epsilons`."""
    models: int = 16
    """Networks of each way."""
    ipc: int = 10
    """Images a class of the small sets."""
    steps: int = 60
    """Steps of each distillation."""
    epsilons: tuple[float, ...] = (1.0, 10.0)
    """Targets of the private sets, delta 1e-5."""
    private_rows: int = 4000
    """Training rows a class of the private sets: noise is shared by all of them."""
    seeds: int = 3
    """Private sets for each target, and networks trained on each."""
    network: str = "convnet2-w16"
    """Network."""
    work: Path = Path("runs/benchmarks/privacy")
    """Folder of finished cells."""


def main(options: Options) -> None:
    """Run what is missing; write results/privacy.json after each part."""
    data = pool(options.source, options.per_class, options.size)
    private = PrivateConfig(target=max(options.epsilons), steps=600)
    config = MembershipConfig(
        models=options.models, ipc=options.ipc, steps=options.steps, network=options.network, private=private
    )
    body: dict[str, Any] = {"source": options.source, "size": options.size, "per_class": options.per_class}
    body["copies"] = found_copies(data, options)
    for count in range(1, len(options.ways) + 1):
        attacked = membership(data, options.ways[:count], config, out=options.work, device="cpu")
        print(attacked.table(), flush=True)
        body["membership"] = attacked.to_json()
        save("privacy", body)
    body["private"] = private_sets(options)
    save("privacy", body)


def found_copies(data: Dataset, options: Options) -> dict[str, Any]:
    """How many images of each kind of set are copies."""
    records, found = Records(make_folder(options.work / "copies")), {}
    for way in (way for way in options.ways if way not in ("real", PRIVATE)):
        key = {"way": way, "rows": data.rows_key, "ipc": options.ipc, "steps": options.steps}
        value = records.find(key)
        if value is None:
            made = small_set(
                data, way, ipc=options.ipc, steps=options.steps, network=options.network, device="cpu"
            )  # fmt: skip
            value = {**copies(made, data).to_json(), "pairs": []}
            records.keep(key, value)
        found[way] = value
        print(way, value)
    return found


def private_sets(options: Options) -> list[dict[str, Any]]:
    """Accuracy of private sets for each epsilon, beside the same matching without noise and random rows."""
    data = public_view(pool(options.source, options.private_rows, options.size))
    records, found = Records(make_folder(options.work / "private")), []
    for target in (*options.epsilons, None):
        for seed in range(options.seeds):
            key = {"target": target, "seed": seed, "rows": data.rows_key, "ipc": options.ipc, "steps": 600}
            value = records.find(key)
            if value is None:
                value = private_cell(data, target, seed, options)
                records.keep(key, value)
            found.append(value)
            print(target, seed, value["epsilon"], value["noise"], value["entries"][0]["last"])
    return found


def private_cell(data: Dataset, target: float | None, seed: int, options: Options) -> dict[str, Any]:
    """One set and one network; without a target there is no noise to speak of, and no claim."""
    free = PrivateConfig(releases=60, rate=0.05, noise=1e-6, size_noise=1e-6, sampling="fixed", steps=600)
    config = free if target is None else PrivateConfig(releases=60, rate=0.05, target=target, steps=600)
    made = private_matching(data, ipc=options.ipc, config=config, name=options.network, seed=seed)
    names = ("random",) if target is None else ()
    card = decoct.evaluate(
        made.compact_set, data, PROTOCOL, [options.network], [seed], baselines=names, device="cpu"
    )  # fmt: skip
    return {
        "target": target, "seed": seed, "epsilon": made.epsilon, "delta": made.delta, "noise": made.noise,
        "claim": made.claim(), "entries": [entry_to_json(entry) for entry in card.entries],
    }  # fmt: skip


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
