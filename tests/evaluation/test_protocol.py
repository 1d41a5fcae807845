"""Presets, their hashes, and what changes a hash."""

from __future__ import annotations

import json
import math
import re
from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path
from typing import Any

import pytest
from toys import blob_features, blob_images

from decoct.errors import ConfigError, UnknownNameError
from decoct.evaluation.augmentations import with_augmentation
from decoct.evaluation.protocol import DSA, PROTOCOLS, Course, Protocol, own_protocol, protocol_from
from decoct.evaluation.search import Search
from decoct.training.config import FitConfig

BASE = Protocol("test", FitConfig(), full_epochs=2, full_samples=1000)
OTHER_FIT: dict[str, Any] = {
    "optimizer": "adamw", "lr": 0.02, "momentum": 0.5, "weight_decay": 0.0, "epochs": 301, "batch_size": 255,
    "schedule": "cosine", "warmup_steps": 3, "loss": "ce", "temperature": 2.0, "augment": "flip",
    "augment_mode": "siamese", "mix": "cutmix", "mix_alpha": 0.5, "ema": 0.9, "precision": "bfloat16",
}  # fmt: skip


def test_presets_are_the_fields_protocols() -> None:
    assert set(PROTOCOLS) == {"dc-300", "dsa-1000", "soft-300", "soft-1000", "quick"}
    dc, dsa = PROTOCOLS["dc-300"].fit, PROTOCOLS["dsa-1000"].fit
    assert (dc.optimizer, dc.lr, dc.momentum, dc.weight_decay) == ("sgd", 0.01, 0.9, 5e-4)
    assert (dc.epochs, dc.batch_size, dc.schedule, dc.augment) == (300, 256, "step", "")
    assert dsa == replace(dc, epochs=1000, augment=DSA)
    assert dsa.augment_mode == "one_family"
    soft = PROTOCOLS["soft-300"].fit
    assert (soft.optimizer, soft.lr, soft.weight_decay, soft.schedule) == ("adamw", 1e-3, 0.01, "cosine")
    assert [soft.loss_for(kind) for kind in ("hard", "probabilities", "scores")] == ["ce", "kl", "mse"]


def test_every_field_changes_the_hash() -> None:
    own = {"name": "other", "full_epochs": 3, "full_samples": 1001, "full_batch": 64, "checks": 11, "val_rows": 10}
    assert {field.name for field in fields(Protocol)} == {*own, "fit"}
    assert {field.name for field in fields(FitConfig)} == set(OTHER_FIT)
    changed = [replace(BASE, **{name: value}) for name, value in own.items()]
    changed += [replace(BASE, fit=replace(BASE.fit, **{name: value})) for name, value in OTHER_FIT.items()]
    hashes = [protocol.hash for protocol in [BASE, *changed]]
    assert len(set(hashes)) == len(hashes)
    assert all(re.fullmatch(r"[0-9a-f]{64}", value) for value in hashes)


def test_hash_is_that_of_equal_protocols() -> None:
    assert replace(BASE).hash == BASE.hash
    assert BASE.short_hash == BASE.hash[:12]
    assert BASE.facts()["hash"] == BASE.hash


def test_protocols_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        BASE.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(("rows", "passes"), [(10, 2), (500, 2), (700, 1), (1000, 1), (60_000, 1)])
def test_full_data_get_fewer_passes_the_larger_they_are(rows: int, passes: int) -> None:
    assert BASE.full_passes(rows) == passes
    assert BASE.fit_full(blob_images().spec, rows) == replace(BASE.fit, epochs=passes, batch_size=BASE.full_batch)


def test_features_are_not_augmented() -> None:
    dsa = PROTOCOLS["dsa-1000"]
    assert dsa.fit_on(blob_images().spec).augment == DSA
    assert dsa.fit_on(blob_features().spec) == replace(dsa.fit, augment="")
    assert dsa.fit_full(blob_features().spec, 10).augment == ""


@pytest.mark.parametrize(("epochs", "every"), [(300, 30), (100, 10), (4, 1), (1, 1)])
def test_validation_is_looked_at_about_ten_times(epochs: int, every: int) -> None:
    assert BASE.check_every(epochs) == every


def test_unknown_protocol_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'dsa-1000'"):
        protocol_from("dsa-100")
    assert protocol_from(BASE) is BASE


def test_impossible_fields_are_refused() -> None:
    with pytest.raises(ConfigError, match="checks"):
        replace(BASE, checks=0)


def test_the_documentation_names_each_preset_with_its_hash() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "protocols.md").read_text(encoding="utf-8")
    for name, protocol in PROTOCOLS.items():
        assert f"`{name}`" in page
        assert protocol.short_hash in page, f"docs/protocols.md: the hash of {name} is now {protocol.short_hash}"


def test_the_own_protocol_takes_the_learned_step_size_and_a_name_of_its_own():
    own = own_protocol({"lr": 0.02, "inner_steps": 10.0})
    assert own.name == "own"
    assert own.fit.lr == 0.02
    assert own.hash != PROTOCOLS["dsa-1000"].hash
    for learned in ({}, {"lrs": [0.1, 0.2]}, {"lr": 0.0}):
        with pytest.raises(ConfigError, match="choose a protocol by name"):
            own_protocol(learned)


def test_steps_of_their_own_are_a_protocol_that_nothing_changes():
    learned = {"lrs": [0.1, 0.2], "inner_steps": 2, "ordered": 1, "momentum": 0.0}
    own = own_protocol(learned)
    assert isinstance(own, Course)
    assert (own.name, own.lrs, own.per_class, own.momentum) == ("own", (0.1, 0.2), 1, 0.0)
    assert own.fit == PROTOCOLS["dsa-1000"].fit, "for the line of the full data"
    assert own.hash != own_protocol({**learned, "lrs": [0.1, 0.3]}).hash
    assert json.loads(json.dumps(own.facts())) == own.facts()
    for change in ({"lrs": [0.1, -1.0]}, {"lrs": []}, {"lrs": [0.1, math.nan]}, {"momentum": 1.0}, {"ordered": 0}):
        with pytest.raises(ConfigError, match=r"(?s)how many rows of every class.*distil the set again"):
            own_protocol({**learned, **change})
    for changed in (lambda: with_augmentation(own, "none"), lambda: Search.of(3).candidates(own)):
        with pytest.raises(ConfigError, match="leave the search and the augmentations out"):
            changed()
    assert with_augmentation(own, "protocol") is own
