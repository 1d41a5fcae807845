"""A folder that holds a result already: the same question is answered from it, another refused before any work."""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_sharded import clusters
from test_sharded_table import Halting, StoppedError
from toys import blob_features, blob_images
from untyped import as_callers_do

from decoct.compact.coreset import Coreset
from decoct.compact.load import load
from decoct.data.feature_table import FeatureTable, feature_table
from decoct.errors import OutputError
from decoct.selection.driver import select
from decoct.selection.facility_location import FacilityLocation
from decoct.selection.k_center import KCenter
from decoct.selection.own_scores import OwnScores
from decoct.selection.sharded import partition as module
from decoct.selection.sharded.driver import select_table


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureTable:
    """Seven shards or so."""
    monkeypatch.setattr(module, "UNIT_BYTES", 4 * 6 * 150)  # 150 rows of 6 numbers
    np.save(tmp_path / "phi.npy", clusters(1000).numpy().astype(np.float16))
    return feature_table(tmp_path / "phi.npy")


def test_folders_of_the_user_are_neither_used_nor_removed(table: FeatureTable, tmp_path: Path) -> None:
    own = tmp_path / "run" / "shards" / "0.tar"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    with pytest.raises(StoppedError):
        select_table(table, "k-center", count=60, out=tmp_path / "run", engine=Halting(1))
    (tmp_path / "run" / ".decoct-shards" / "notes.txt").write_text("mine, too")
    select_table(table, "k-center", count=60, out=tmp_path / "run")
    assert own.read_text() == "mine"
    left = sorted(path.name for path in (tmp_path / "run" / ".decoct-shards").iterdir())
    assert left == [".made-by-decoct", "notes.txt"]


def test_a_folder_of_that_name_that_decoct_did_not_make_is_refused(table: FeatureTable, tmp_path: Path) -> None:
    own = tmp_path / "run" / ".decoct-shards" / "c00000.safetensors"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    with pytest.raises(OutputError, match=r"(?s)that decoct did not make.*move this one away"):
        select_table(table, "k-center", count=60, out=tmp_path / "run")
    assert own.read_text() == "mine"
    assert [path.name for path in own.parent.iterdir()] == [own.name]


def _no_work(*_: Any) -> Any:
    pytest.fail("the table was cut or picked from")


