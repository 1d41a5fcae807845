"""Feature tables against closed forms, and the errors of the user's own arrays."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from toys import blob_features, blob_images

from decoct import machine
from decoct.data.dataset import Dataset
from decoct.errors import DataError, MemoryEstimateError, MismatchError, UnknownNameError
from decoct.selection import components
from decoct.selection import features as module
from decoct.selection.features import feature_kind, features
from decoct.selection.kept_features import kept_features
from decoct.selection.sources import Sources
from decoct.training import expert, fast_embed


def test_pixels_are_the_inputs_flattened_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    data = blob_images(per_class=11, shape=(3, 4, 6))
    monkeypatch.setattr(module, "BLOCK", 10)
    assert torch.equal(features(data, "pixels"), data.inputs(data.train).flatten(1))


def test_components_keep_the_distances_of_the_best_plane() -> None:
    data = blob_images(per_class=40, shape=(1, 10, 10))
    table = features(data, "pca")
    assert table.shape == (120, 64)
    pixels = data.inputs(data.train).flatten(1).double()
    singular = torch.linalg.svdvals(pixels - pixels.mean(0))[:64]
    torch.testing.assert_close(table.double().square().sum(0), singular.square(), rtol=1e-3, atol=1e-3)
    assert torch.equal(table, features(data, "pca"))


def test_components_of_few_rows_are_as_many_as_there_can_be() -> None:
    assert features(blob_images(classes=2, per_class=5, shape=(1, 10, 10)), "pca").shape == (10, 10)


def test_auto_takes_components_only_where_rows_are_long() -> None:
    assert feature_kind(blob_images(shape=(1, 8, 8)), "auto") == "pixels"
    assert feature_kind(blob_images(shape=(1, 8, 9)), "auto") == "pca"
    assert feature_kind(blob_features(width=12), "auto") == "pixels"


def test_network_means_a_network_that_fits_the_data() -> None:
    assert feature_kind(blob_images(), "network") == "network:convnet3-w32"
    assert feature_kind(blob_features(), "network") == "network:mlp"
    assert feature_kind(blob_images(), "network:lenet") == "network:lenet"


def test_network_features_are_those_of_the_expert_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def train_expert(data: object, network: str, epochs: int, seed: int, device: str, **_: object) -> SimpleNamespace:
        calls.append((network, epochs, seed, device))
        return SimpleNamespace(module=torch.nn.Flatten())

    monkeypatch.setattr(expert, "train_expert", train_expert)
    monkeypatch.setattr(fast_embed, "FastEmbed", lambda net, **_: lambda inputs: 2 * net(inputs))
    monkeypatch.setattr(module, "BLOCK", 7)
    data = blob_images()
    torch.testing.assert_close(features(data, "network", seed=1), 2 * data.inputs(data.train).flatten(1))
    features(data, "network:lenet", seed=2)
    assert [call[:2] for call in calls] == [("convnet3-w32", 50), ("lenet", 50)], "few rows are passed more often"
    assert calls[0][2] != calls[1][2]


def test_features_of_a_trained_network_tell_classes_apart() -> None:
    data = blob_images(per_class=40)
    table = features(data, "network:mlp", seed=1)
    labels = data.train.labels()
    means = torch.stack([table[labels == c].mean(0) for c in range(3)])
    assert (torch.cdist(table, means).argmin(1) == labels).float().mean() > 0.8
    assert torch.equal(table, features(data, "network:mlp", seed=1))


@pytest.mark.parametrize("kind", ["pixel", "network:", "PCA", ""])
def test_unknown_kinds_are_refused_with_a_guess(kind: str) -> None:
    with pytest.raises(UnknownNameError, match=r"one of auto, pixels, pca, network, network:NAME"):
        features(blob_images(), kind)


def test_an_array_of_the_users_own_is_taken_as_it_is() -> None:
    data = blob_images(per_class=4)
    own = np.arange(24).reshape(12, 2)
    assert torch.equal(features(data, own), torch.tensor(own, dtype=torch.float32))
    tracked = torch.tensor(own, dtype=torch.float64, requires_grad=True)
    assert not features(data, tracked).requires_grad


def test_arrays_that_cannot_be_used_are_refused() -> None:
    data = blob_images(per_class=4)
    with pytest.raises(MismatchError, match=r"shape \[11, 2\]\n.*one row for each of the 12 training rows"):
        features(data, np.zeros((11, 2)))
    with pytest.raises(DataError, match=r"shape \[12, 2, 2\]\n.*a table \[n, d\]"):
        features(data, np.zeros((12, 2, 2)))
    with pytest.raises(DataError, match=r"shape \[12, 0\]"):
        features(data, np.zeros((12, 0)))
    with pytest.raises(DataError, match=r"NaN or infinity in 1 rows, first in row 3"):
        features(data, np.where(np.arange(12)[:, None] == 3, np.nan, np.arange(12.0)[:, None]))
    with pytest.raises(DataError, match=r"rows are all the same[\s\S]*method='random'"):
        features(data, np.ones((12, 2)))


@pytest.mark.parametrize(("kind", "what"), [("pixels", "computing features"), ("pca", "fitting principal components")])
def test_too_large_a_table_is_refused_before_it_is_made(kind: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "available_memory", lambda: 1000)
    with pytest.raises(MemoryEstimateError, match=f"{what} of 60 rows with 64 numbers each"):
        features(blob_images(), kind)


def test_features_of_an_older_rule_are_not_read_from_a_cache(tmp_path: Path) -> None:
    data = blob_images(per_class=5, shape=(1, 9, 9))
    sources = Sources(data, "pca", 0, "cpu", tmp_path)
    facts = {"fingerprint": data.spec.fingerprint, "transform": data.spec.transform.kind, "ids": data.train.rows_key,
             "kind": "pca", "seed": 0}  # fmt: skip
    for older in (facts, {"rule": module.RULE - 1, **facts}):
        kept_features(tmp_path, older, lambda: torch.zeros(15, 15), "cpu")
    assert torch.equal(sources.table, features(data, "pca"))
    assert len(list(tmp_path.iterdir())) == 3


def test_components_are_computed_without_a_copy_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    data = blob_images(per_class=500, shape=(1, 30, 40))
    whole = features(data, "pca")
    asked, inputs = [], Dataset.inputs

    def watched(self: Dataset, *arguments: Any) -> torch.Tensor:
        asked.append(len(found := inputs(self, *arguments)))
        return found

    monkeypatch.setattr(Dataset, "inputs", watched)
    monkeypatch.setattr(components, "KEPT", 0)
    monkeypatch.setattr(module, "BLOCK", 128)
    # All rows as float32 would take 7.2 MB.
    monkeypatch.setattr(machine, "available_memory", lambda: 5_000_000)
    assert torch.allclose(features(data, "pca").abs(), whole.abs(), atol=2e-2 * float(whole.abs().max()))
    assert max(asked) == 128


FACTORY = """
import torch

def build(shape, classes):
    return torch.nn.Sequential(torch.nn.Linear(shape[0], 4), torch.nn.{kind}(), torch.nn.Linear(4, classes))
"""


def test_features_of_an_edited_factory_are_not_read_from_a_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, module_file = blob_features(classes=2, per_class=8), tmp_path / "edited_networks.py"
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def table(kind: str) -> torch.Tensor:
        module_file.write_text(FACTORY.replace("{kind}", kind))
        sys.modules.pop("edited_networks", None)
        importlib.invalidate_caches()
        return Sources(data, "network:edited_networks:build", 0, "cpu", tmp_path / "cache").table

    first = table("ReLU")
    assert torch.equal(table("ReLU"), first)
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert not torch.equal(table("Tanh"), first)


def test_features_under_other_weights_of_validation_rows_are_kept_apart(tmp_path: Path) -> None:
    """They choose the pass of the network that gives the features."""
    data = blob_features(classes=2, per_class=8)
    weighed = replace(data, val=replace(data.val, weights=np.linspace(0.5, 1.5, len(data.val))))
    for own in (data, weighed, data):
        _ = Sources(own, "pca", 0, "cpu", tmp_path).table
    assert len(list(tmp_path.iterdir())) == 2
