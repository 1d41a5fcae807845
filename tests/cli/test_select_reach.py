"""What a person reaches of a selection through the command line: balance, settings, names of scores, cost, reasons."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scenes import scene_json, write_scenes
from toys import blob_images

import decoct
from decoct.cli.main import main
from decoct.selection.scores import SCORES
from decoct.training import dynamics, expert


@pytest.fixture
def source(tmp_path: Path) -> str:
    """Classes of 8, 16 and 48 training rows."""
    data = blob_images(classes=3, per_class=60, shape=(1, 6, 6))
    parts = [rows[:n] for rows, n in zip(data.train.class_rows(3), (10, 20, 60), strict=True)]
    keep = np.sort(np.concatenate(parts))
    np.savez(tmp_path / "uneven.npz", x=data.train.x[keep], y=data.train.y[keep])
    return f"npz:{tmp_path / 'uneven.npz'}"


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str], tmp_path: Path):
    """Run a command with --json; returns what it printed there and on standard error."""

    def run(*arguments: str | Path | int, code: int = 0) -> tuple[dict[str, Any], str]:
        capfd.readouterr()
        assert main([*map(str, arguments), "--json"]) == code
        said = capfd.readouterr()
        return json.loads(said.out), said.err

    return run


def _classes(folder: Path) -> list[int]:
    return np.bincount(pq.read_table(folder / "selection.parquet")["class"].to_numpy(), minlength=3).tolist()


@pytest.mark.parametrize(
    ("balance", "expected"), [(None, [3, 3, 3]), ("class", [3, 3, 3]), ("floor:2", [2, 2, 5]), ("floor:1", [1, 2, 6])]
)
def test_balance(source: str, tmp_path: Path, say, balance: str | None, expected: list[int]) -> None:
    words = () if balance is None else ("--balance", balance)
    found, _ = say("select", source, "--method", "random", "--count", 9, "--out", tmp_path / "o", *words)
    assert _classes(tmp_path / "o") == expected
    assert found["provenance"]["balance"] == (balance or "class")


def test_a_budget_of_bytes(source: str, tmp_path: Path, say) -> None:
    found, said = say("select", source, "--method", "random", "--bytes", 370, "--out", tmp_path / "o")
    # A row of 6 x 6 grey pixels takes 36 bytes, and its label one more.
    assert (found["rows"], found["provenance"]["budget"]) == (10, {"nbytes": 370})
    assert "estimate: selecting takes" in said
    error = say("select", source, "--bytes", 370, "--count", 3, "--out", tmp_path / "p", code=2)[0]["error"]
    assert error["received"] == "count=3, nbytes=370"


@pytest.mark.parametrize("command", ["select", "explain"])
def test_help_says_what_is_cached_and_what_a_device_is(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    said = " ".join(capfd.readouterr().out.replace("│", " ").split())
    assert "--cache DIR Folder in which features, trained networks" in said
    assert "--device STR cpu, cuda or cuda:1: where " in said
    assert "(default: cpu)" in said


def test_all_rows_at_once(source: str, tmp_path: Path, say) -> None:
    ids = decoct.open(source).train.ids.tolist()
    pq.write_table(pa.table({"id": ids, "mine": np.arange(len(ids), dtype=float)}), tmp_path / "s.parquet")
    line = ("select", source, "--method", "hardest", "--scores", tmp_path / "s.parquet", "--score", "mine")
    found, _ = say(*line, "--count", 6, "--balance", "global", "--out", tmp_path / "o")
    kept = pq.read_table(tmp_path / "o" / "selection.parquet").to_pydict()
    assert kept["index"] == [len(ids) - 1 - rank for rank in range(6)]
    assert kept["reason"][0] == f"among the largest values of mine, at {len(ids) - 1}"
    assert found["provenance"]["scores"] == {"name": "mine", "file": str(tmp_path / "s.parquet")}
    assert found["provenance"]["config"] == {"score": "mine"}


@pytest.mark.parametrize(
    ("words", "kind", "told"),
    [
        (("--count", 9, "--balance", "floor:4"), "BudgetError", "9 rows for 3 classes, whose floors take 12"),
        (("--ipc", 2, "--balance", "global"), "ConfigError", "balance='global'"),
        (("--count", 9, "--balance", "floor"), "ConfigError", "'floor'"),
        (("--count", 9, "--set", "windw=3"), "UnknownNameError", "'windw=3'"),
        (("--count", 9, "--method", "ccs", "--set", "strata=x"), "ConfigError", "'x'"),
    ],
)
def test_what_cannot_be_is_told_and_leaves_nothing(
    source: str, tmp_path: Path, say, words, kind: str, told: str
) -> None:
    error = say("select", source, *words, "--out", tmp_path / "o", code=2)[0]["error"]
    assert error["kind"] == kind
    assert told in error["received"]
    assert not (tmp_path / "o").exists()


def test_settings_are_set_and_recorded(source: str, tmp_path: Path, say) -> None:
    line = ("select", source, "--count", 9, "--method", "facility-location", "--out", tmp_path / "a")
    found, _ = say(*line, "--set", "engine=stochastic", "epsilon=0.1", "--set", "form=blocks")
    config = found["provenance"]["config"]
    assert (config["engine"], config["epsilon"], config["form"], config["kind"]) == (
        "stochastic",
        0.1,
        "blocks",
        "cosine",
    )
    found, _ = say(
        "select", source, "--count", 9, "--method", "semdedup", "--set", "eps=0.3", "--shard-rows", 10,
        "--out", tmp_path / "b",
    )  # fmt: skip
    assert found["provenance"]["config"]["inner"]["eps"] == 0.3


def test_methods_list_their_settings(say) -> None:
    found, _ = say("methods")
    assert found["settings"]["dyn-unc"] == {"score": "dyn-unc", "window": "none"}
    assert found["settings"]["csod"] == {"weight": "0.05", "centred": "False"}
    assert found["settings"]["random"] == {}


def test_the_window_of_scores_is_told_before_the_training(source: str, tmp_path: Path, say) -> None:
    line = ("score", source, "--epochs", 3, "--network", "mlp-w8", "--out")
    for window in (2, 3):
        say(*line, tmp_path / f"w{window}", "--window", window)
    two, three = (pq.read_table(tmp_path / f"w{window}" / "scores.parquet") for window in (2, 3))
    assert np.allclose(three["dyn-unc"].to_numpy(), three["variability"].to_numpy(), atol=1e-6)
    assert not np.allclose(two["dyn-unc"].to_numpy(), three["dyn-unc"].to_numpy(), atol=1e-6)
    error = say(*line, tmp_path / "w4", "--window", 4, code=2)[0]["error"]
    assert error["received"] == "a window of 4 passes in a recording of 3"
    assert not (tmp_path / "w4").exists()


def test_scores_say_when_rows_were_looked_at(source: str, tmp_path: Path, say) -> None:
    line = ("score", source, "--epochs", 2, "--network", "mlp-w8", "--out", tmp_path / "heard")
    found, _ = say(*line, "--look", "during")
    assert (found["look"], found["passes"], found["scores"]) == ("during", 2, sorted(SCORES))
    error = say(*line, code=2)[0]["error"]
    assert "with another look" in error["received"]


def test_the_cost_of_a_table_and_of_images_is_told(tmp_path: Path, say) -> None:
    np.save(tmp_path / "phi.npy", np.random.default_rng(0).standard_normal((300, 4)).astype(np.float32))
    np.save(tmp_path / "y.npy", np.arange(300) % 3)
    line = ("select", f"features:{tmp_path / 'phi.npy'}", "--labels", tmp_path / "y.npy", "--count", 9)
    found, said = say(*line, "--method", "k-median", "--out", tmp_path / "a")
    assert "estimate: selecting takes about " in said
    assert "on this machine" in said
    assert "pays" not in said
    # Three classes of 100 rows: distances by differences, and walks through their tables.
    assert 3 * 3 * 100**2 * 4 < found["estimate"]["flops"] < 100 * 3 * 3 * 100**2 * 4
    scenes = f"coco:{write_scenes(tmp_path / 'data', scene_json(count=12))}"
    line = ("select", scenes, "--count", 3, "--size", "48x64")
    found, said = say(*line, "--features", "pixels", "--set", "weight=0.5", "--out", tmp_path / "b")
    assert "estimate: selecting takes about " in said
    assert found["provenance"]["config"]["weight"] == 0.5
    assert found["estimate"]["passes"] == 0
    error = say(*line, "--balance", "global", "--dropped", "--out", tmp_path / "c", code=2)[0]["error"]
    assert error["received"] == "--balance and --dropped"


def test_rows_are_explained_from_what_was_computed(
    source: str, tmp_path: Path, say, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []
    for module, name in ((dynamics, "record_dynamics"), (expert, "train_expert"), (dynamics, "fit_dataset")):
        work = getattr(module, name)

        def counted(*args: Any, work=work, name=name, **options: Any) -> Any:
            trained.append(name)
            return work(*args, **options)

        monkeypatch.setattr(module, name, counted)
    monkeypatch.setattr("decoct.selection.sources.PASSES", 3)
    monkeypatch.setattr("decoct.training.expert.short_training", lambda rows: 1)
    ids = decoct.open(source).train.ids.tolist()[:3]
    line = ("select", source, "--ipc", 2, "--features", "network", "--dropped", "--explain", *ids)
    found, _ = say(*line, "--method", "k-center", "--out", tmp_path / "a")
    assert len(found["explanations"]) == 3
    assert trained == ["train_expert"]
    dropped = pq.read_table(tmp_path / "a" / "dropped.parquet")
    assert len(dropped) == len(decoct.open(source).train) - 6
    assert found["dropped"] == str(tmp_path / "a" / "dropped.parquet")
    assert decoct.load(tmp_path / "a").provenance["features"] == "network:convnet3-w32"

    trained.clear()
    line = ("select", source, "--ipc", 2, "--method", "hardest", "--explain", *ids, "--dropped")
    found, _ = say(*line, "--out", tmp_path / "b")
    assert trained == ["fit_dataset"]
    table = pq.read_table(tmp_path / "b" / "dropped.parquet").to_pydict()
    kept = pq.read_table(tmp_path / "b" / "selection.parquet").to_pydict()
    for name, told in zip(ids, found["explanations"], strict=True):
        if name in table["id"]:
            place = table["id"].index(name)
            rank = max(rank for rank, label in enumerate(kept["class"]) if label == table["class"][place])
            score, last = table["score"][place], kept["score"][rank]
            assert f"its el2n {score:.4g}, the last kept {last:.4g}" in told
            assert score <= last


def test_a_saved_selection_is_explained_later(source: str, tmp_path: Path, say) -> None:
    ids = decoct.open(source).train.ids.tolist()
    pq.write_table(pa.table({"id": ids, "mine": np.arange(len(ids), dtype=float)}), tmp_path / "s.parquet")
    line = ("select", source, "--method", "easiest", "--scores", tmp_path / "s.parquet", "--score", "mine", "--ipc", 1)
    asked = (ids[0], ids[-1])
    then, _ = say(*line, "--out", tmp_path / "o", "--explain", *asked)
    later, _ = say("explain", tmp_path / "o", source, *asked)
    assert [one["sentence"] for one in later["rows"]] == then["explanations"]
    assert "its mine " in later["rows"][1]["sentence"]
    say("select", source, "--features", "pixels", "--ipc", 1, "--out", tmp_path / "p")
    assert say("explain", tmp_path / "p", source, ids[0])[0]["features"] == "pixels"
    np.save(tmp_path / "own.npy", np.random.default_rng(0).standard_normal((len(ids), 3)))
    own = f"npy:{tmp_path / 'own.npy'}"
    say("select", source, "--features", own, "--ipc", 1, "--out", tmp_path / "q")
    assert "give them with --features" in say("explain", tmp_path / "q", source, ids[0])[1]
    assert "give them with --features" not in say("explain", tmp_path / "q", source, ids[0], "--features", own)[1]
    assert say("explain", tmp_path / "o", source, "train/x", code=2)[0]["error"]["kind"] == "UnknownNameError"
    assert say("explain", tmp_path / "none", source, ids[0], code=2)[0]["error"]["kind"] == "SourceError"
