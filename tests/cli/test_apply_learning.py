"""`decoct apply continual|federated|privacy` from outside: results as JSON, what is written, one screen for errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from decoct.cli.main import main


@pytest.fixture(autouse=True)
def short_looks(monkeypatch):
    monkeypatch.setattr("decoct.distillation.validate.STEPS", 2)


def command(capsys, *words) -> tuple[int, str, str]:
    code = main(["apply", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out, err


def test_continual_writes_its_result_and_a_report(capsys, tmp_path):
    words = ("continual", "digits", "--memories", "random", "reservoir", "--tasks", "2", "--bytes", "1500", "--seeds")
    line = (*words, "2", "--network", "mlp", "--out", tmp_path, "--device", "cpu", "--json")
    code, out, err = command(capsys, *line)
    assert code == 0, err
    result = json.loads(out)
    assert result["application"] == "continual"
    assert {run["memory"] for run in result["runs"]} == {"random", "reservoir"}
    assert json.loads((tmp_path / "continual.json").read_text())["kind"] == "continual learning"
    assert "accuracy on all classes so far" in Path(result["report"]).read_text()
    again, text, _ = command(capsys, *line[:-1])
    assert again == 0
    assert "report:" in text


def test_federated_writes_its_result_and_a_report(capsys, tmp_path):
    code, out, err = command(
        capsys, "federated", "digits", "--makers", "herding", "random", "--clients", "3", "--alpha", "1", "--ipc", "3",
        "--rounds", "1", "--seeds", "1", "--network", "mlp", "--out", tmp_path, "--json",
    )  # fmt: skip
    assert code == 0, err
    result = json.loads(out)
    assert [row["way"] for row in result["finding"]["rows"]][:3] == ["herding", "random", "all rows"]
    assert any("One seed" in note for note in result["finding"]["notes"])
    assert (tmp_path / "report.html").is_file()


def test_privacy_attacks_looks_for_copies_and_makes_a_private_set(capsys, tmp_path, monkeypatch):
    pytest.importorskip("opacus")
    assert main(["select", "digits", "--method", "random", "--ipc", "2", "--out", str(tmp_path / "set")]) == 0
    capsys.readouterr()
    code, out, err = command(
        capsys, "privacy", "digits", "--ways", "random", "--models", "6", "--ipc", "2", "--network", "mlp",
        "--sets", tmp_path / "set", "--out", tmp_path / "out", "--device", "cpu",
    )  # fmt: skip
    assert code == 0, err
    assert "set: 20 of 20 images are copies of training rows" in out
    assert "TPR at 0.1 % FPR" in out
    from decoct.applications.privacy import dp

    monkeypatch.setattr(dp.PrivateConfig, "__init__", _short(dp.PrivateConfig.__init__))
    code, out, err = command(
        capsys, "privacy", "digits", "--models", "0", "--epsilon", "8", "--delta", "1e-4", "--ipc", "1", "--network",
        "convnet1-w4", "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 0, err
    assert "0.0001)-differentially private" in out
    assert (tmp_path / "out" / "private" / "manifest.json").is_file()


def _short(make):
    def shorter(self, **settings):
        make(self, **{**settings, "releases": 3, "steps": 3})

    return shorter


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("continual", "digits", "--tasks", "11"), "from 1 to the 10 classes"),
        (("continual", "digits", "--bytes", "10"), "at least 650"),
        (("federated", "digits", "--alpha", "0"), "alpha=0.0"),
        (("privacy", "digits", "--models", "4"), "models=16"),
        (("privacy", "digits", "--ways", "reel"), "recipe or selector"),
    ],
)
def test_what_cannot_be_done_is_one_screen(capsys, tmp_path, words, text):
    code, _, err = command(capsys, *words, "--out", tmp_path)
    assert code == 2, err
    assert text in err
    assert "Traceback" not in err