def test_a_finished_selection_is_returned_and_nothing_is_cut(
    table: FeatureTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = select_table(table, "k-center", count=60, out=tmp_path / "run")
    left = tmp_path / "run" / ".decoct-shards"
    left.mkdir()
    (left / ".made-by-decoct").touch()
    (left / "c00000.safetensors").write_bytes(b"as a kill leaves it")
    monkeypatch.setattr("decoct.selection.sharded.ask.partition", _no_work)
    again = select_table(table, "k-center", count=60, out=tmp_path / "run")
    assert again.indices.tolist() == first.indices.tolist()
    assert again.provenance == first.provenance
    assert not left.exists()
    left.mkdir()
    select_table(table, "k-center", count=60, out=tmp_path / "run")
    assert not left.exists()


def test_another_question_is_refused_before_any_work(
    table: FeatureTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    select_table(table, "k-center", count=60, out=tmp_path / "run")
    before = sorted(path.name for path in (tmp_path / "run").iterdir())
    monkeypatch.setattr("decoct.selection.sharded.ask.partition", _no_work)
    others: list[dict[str, Any]] = [
        {"method": "graph-cut"}, {"method": KCenter(first="random")}, {"count": 61}, {"seed": 1}, {"shard_rows": 60},
        {"balance": "global"},
    ]  # fmt: skip
    for other in others:
        with pytest.raises(OutputError, match=r"(?s)a finished selection with .*asked.*choose another folder"):
            select_table(table, **{"method": "k-center", "count": 60, "out": tmp_path / "run", **other})
    np.save(table.path, clusters(1000).numpy()[::-1].astype(np.float16))
    with pytest.raises(OutputError, match="from other rows than"):
        select_table(table, "k-center", count=60, out=tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == before


def test_a_result_that_was_damaged_since_is_made_again(table: FeatureTable, tmp_path: Path) -> None:
    first = select_table(table, "k-center", count=60, out=tmp_path / "run")
    (tmp_path / "run" / "selection.parquet").write_bytes(b"damaged")
    select_table(table, "k-center", count=60, out=tmp_path / "run")
    mended = load(tmp_path / "run")
    assert isinstance(mended, Coreset)
    assert mended.indices.tolist() == first.indices.tolist()


def test_an_answer_that_stands_there_is_returned_and_another_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = blob_images(classes=2, per_class=12)
    rows = np.random.default_rng(0).standard_normal((24, 3))
    asked: dict[str, Any] = {"method": "herding", "ipc": 2, "features": rows, "out": tmp_path / "run"}
    first = select(data, **asked)
    monkeypatch.setattr("decoct.selection.picking.pick_groups", lambda *_: pytest.fail("picked"))
    again = select(data, **asked)
    assert again.indices.tolist() == first.indices.tolist()
    assert again.provenance == first.provenance
    others: list[dict[str, Any]] = [
        {"method": "k-center"}, {"method": KCenter(first="random")}, {"ipc": 3}, {"seed": 1}, {"features": rows + 1},
        {"features": "pixels"}, {"shard_rows": 5},
    ]  # fmt: skip
    for other in others:
        with pytest.raises(OutputError, match=r"(?s)a finished selection with .*choose another folder"):
            select(data, **{**asked, **other})
    with pytest.raises(OutputError, match="another rows_key"):
        select(data.with_train(torch.arange(23, -1, -1)), **asked)
    elsewhere = blob_images(classes=2, per_class=12, seed=1)
    with pytest.raises(OutputError, match="other data"):
        select(elsewhere, **asked)


def test_scores_from_another_training_are_another_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("decoct.selection.sources.PASSES", 2)
    data = blob_images(classes=2, per_class=8)
    select(data, "hardest", ipc=2, features="network:mlp-w8", out=tmp_path / "run")
    with pytest.raises(OutputError, match=r'network "mlp-w8" \(asked: "mlp-w4"\)'):
        select(data, "hardest", ipc=2, features="network:mlp-w4", out=tmp_path / "run")


def test_numbers_of_numpy_are_the_same_question(table: FeatureTable, tmp_path: Path) -> None:
    data = blob_images(classes=2, per_class=12)
    asked: dict[str, Any] = {"count": np.int64(6), "seed": np.int64(1)}
    with as_callers_do():
        method: Any = FacilityLocation(neighbours=np.int64(5))  # type: ignore[arg-type]
        first = select(data, method, **asked, shard_rows=np.int64(8), out=tmp_path / "rows")  # type: ignore[arg-type]
        other = select_table(table, **asked, shard_rows=np.int64(60), out=tmp_path / "table")  # type: ignore[arg-type]
    again = select(data, FacilityLocation(neighbours=5), count=6, seed=1, shard_rows=8, out=tmp_path / "rows")
    assert torch.equal(first.indices, again.indices)
    again = select_table(table, count=6, seed=1, shard_rows=60, out=tmp_path / "table")
    assert torch.equal(other.indices, again.indices)


WIDE = """
import torch

def build(shape, classes):
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(shape[0], 4), torch.nn.Linear(4, classes))
"""


def own_network(folder: Path, text: str) -> None:
    """Write `edited:build` anew, as a process that starts later would read it."""
    (folder / "edited.py").write_text(text)
    sys.modules.pop("edited", None)
    importlib.invalidate_caches()


@pytest.mark.parametrize("asked", [{"method": "hardest"}, {"method": "herding", "device": "cpu"}, {"method": "craig"}])
def test_a_network_that_was_edited_since_is_another_question(
    asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decoct.selection.sources.PASSES", 2)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    own_network(tmp_path, WIDE)
    asked = {**asked, "ipc": 2, "features": "network:edited:build", "out": tmp_path / "run"}
    data = blob_features(classes=2, per_class=8)
    first = select(data, **asked)
    assert first.provenance["device"] == "cpu"
    assert torch.equal(select(data, **asked).indices, first.indices)
    own_network(tmp_path, WIDE.replace("4", "5"))
    with pytest.raises(OutputError, match=r"(?s)a finished selection with .*(features_key|network).*another folder"):
        select(data, **asked)


def test_a_backbone_whose_weights_were_exchanged_is_another_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, model = blob_images(classes=2, per_class=4), tmp_path / "model"
    monkeypatch.setattr("decoct.selection.features.pretrained_features", lambda data, *_: torch.eye(len(data.train)))
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"weights")
    asked: dict[str, Any] = {"method": "herding", "ipc": 2, "features": f"transformers:{model}"}
    select(data, **asked, out=tmp_path / "run")
    select(data, **asked, out=tmp_path / "run")
    shutil.copytree(model, tmp_path / "moved")
    select(data, **{**asked, "features": f"transformers:{tmp_path / 'moved'}"}, out=tmp_path / "run")
    (model / "model.safetensors").write_bytes(b"others")
    with pytest.raises(OutputError, match="features_key"):
        select(data, **asked, out=tmp_path / "run")


def test_a_table_and_scores_that_were_moved_are_the_same_question(table: FeatureTable, tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", np.arange(1000.0))
    scored = feature_table(table.path, scores=tmp_path / "s.npy")
    asked: dict[str, Any] = {"count": 9, "out": tmp_path / "scored"}
    select_table(table, "k-center", count=9, out=tmp_path / "run")
    first = select_table(scored, "hardest", **asked)
    (tmp_path / "moved").mkdir()
    moved = feature_table(shutil.copy(table.path, tmp_path / "moved" / "psi.npy"))
    select_table(moved, "k-center", count=9, out=tmp_path / "run")
    renamed = feature_table(moved.path, scores=shutil.copy(tmp_path / "s.npy", tmp_path / "moved" / "t.npy"))
    assert torch.equal(select_table(renamed, "hardest", **asked).indices, first.indices)
    np.save(tmp_path / "s.npy", np.arange(1000.0) + 1)
    with pytest.raises(OutputError, match="another scores_key"):
        select_table(scored, "hardest", **asked)
    np.save(moved.path, clusters(1000).numpy()[::-1].astype(np.float16))
    with pytest.raises(OutputError, match=r"from other rows than .*psi.npy"):
        select_table(moved, "k-center", count=9, out=tmp_path / "run")


def test_scores_that_are_named_by_another_path_are_the_same_question(tmp_path: Path) -> None:
    data = blob_images(classes=2, per_class=6)
    values, asked = torch.arange(12.0)[:, None], {"ipc": 2, "out": tmp_path / "run"}
    first = select(data, "hardest", features=OwnScores(values, "mine", "s.parquet"), **asked)
    again = select(data, "hardest", features=OwnScores(values, "mine", "./s.parquet"), **asked)
    assert torch.equal(again.indices, first.indices)
    assert again.provenance["scores"] == {"name": "mine", "file": "s.parquet"}
    for other in (OwnScores(values, "theirs", "s.parquet"), OwnScores(-values, "mine", "s.parquet")):
        with pytest.raises(OutputError, match=r"a finished selection with .*(scores|features_key)"):
            select(data, "hardest", features=other, **asked)


@pytest.mark.parametrize("method", ["herding", "hardest"])
def test_the_device_is_no_part_of_the_question_and_is_that_of_the_training(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("decoct.selection.sources.PASSES", 2)
    monkeypatch.setattr("decoct.selection.driver.usable_device", lambda name: name)
    data = blob_features(classes=2, per_class=8)
    asked: dict[str, Any] = {"ipc": 2, "features": "network:mlp-w8", "cache": tmp_path / "cache"}
    first = select(data, method, **asked, out=tmp_path / "run")
    assert first.provenance["device"] == "cpu"
    # Nothing can be computed on this device: everything comes from the cache, which knows where it was trained.
    cached = select(data, method, **asked, device="meta", out=tmp_path / "other")
    assert (cached.provenance["device"], cached.indices.tolist()) == ("cpu", first.indices.tolist())
    again = select(data, method, **{**asked, "cache": None}, device="meta", out=tmp_path / "run")
    assert again.provenance == first.provenance
