"""Scores of one's own on the command line: what is set beside them is honoured or refused, and explained later."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from toys import blob_images

import decoct
from decoct.cli.main import main
from decoct.compact.coreset import Coreset
from decoct.training import dynamics


@pytest.fixture
def source(tmp_path: Path) -> str:
    data = blob_images(classes=2, per_class=20, shape=(1, 6, 6))
    np.savez(tmp_path / "toy.npz", x=data.train.x, y=data.train.y)
    return f"npz:{tmp_path / 'toy.npz'}"


@pytest.fixture
def ids(source: str) -> list[str]:
    return decoct.open(source).train.ids.tolist()


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]):
    """Run a command with --json; returns what it printed there."""

    def run(*arguments: str | Path | int, code: int = 0) -> dict[str, Any]:
        capfd.readouterr()
        assert main([*map(str, arguments), "--json"]) == code
        return json.loads(capfd.readouterr().out)

    return run


@pytest.fixture
def scores(tmp_path: Path, ids: list[str]) -> Path:
    """Columns that order the rows in opposite ways."""
    values = np.arange(len(ids), dtype=float)
    pq.write_table(pa.table({"id": ids, "el2n": values, "aum": -values}), tmp_path / "s.parquet")
    return tmp_path / "s.parquet"


def test_the_score_that_is_set_names_the_column(source: str, scores: Path, ids: list[str], tmp_path: Path, say) -> None:
    line = ("select", source, "--method", "hardest", "--count", 1, "--balance", "global", "--scores", scores)
    found = say(*line, "--set", "score=aum", "--out", tmp_path / "aum")
    assert (found["provenance"]["config"]["score"], found["provenance"]["scores"]["name"]) == ("aum", "aum")
    assert pq.read_table(tmp_path / "aum" / "selection.parquet")["id"].to_pylist() == ids[:1]
    say(*line, "--out", tmp_path / "el2n")
    assert pq.read_table(tmp_path / "el2n" / "selection.parquet")["id"].to_pylist() == ids[-1:]


def test_features_do_not_take_the_place_of_a_score(source: str, ids: list[str], tmp_path: Path, say) -> None:
    np.save(tmp_path / "emb.npy", np.random.default_rng(0).standard_normal((len(ids), 1)))
    line = ("select", source, "--method", "hardest", "--ipc", 1, "--features", f"npy:{tmp_path / 'emb.npy'}")
    for words in (("--score", "el2n"), ()):
        error = say(*line, *words, "--out", tmp_path / "o", code=2)["error"]
        assert error["kind"] == "ConfigError"
        assert error["received"] == f"--features npy:{tmp_path / 'emb.npy'}"
        assert "--scores FILE" in error["remedy"]
    assert not (tmp_path / "o").exists()


def test_features_beside_scores_say_which_rows_are_near(
    source: str, scores: Path, ids: list[str], tmp_path: Path, say
) -> None:
    places = np.arange(len(ids), dtype=float)[:, None] * [1, 1]
    np.save(tmp_path / "emb.npy", places)
    line = ("select", source, "--method", "hardest", "--count", 2, "--balance", "global", "--scores", scores)
    words = ("--features", f"npy:{tmp_path / 'emb.npy'}", "--explain", ids[0], "--out", tmp_path / "o")
    told = say(*line, *words)["explanations"][0]
    assert f"The nearest kept row is {ids[-2]} " in told
    assert f"at distance {np.sqrt(2) * (len(ids) - 2):.4g}" in told


def test_a_window_beside_scores_is_refused(source: str, scores: Path, tmp_path: Path, say) -> None:
    line = ("select", source, "--method", "dyn-unc", "--ipc", 1, "--scores", scores, "--score", "aum")
    error = say(*line, "--set", "window=5", "--out", tmp_path / "o", code=2)["error"]
    assert (error["kind"], error["received"]) == ("ConfigError", "window=5 beside them")
    say(*line, "--out", tmp_path / "o")


def test_a_window_that_is_too_long_is_told_before_the_training(
    source: str, tmp_path: Path, say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dynamics, "fit_dataset", lambda *_, **__: pytest.fail("trained"))
    line = ("select", source, "--method", "dyn-unc", "--ipc", 1, "--set", "window=50", "--out", tmp_path / "o")
    error = say(*line, code=2)["error"]
    assert (error["kind"], error["received"]) == ("ConfigError", "a window of 50 passes in a recording of 20")


def test_an_array_without_a_name_is_explained_by_a_column(
    source: str, scores: Path, ids: list[str], tmp_path: Path, say
) -> None:
    values = np.arange(len(ids), dtype=float)
    core = decoct.select(decoct.open(source), "hardest", ipc=1, features=values, out=tmp_path / "o")
    assert isinstance(core, Coreset)
    line = ("explain", tmp_path / "o", source, ids[0], "--scores")
    error = say(*line, scores, code=2)["error"]
    assert (error["kind"], error["remedy"]) == ("ConfigError", "name it, such as --score el2n")
    assert say(*line, scores, "--score", "el2n")["rows"][0]["score"] == 0
    pq.write_table(pa.table({"id": ids, "other": values + 7}), tmp_path / "one.parquet")
    assert say(*line, tmp_path / "one.parquet")["rows"][0]["score"] == 7
    error = say("explain", tmp_path / "o", source, ids[0], "--score", "el2n", code=2)["error"]
    assert (error["kind"], error["received"]) == ("ConfigError", "--score el2n without --scores")


def test_options_of_other_sources_beside_a_table_that_is_explained_are_refused(
    source: str, ids: list[str], tmp_path: Path, say
) -> None:
    np.save(tmp_path / "phi.npy", np.random.default_rng(0).standard_normal((40, 3)))
    table = f"features:{tmp_path / 'phi.npy'}"
    say("select", table, "--count", 3, "--out", tmp_path / "o")
    error = say("explain", tmp_path / "o", table, "3", "--features", "pca", "--whiten", code=2)["error"]
    assert (error["kind"], error["received"]) == ("ConfigError", "--features and --whiten")
    say("select", source, "--ipc", 1, "--out", tmp_path / "p")
    error = say("explain", tmp_path / "p", source, ids[0], "--labels", "y.npy", code=2)["error"]
    assert error["received"] == "--labels y.npy"
    assert "other sources hold their own" in error["expected"]
