"""`decoct evaluate` beyond one number: networks, augmentations, fair scores, a search, the bytes of labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from toys import blob_images, saved_npz

from decoct.cli.main import main
from decoct.evaluation.matrix import Matrix


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    path = tmp_path_factory.mktemp("data") / "blobs.npz"
    source, out = saved_npz(blob_images(classes=3, per_class=20), path), path.parent / "set"
    assert main(["select", source, "--method", "random", "--ipc", "2", "--out", str(out)]) == 0
    return source, out


def say(capfd: pytest.CaptureFixture[str], *arguments: Any) -> dict[str, Any]:
    capfd.readouterr()
    assert main([*map(str, arguments), "--json"]) == 0
    return json.loads(capfd.readouterr().out)


def test_a_matrix_with_fair_scores_and_labels_in_one_command(
    folder: tuple[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source, small = folder
    line = ["evaluate", small, "--data", source, "--networks", "mlp", "--seeds", "1", "--augment", "none", "cutmix",
            "--baselines", "random", "--fair", "--labels", "hard", "teacher-top2", "--out", tmp_path]  # fmt: skip
    told = say(capfd, *line)
    assert Matrix.load(tmp_path / "matrix.json").augmentations == ("none", "cutmix")
    assert {entry["name"] for entry in told["entries"]} == {"random", "random+teacher", "full"}
    [score] = told["fair_scores"]
    assert 0 <= score["mean_lrs"] <= 1
    assert 0 <= score["mean_ars"] <= 1
    assert json.loads((tmp_path / "fair_scores.json").read_text())["scores"] == told["fair_scores"]
    assert [entry["label"] for entry in told["label_bytes"]["entries"]] == ["hard", "teacher-top2"]
    cells = {path.name: path.read_bytes() for path in (tmp_path / "cells").iterdir()}
    assert main([*map(str, line)]) == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "cells").iterdir()} == cells
    shown = capfd.readouterr().out
    for words in ("augmentation: cutmix", "LRS", "teacher-top2", "scorecard: "):
        assert words in shown
    report = say(capfd, "report", tmp_path, "--out", tmp_path / "r.html")
    assert report["judged"] == 1
    html = (tmp_path / "r.html").read_text()
    assert all(f'id="{anchor}"' in html for anchor in ("fair", "matrix", "label-bytes"))


def test_a_search_is_said_and_bad_names_are_refused(
    folder: tuple[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source, small = folder
    line = ["evaluate", str(small), "--data", source, "--networks", "mlp", "--seeds", "1", "--out", str(tmp_path)]
    told = say(capfd, *line, "--baselines", "random", "--search", "2")
    assert told["protocol"]["name"] == "quick+search2"
    assert told["provenance"]["test_reads"] == {"runs": 2, "most_reads_of_a_run": 1}
    for words, said in (("--augment cutmx", "did you mean 'cutmix'"), ("--search 1", "at least 2"),
                        ("--labels own", "a set with hard labels")):  # fmt: skip
        assert main([*line, "--baselines", "random", *words.split()]) == 2
        assert said in capfd.readouterr().err


@pytest.mark.parametrize(
    ("ways", "said"),
    [("own", "a set with hard labels"), ("hard own-topp3", "own-topp3"), ("teacher-top9", "-top1 to -top3")],
)
def test_ways_of_keeping_labels_are_refused_before_anything_is_trained(
    folder: tuple[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str], ways: str, said: str
) -> None:
    source, small = folder
    line = ["evaluate", str(small), "--data", source, "--networks", "mlp", "--seeds", "1", "--baselines", "random"]
    assert main([*line, "--out", str(tmp_path / "out"), "--labels", *ways.split()]) == 2
    assert said in capfd.readouterr().err
    assert not (tmp_path / "out").exists()
