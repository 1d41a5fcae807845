"""The commands as a person strings them together, on a small file of images."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from toys import blob_images, saved_npz

from decoct.cli.main import main


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return saved_npz(blob_images(classes=3, per_class=20), tmp_path_factory.mktemp("data") / "blobs.npz")


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]):
    """Run a command with --json and return what it printed."""

    def run(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
        assert main([*map(str, arguments), "--json"]) == code
        return json.loads(capfd.readouterr().out)

    return run


def test_data_describes_and_draws(source: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], say) -> None:
    found = say("data", source, "--out", tmp_path / "grid.png")
    assert found["classes"] == 3
    assert (tmp_path / "grid.png").stat().st_size > 200
    assert main(["data", source, "--out", str(tmp_path / "grid.png")]) == 0
    said = capfd.readouterr()
    assert "classes      3" in said.out
    assert said.out.strip().endswith("grid.png")


def test_select_export_and_report(source: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], say) -> None:
    out = tmp_path / "set"
    made = say("select", source, "--method", "k-means", "--ipc", 2, "--out", out, "--features", "pixels")
    assert made["rows"] == 6
    assert made["bytes"] == {"images": 6 * 64, "labels": 6, "decoder": 0, "total": 390}
    for form, path in (("npz", "a.npz"), ("parquet", "a.parquet"), ("imagefolder", "a")):
        assert say("export", out, "--to", form, tmp_path / path)["rows"] == 6
        assert (tmp_path / path).exists()
    told = say("report", out, "--data", source)
    assert told["sets"] == 1
    assert "No set has been judged yet" in (out / "report.html").read_text()
    assert main(["select", source, "--count", "5", "--out", str(tmp_path / "other")]) == 0
    assert "5 rows of 3 classes" in capfd.readouterr().out


def test_a_report_shows_the_galleries_of_a_scored_folder(source: str, tmp_path: Path, say) -> None:
    out, made = tmp_path / "scored", tmp_path / "set"
    say("score", source, "--network", "mlp-w16", "--epochs", 2, "--out", out)
    say("select", source, "--method", "random", "--ipc", 2, "--out", made)
    told = say("report", made, out, "--out", tmp_path / "r.html")
    assert (told["sets"], told["scored"]) == (1, 1)
    text = (tmp_path / "r.html").read_text()
    for title in ("Hardest", "Easiest", "Most ambiguous", "Likely mislabelled", "Most redundant", "Map of the data"):
        assert title in text
    assert text.count("data:image/png;base64,") > 100


def test_evaluate_leaves_the_set_as_it_is(source: str, tmp_path: Path, say) -> None:
    out = tmp_path / "set"
    say("select", source, "--method", "random", "--ipc", 2, "--out", out)
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    card = say("evaluate", out, "--data", source, "--networks", "mlp", "--seeds", 1)
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before
    assert {entry["kind"] for entry in card["entries"]} == {"judged", "baseline"}
    assert Path(card["path"]) == out / "evaluation" / "scorecard.json"
    told = say("report", out, "--data", source, "--out", tmp_path / "r.html")
    assert (told["judged"], told["sets"]) == (1, 1)
    assert "trains a network to" in (tmp_path / "r.html").read_text()


def test_compare_writes_a_table_and_a_report(source: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "compared"
    line = ["compare", source, "--methods", "random", "k-means", "--ipc", "1", "--networks", "mlp", "--seeds", "1"]
    assert main([*line, "--baselines", "full", "--out", str(out)]) == 0
    said = capfd.readouterr().out
    assert "k-means" in said
    assert said.strip().endswith(f"report: {out / 'report.html'}")
    text = (out / "report.html").read_text()
    assert "Real beside compact" in text
    assert f"decoct compare {source} --methods random k-means" in text
    (out / "report.html").unlink()
    assert main(["report", str(out)]) == 0
    assert "2 sets, 2 of them judged" in capfd.readouterr().out


def test_distill_makes_a_set_and_the_same_command_finds_it(source: str, tmp_path: Path, say) -> None:
    line = (
        "distill",
        source,
        "--recipe",
        "dm",
        "--ipc",
        1,
        "--steps",
        1,
        "--network",
        "mlp",
        "--out",
        tmp_path / "run",
    )
    made = say(*line, "--device", "cpu")
    assert made["rows"] == 3
    assert say(*line, "--device", "cpu")["content_hash"] == made["content_hash"]


def test_distill_looks_as_often_as_it_is_told(source: str, tmp_path: Path, say) -> None:
    line = ("distill", source, "--recipe", "dm", "--ipc", 1, "--steps", 4, "--network", "mlp", "--device", "cpu")
    for looks in (1, 2):
        made = say(*line, "--looks", looks, "--out", tmp_path / str(looks))
        assert [step for step, _ in made["provenance"]["validation"]] == [
            4.0 / looks * look for look in range(1, looks + 1)
        ]


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (("select", "SOURCE", "--ipc", 99, "--out", "x"), "BudgetError"),
        (("select", "npz:nowhere.npz", "--ipc", 1, "--out", "x"), "SourceError"),
        (("distill", "SOURCE", "--ipc", 1, "--steps", 1, "--budget", "1s", "--out", "x"), "ConfigError"),
        (("distill", "SOURCE", "--ipc", 1, "--budget", "soon", "--out", "x"), "ConfigError"),
        (("distill", "SOURCE", "--ipc", 1, "--network", "convnet3x", "--out", "x"), "UnknownNameError"),
        (("compare", "SOURCE", "--methods", "dmm", "--out", "x"), "UnknownNameError"),
    ],
)
def test_bad_input_ends_with_two_and_writes_nothing(
    arguments: tuple, kind: str, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, say
) -> None:
    monkeypatch.chdir(tmp_path)
    found = say(*(source if word == "SOURCE" else word for word in arguments), code=2)
    assert found["error"]["kind"] == kind
    assert list(tmp_path.iterdir()) == []


def test_an_altered_set_is_not_used(source: str, tmp_path: Path, say) -> None:
    out = tmp_path / "set"
    say("select", source, "--method", "random", "--ipc", 1, "--out", out)
    tensors = out / "set.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1] + b"\x07")
    assert say("export", out, "--to", "npz", tmp_path / "a.npz", code=2)["error"]["kind"] == "IntegrityError"
    assert not (tmp_path / "a.npz").exists()


def test_a_network_in_the_present_folder_and_the_command_to_run_next(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, say
) -> None:
    body = "return nn.Sequential(nn.Flatten(), nn.Linear(36, 4), nn.ReLU(), nn.Linear(4, classes))"
    text = f"from torch import nn\n\n\ndef tiny(shape, classes):\n    {body}\n"
    (tmp_path / "my_networks.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    line = ("distill", source, "--ipc", 1, "--steps", 1, "--size", 6, "--network", "my_networks:tiny")
    made = say(*line, "--out", "my set", "--device", "cpu")
    assert made["next"] == f"decoct evaluate 'my set' --data {source} --size 6"
    card = say(*shlex.split(made["next"])[1:], "--networks", "my_networks:tiny", "--seeds", 1)
    assert {entry["network"] for entry in card["entries"]} == {"my_networks:tiny"}
