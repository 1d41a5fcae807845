"""`decoct export`: the forms that a user takes a selection away in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from decoct.cli.main import main


@pytest.fixture(scope="module")
def picked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "set"
    assert main(["select", "digits", "--method", "random", "--ipc", "2", "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize("to", ["imagefolder", "parquet", "npz", "hub", "datacomp"])
def test_every_form_is_written(to: str, picked: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out"
    assert main(["export", str(picked), "--to", to, str(path)]) == 0
    assert f"20 rows as {to}" in capfd.readouterr().out
    assert path.exists()
    if to == "datacomp":
        assert np.load(path).dtype == np.dtype("u8,u8")


def test_rows_of_a_table_have_no_uids_and_that_is_said(picked: Path, tmp_path: Path, capfd) -> None:
    np.save(tmp_path / "phi.npy", np.random.default_rng(0).standard_normal((40, 3)))
    table = ["select", f"features:{tmp_path / 'phi.npy'}", "--count", "3", "--out", str(tmp_path / "o")]
    assert main(table) == 0
    for folder, told in ((tmp_path / "o", True), (picked, False)):
        capfd.readouterr()
        assert main(["export", str(folder), "--to", "datacomp", str(tmp_path / "uids.npy")]) == 0
        assert ("note: rows of a table of features have no uids" in capfd.readouterr().err) == told
    assert main(["export", str(tmp_path / "o"), "--to", "parquet", str(tmp_path / "rows.parquet")]) == 0
    assert "no uids" not in capfd.readouterr().err


def test_only_a_hub_folder_is_pushed(picked: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out.npz"
    assert main(["export", str(picked), "--to", "npz", "--push", "me/set", str(path), "--json"]) == 2
    assert json.loads(capfd.readouterr().out)["error"]["kind"] == "ConfigError"
    assert not path.exists()


def test_pushing_tells_the_address(picked: Path, tmp_path: Path, monkeypatch, capfd) -> None:
    asked = {}

    def push(folder: Path, name: str, *, private: bool) -> str:
        asked.update(folder=folder, name=name, private=private)
        return "https://hub/me/set"

    monkeypatch.setattr("decoct.compact.hub.push_to_hub", push)
    assert main(["export", str(picked), "--to", "hub", "--push", "me/set", str(tmp_path / "h")]) == 0
    assert asked == {"folder": tmp_path / "h", "name": "me/set", "private": True}
    assert "pushed to https://hub/me/set" in capfd.readouterr().out
