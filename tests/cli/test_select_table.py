"""`decoct select features:PATH.npy`, and the options that say where units run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from decoct.cli.main import main


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    rows = 9 * rng.standard_normal((6, 5))[np.arange(600) % 6] + rng.standard_normal((600, 5))
    np.save(tmp_path / "phi.npy", rows.astype(np.float16))
    np.save(tmp_path / "y.npy", np.arange(600) % 3)
    np.save(tmp_path / "hard.npy", np.arange(600.0))
    return tmp_path / "phi.npy"


def _run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["select", *map(str, arguments)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_table_is_picked_from_by_one_command(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = table.parent / "run"
    code, said, _ = _run(
        capsys, f"features:{table}", "--method", "k-center", "--fraction", 0.05, "--shard-rows", 100, "--out", out
    )
    assert code == 0
    assert f"{out}: 30 of 600 rows of features:{table} in " in said
    assert "of memory at most" in said
    kept = pq.read_table(out / "selection.parquet").to_pydict()
    assert [int(name) for name in kept["id"]] == kept["index"]
    assert len(set(kept["id"])) == 30
    assert kept["reason"][0]
    assert not (out / ".decoct-shards").exists()


def test_the_cache_keeps_the_shards(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = (f"features:{table}", "--count", 9, "--cache", table.parent / "cache")
    assert _run(capsys, *line, "--method", "k-center", "--out", table.parent / "a")[0] == 0
    kept = {path: path.stat().st_mtime_ns for path in (table.parent / "cache").rglob("*.rows")}
    assert kept
    assert _run(capsys, *line, "--method", "graph-cut", "--out", table.parent / "b")[0] == 0
    assert {path: path.stat().st_mtime_ns for path in (table.parent / "cache").rglob("*.rows")} == kept


def test_labels_balance_and_scores_order(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said, _ = _run(
        capsys, f"features:{table}", "--method", "graph-cut", "--ipc", 4, "--labels", table.parent / "y.npy",
        "--out", table.parent / "a", "--json",
    )  # fmt: skip
    assert (code, json.loads(said)["classes"]) == (0, 3)
    assert (
        sorted(pq.read_table(table.parent / "a" / "selection.parquet").to_pydict()["class"])
        == [0] * 4 + [1] * 4 + [2] * 4
    )
    code, _, _ = _run(
        capsys, f"features:{table}", "--method", "hardest", "--count", 3, "--scores", table.parent / "hard.npy",
        "--out", table.parent / "b",
    )  # fmt: skip
    assert code == 0
    assert pq.read_table(table.parent / "b" / "selection.parquet").to_pydict()["index"] == [599, 598, 597]


def test_rows_of_a_table_are_explained_at_once_and_later(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = table.parent / "run"
    line = (f"features:{table}", "--method", "hardest", "--count", 6, "--labels", table.parent / "y.npy")
    code, said, _ = _run(capsys, *line, "--scores", table.parent / "hard.npy", "--out", out, "--explain", 599, 3)
    assert code == 0
    first, second = said.splitlines()[-2:]
    assert first.startswith("row 599 (2) was kept by hardest as number ")
    assert second.startswith(
        "row 3 (0) was dropped by hardest: its hard.npy 3, the last kept 594; 6 rows were kept, 2 "
    )
    words = ["explain", str(out), f"features:{table}", "599", "3"]
    assert main([*words, "--labels", str(table.parent / "y.npy")]) == 0
    assert capsys.readouterr().out.splitlines() == [first, second], "the scores are found again"
    np.save(table.parent / "hard.npy", np.zeros(600))
    assert main([*words, "--labels", str(table.parent / "y.npy"), "--json"]) == 0
    told = capsys.readouterr()
    assert "hard.npy has changed since" in told.err
    assert [row["score"] for row in json.loads(told.out)["rows"]] == [599, None]
    assert main(words) == 2
    assert "give those labels: --labels FILE.npy" in capsys.readouterr().err


def test_own_features_from_a_file_and_shards_of_a_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import decoct

    rows = len(decoct.open("digits").train)
    np.save(tmp_path / "own.npy", np.random.default_rng(0).standard_normal((rows, 3)))
    code, said, _ = _run(
        capsys, "digits", "--method", "k-center", "--ipc", 3, "--features", f"npy:{tmp_path / 'own.npy'}",
        "--shard-rows", 40, "--out", tmp_path / "run", "--json",
    )  # fmt: skip
    provenance = json.loads(said)["provenance"]
    assert (code, provenance["features"], provenance["config"]["rows"]) == (0, "array", 40)


def test_the_same_command_again_says_the_same_and_another_is_refused(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = (f"features:{table}", "--method", "k-center", "--out", table.parent / "run", "--json", "--count")
    first, again = (json.loads(_run(capsys, *line, 9)[1]) for _ in range(2))
    assert again["content_hash"] == first["content_hash"]
    assert again["provenance"] == first["provenance"]
    code, said, _ = _run(capsys, *line, 10)
    error = json.loads(said)["error"]
    assert (code, error["kind"]) == (2, "OutputError")
    assert error["received"] == 'a finished selection with budget {"count": 9} (asked: {"count": 10})'
    assert not (table.parent / "run" / ".decoct-shards").exists()


def test_labels_beside_a_data_set_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, said = _run(capsys, "digits", "--ipc", 1, "--labels", "y.npy", "--out", tmp_path / "run")
    assert code == 2
    assert "other sources hold their own" in said


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--features", "pca"], "--features"),
        (["--dropped"], "--dropped"),
        (["--explain", "600"], "a number from 0 to 599"),
        (["--explain", "first"], "the id 'first'"),
        (["--weights", "w.parquet"], "--weights"),
        (["--images", "pictures"], "--images"),
        (["--size", "32"], "--size"),
        (["--mode", "rgb"], "--mode"),
        (["--val-fraction", "0.2", "--split-seed", "1"], "--val-fraction and --split-seed"),
        (["--whiten", "--skip-bad"], "--whiten and --skip-bad"),
        (["--device", "cuda"], "--device"),
        (["--set", "score=aum", "--method", "hardest"], "--set score=aum"),
        (["--workers", "2"], "--workers with --engine local"),
        (["--engine", "spark"], "looking up the engine 'spark'"),
        (["--method", "hardest"], "--scores FILE.npy"),
        (["--shard-rows", "0"], "rows=0"),
        (["--shard-rows", "-3"], "rows=-3"),
    ],
)
def test_what_does_not_fit_a_table_is_told(
    table: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    code, _, said = _run(
        capsys, f"features:{table}", "--count", 3, "--out", table.parent / "run", *(words or []),
        *([] if "--method" in words else ["--method", "k-center"]),
    )  # fmt: skip
    assert code == 2
    assert told in said


def test_bytes_of_a_table_are_refused(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, said = _run(capsys, f"features:{table}", "--bytes", 3000, "--out", table.parent / "run")
    assert code == 2
    assert "received: --bytes" in said
    assert "expected: --ipc, --fraction or --count" in said
