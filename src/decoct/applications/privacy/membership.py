"""Who was in the training data? Networks trained on real, selected and distilled rows, attacked alike."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from decoct.applications.class_subset import real_rows, rows_of_set
from decoct.applications.privacy.attacked import RATES, Attacked, Membership
from decoct.applications.privacy.dp import PrivateConfig, private_matching, public_view, require_request
from decoct.applications.privacy.lira import FEWEST, Lira, balanced, halves, logit_confidence, roc
from decoct.applications.small_set import require_maker, require_usable, small_set
from decoct.data.dataset import Dataset
from decoct.errors import BudgetError, ConfigError, DataError
from decoct.evaluation.cells import Records
from decoct.evaluation.contender import Material
from decoct.evaluation.data_facts import data_facts, data_key
from decoct.evaluation.withheld import in_terms_of
from decoct.files import make_folder
from decoct.machine import usable_device
from decoct.networks.build import default_network, network
from decoct.networks.identity import network_identity
from decoct.progress import progress
from decoct.streams import derive_seed
from decoct.training.accuracy import predict
from decoct.training.config import FitConfig

WAYS = ("real", "random", "dm+noise", "dm+real")
PRIVATE = "private"
"""The way whose small sets are differentially private in their half."""
REAL = FitConfig(optimizer="adamw", lr=2e-3, weight_decay=0.01, epochs=25, batch_size=64, schedule="cosine")
"""How a network is trained on half of the rows."""
LIRA = Lira()
SMALL = replace(REAL, epochs=120)
"""How it is trained on a small set."""


@dataclass(frozen=True)
class MembershipConfig:
    """Networks, small sets and the attack."""

    models: int = 16
    """Networks of each way; each is attacked with the others as shadows."""
    ipc: int = 10
    """Images a class of the small sets."""
    steps: int | None = None
    """Steps of each distillation; none takes the recipe's own."""
    network: str | None = None
    """Network; none takes the field's ConvNet for the size of the images."""
    attack: Lira = LIRA
    """The attack."""
    real: FitConfig = REAL
    """Training on half of the rows."""
    small: FitConfig = SMALL
    """Training on a small set."""
    private: PrivateConfig | None = None
    """What the way "private" makes its sets by."""

    def of_cell(self, way: str) -> dict[str, Any]:
        """The settings that a trained network depends on: the attack is none of them."""
        found = {**asdict(self), "attack": None}
        return found if way == PRIVATE else {name: value for name, value in found.items() if name != "private"}


def membership(
    data: Dataset,
    ways: Sequence[str] = WAYS,
    config: MembershipConfig | None = None,
    *,
    seed: int = 0,
    out: str | Path | None = None,
    device: str | None = None,
) -> Membership:
    """Attack networks trained on what `ways` make of random halves of the training rows of `data`.

    A way is "real" (all rows of the half), a selector, a recipe, a recipe with the start of its images ("dm+noise",
    "dm+real"), or "private" (`private_matching` of the half by `config.private`, noise from `seed`). Every row is in
    the half of exactly half of the `models` networks of a way; members are the rows of the half, whether or not a
    selector kept them. Each network is attacked with the others as shadows, which are made in the same way from their
    own halves, as an attacker would who knows how the set was made. Without the one under attack a row has one shadow
    fewer on the side of the truth; one of the other side, drawn anew for each row, is left out too.

    What "Privacy for Free: How does Dataset Condensation Help Privacy?" (Dong, Zhao, Lyu, 2022,
    https://arxiv.org/abs/2206.00240) did not have and "No Free Lunch in 'Privacy for Free'" (Carlini, Feldman, Nasr,
    2022, https://arxiv.org/abs/2209.14987) asks for: low false-positive rates with intervals, and beside every
    distilled set the naive way to the same number of rows, which is "random".

    Every (way, network) is a cell, kept in `out/cells` and never done twice. Cost: ways x models trainings, and a
    distillation or selection for each. Raises `ConfigError` for an odd number of networks or too few shadows (at least
    2 with and 2 without each row beside the attacked one), a recipe that learns scores or a selector that cannot honour
    the weights of rows, `UnknownNameError`, `BudgetError` where a half has fewer rows of a class than a set is asked
    for, `DataError` without test rows, and what the makers raise.
    """
    config, names = config or MembershipConfig(), tuple(dict.fromkeys(ways))
    require_attack(data, names, config, seed)
    config = replace(config, network=config.network or default_network(data.spec.shape))
    # By its name alone a network that was edited would be attacked with shadows of the old one.
    identity = network_identity(str(config.network), data.spec.shape, data.spec.classes)
    members = halves(len(data.train), config.models, seed)
    records = Records(None if out is None else make_folder(Path(out) / "cells"))
    facts = {
        "data": data_facts(data), "seeds": [seed], "network": config.network, "config": asdict(config), "models":
        config.models,
    }  # fmt: skip
    found, device = [], usable_device(device)
    with progress("training networks to attack", float(len(names) * config.models)) as tick:
        for place, way in enumerate(names):
            cells = []
            for number in range(config.models):
                tick(place * config.models + number, f"{way}, network {number}")
                key = {
                    "membership": 3 if data.weighted else 2, "data": data_key(data), "way": way, "number": number,
                    "seed": seed, "config": {**config.of_cell(way), "network": identity},
                }  # fmt: skip
                cell = records.find(key)
                if cell is None:
                    cell = _cell(data, members[number], way, config, derive_seed(seed, way, number), device)
                    records.keep(key, cell)
                cells.append(cell)
            found.append(_attacked(way, cells, members, config.attack, seed))
    return Membership(tuple(found), facts)


def _cell(
    data: Dataset, member: Bool[Tensor, " n"], way: str, config: MembershipConfig, seed: int, device: str
) -> dict[str, Any]:
    """Train one network on what `way` makes of its half; its confidences on all rows, and its test accuracy."""
    began, half = time.monotonic(), data.with_train(member.nonzero().flatten())
    made, name, spec = _made(half, way, config, seed, device), str(config.network), data.spec
    fitted = made.student(
        lambda start: network(name, spec.shape, spec.classes, start), config.real if way == "real" else config.small,
        derive_seed(seed, "network"), device,
    )  # fmt: skip
    confidence = logit_confidence(predict(fitted.module, data, data.train), data.train.labels())
    right = predict(fitted.module, data).argmax(1) == data.test.labels()
    return {
        "confidence": [round(value, 4) for value in confidence.tolist()], "accuracy": float(right.float().mean()),
        "rows": len(made.inputs), "seconds": time.monotonic() - began,
    }  # fmt: skip


def _made(half: Dataset, way: str, config: MembershipConfig, seed: int, device: str) -> Material:
    if way == "real":
        return real_rows(half, torch.arange(len(half.train)))
    if way == PRIVATE:
        noised = private_matching(
            public_view(half), ipc=config.ipc, config=config.private, name=config.network, seed=seed
        )  # fmt: skip
        made, _ = in_terms_of(noised.compact_set, half.spec)
    else:
        made = small_set(
            half, way, ipc=config.ipc, steps=config.steps, seed=seed, network=config.network, device=device
        )  # fmt: skip
    return rows_of_set(made, range(half.spec.classes), half.spec.classes)


def _attacked(
    way: str, cells: Sequence[Mapping[str, Any]], members: Bool[Tensor, "models n"], attack: Lira, seed: int
) -> Attacked:
    """Every network attacked with the others, for each row with as many on both sides."""
    said: Float[Tensor, "models n"] = torch.tensor([cell["confidence"] for cell in cells], dtype=torch.float64)
    rocs = []
    for number in range(len(cells)):
        rest = [other for other in range(len(cells)) if other != number]
        used = balanced(members[rest], derive_seed(seed, number))
        rocs.append(roc(attack.scores(said[number], said[rest], members[rest], used), members[number], RATES))
    return Attacked(
        way, tuple(one.auc for one in rocs), {rate: tuple(one.tpr[rate] for one in rocs) for rate in RATES},
        tuple(cell["accuracy"] for cell in cells), max(cell["rows"] for cell in cells),
        min(one.others for one in rocs), sum(cell["seconds"] for cell in cells),
    )  # fmt: skip


def require_attack(data: Dataset, ways: Sequence[str], config: MembershipConfig, seed: int) -> None:
    """Raise what `membership` raises for what it is asked, before anything is made."""
    for way in ways:
        require_maker(way, more=("real", PRIVATE))
    # The one under attack is no shadow, and one of the other side is left out: models / 2 - 1 on each.
    least = 2 * (FEWEST + 1)
    if not ways or config.models < least or config.models % 2:
        raise ConfigError(
            "attacking networks",
            received=f"{len(ways)} ways and {config.models} networks of each",
            expected=f"at least one way, and an even number of networks from {least} on: each is attacked with the "
            f"others as shadows, {FEWEST} of them with and {FEWEST} without every row",
            remedy="give models=16 or more; the paper has 256",
        )
    if len(data.test) == 0:
        raise DataError(
            "attacking networks", received="data without test rows", expected="at least one row to measure accuracy on",
            remedy="open the data with test_fraction above 0",
        )  # fmt: skip
    require_usable(data, ways, config.ipc, config.network)
    if not set(ways) <= {"real", PRIVATE}:  # private images start from noise, however many rows there are
        _require_rows(data, config, seed)
    if PRIVATE in ways:
        if config.private is None:
            raise ConfigError(
                "attacking networks", received="the way 'private' without its settings",
                expected="the epsilon or the noise of its sets", remedy="give private=PrivateConfig(target=...), or "
                "--epsilon on the command line",
            )  # fmt: skip
        require_request(public_view(data), config.ipc, config.private)


def _require_rows(data: Dataset, config: MembershipConfig, seed: int) -> None:
    """Raise `BudgetError` where the half of a network has fewer than `config.ipc` rows of a class."""
    members, labels = halves(len(data.train), config.models, seed), data.train.labels()
    counts = [int(members[:, labels == c].sum(1).min()) for c in range(data.spec.classes)]
    smallest = min(counts)
    if smallest < config.ipc:
        name = data.spec.class_names[counts.index(smallest)]
        raise BudgetError(
            "attacking networks", received=f"{config.ipc} images a class",
            expected=f"at most {smallest}: so many rows of class {name!r} has the half that has the fewest of them",
            remedy="give fewer images a class, or data with more rows of that class",
        )  # fmt: skip
