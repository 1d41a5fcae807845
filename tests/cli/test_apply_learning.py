"""`decoct apply continual|federated|privacy` from outside: results as JSON, what is written, one screen for errors."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from decoct.applications.client_work import FederatedConfig
from decoct.applications.fedavg import LOCAL
from decoct.applications.privacy.dp import PrivateConfig
from decoct.cli.main import main
from decoct.errors import ConfigError


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


def test_two_applications_in_one_folder_are_both_told(capsys, tmp_path):
    common = ("--network", "mlp", "--seeds", "1", "--out", tmp_path, "--json")
    first = ("continual", "digits", "--memories", "random", "--tasks", "2", "--bytes", "1500", "--device", "cpu")
    second = ("federated", "digits", "--makers", "random", "--clients", "2", "--alpha", "5", "--ipc", "1", "--rounds")
    assert command(capsys, *first, *common)[0] == 0
    # What a version before this one left behind, from the same command and from another one.
    (tmp_path / "finding.json").write_text((tmp_path / "finding-continual.json").read_text())
    assert command(capsys, *first, *common)[0] == 0
    assert not (tmp_path / "finding.json").exists(), "told twice otherwise"
    (tmp_path / "finding-continual.json").rename(tmp_path / "finding.json")
    assert command(capsys, *second, "1", *common)[0] == 0
    assert {path.name for path in tmp_path.glob("finding*.json")} == {"finding.json", "finding-federated.json"}
    page = (tmp_path / "report.html").read_text()
    for told in ("accuracy on all classes so far", "FedAvg"):
        assert told in page


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


def test_how_clients_of_fedavg_train_can_be_set_and_is_told(capsys, tmp_path, monkeypatch):
    asked = []

    def federated(data, makers, config, **options):
        asked.append(config)
        raise ConfigError("sharing", received="a test", expected="no work", remedy="none")

    monkeypatch.setattr("decoct.applications.federated.federated", federated)
    command(capsys, "federated", "digits", "--out", tmp_path)
    command(capsys, "federated", "digits", "--local-lr", "0.2", "--local-epochs", "5", "--out", tmp_path)
    assert asked[0] == FederatedConfig(), "the options are the settings of Python, unless given"
    assert asked[1] == FederatedConfig(local=replace(LOCAL, lr=0.2, epochs=5))
    for option, number in (("lr", "-1"), ("epochs", "0")):
        code, _, err = command(capsys, "federated", "nowhere.npz", f"--local-{option}", number, "--out", tmp_path)
        assert (code, len(asked)) == (2, 2)
        assert f"setting {option} of a FitConfig" in err


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
    private = tmp_path / "out" / "private"
    assert (private / "manifest.json").is_file()
    assert "differentially private" in json.loads((tmp_path / "out" / "private.json").read_text())["claim"]
    _ask_again(private, capsys)
    assert json.loads((tmp_path / "out" / "copies.json").read_text())["sets"][str(tmp_path / "set")]["flagged"] == 20
    assert main(["report", str(tmp_path / "out"), "--out", str(tmp_path / "again.html")]) == 0
    for page in (tmp_path / "out" / "report.html", tmp_path / "again.html"):
        text = page.read_text()
        for told in ("the attack finds", "20 of 20 images of ", "0.0001)-differentially private"):
            assert told in text, f"{page.name} does not say {told!r}"
    _use(private, tmp_path, capsys)


def test_the_help_says_what_the_device_is_not_for(capsys):
    code, out, _ = command(capsys, "privacy", "--help")
    assert code == 0
    assert "private sets and copies are on the processor" in " ".join(out.replace("│", " ").split())


def _ask_again(private: Path, capsys) -> None:
    """The same command takes the set that is there; another epsilon is refused, and so is an attack of no sense."""
    before = (private / "manifest.json").read_bytes()
    line = ("privacy", "digits", "--delta", "1e-4", "--ipc", "1", "--network", "convnet1-w4", "--out", private.parent)
    code, out, err = command(capsys, *line, "--models", "0", "--epsilon", "8")
    assert code == 0, err
    assert "0.0001)-differentially private" in out
    assert (private / "manifest.json").read_bytes() == before
    code, out, err = command(capsys, *line, "--models", "0", "--epsilon", "3")
    assert code == 2
    assert "one made with epsilon 8.0, delta 0.0001, ipc 1, network convnet1-w4" in err
    assert "both sets together cost more privacy" in err
    code, out, err = command(capsys, *line, "--models", "7", "--epsilon", "3")
    assert code == 2
    assert "an even number of networks" in err


def test_a_private_set_is_never_handed_out_for_other_rows(capsys, tmp_path, monkeypatch):
    """Two archives of one shape, whose classes have no names: nothing but the rows tells them apart."""
    pytest.importorskip("opacus")
    from decoct.applications.privacy import dp

    monkeypatch.setattr(dp.PrivateConfig, "__init__", _short(dp.PrivateConfig.__init__))
    for name, seed in (("one", 0), ("other", 1)):
        rows = np.random.default_rng(seed).integers(0, 256, (60, 1, 8, 8), dtype=np.uint8)
        np.savez(tmp_path / f"{name}.npz", x=rows, y=np.arange(60) % 3)
    out = tmp_path / "out"
    line = ("--models", "0", "--epsilon", "8", "--delta", "1e-3", "--ipc", "1", "--network", "convnet1-w4", "--out")
    code, _, err = command(capsys, "privacy", f"npz:{tmp_path}/one.npz", *line, out)
    assert code == 0, err
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    code, _, err = command(capsys, "privacy", f"npz:{tmp_path}/other.npz", *line, out)
    assert code == 2
    assert "one made from other rows" in err
    [beside] = out.glob("private-rows.json")
    key = json.loads(beside.read_text())["data_key"]
    assert not [path for path in (out / "private").rglob("*") if key.encode() in path.read_bytes()]
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert command(capsys, "privacy", f"npz:{tmp_path}/one.npz", *line, out)[0] == 0
    beside.unlink()
    code, _, err = command(capsys, "privacy", f"npz:{tmp_path}/one.npz", *line, out)
    assert code == 2
    assert "private-rows.json, which says what rows it was made from" in err


def test_epsilon_and_delta_are_those_of_the_private_sets_that_are_attacked(capsys, tmp_path, monkeypatch):
    asked = []

    def membership(data, ways, config, **options):
        asked.append((ways, config.private))
        raise ConfigError("attacking", received="a test", expected="no work", remedy="none")

    monkeypatch.setattr("decoct.applications.privacy.membership.membership", membership)
    monkeypatch.setattr("decoct.applications.privacy.membership.require_attack", lambda *_: None)
    monkeypatch.setattr("decoct.cli.apply_privacy._private", lambda *_: None)
    line = ("privacy", "digits", "--ways", "private", "--out", tmp_path)
    command(capsys, *line, "--epsilon", "3", "--delta", "1e-6")
    command(capsys, *line, "--epsilon", "3")
    command(capsys, *line)
    configs = [PrivateConfig(target=3.0, delta=1e-6), PrivateConfig(target=3.0, delta=1e-5), None]
    assert asked == [(("private",), config) for config in configs]


def _use(private: Path, tmp_path: Path, capsys) -> None:
    """The private set by the commands that need the data it was made from, which it does not name."""
    capsys.readouterr()
    line = ["evaluate", str(private), "--data", "digits", "--networks", "mlp", "--seeds", "1", "--baselines", "random"]
    assert main(line) == 0
    assert "note: The fingerprint of the set is withheld" in capsys.readouterr().out
    assert main(["report", str(private), "--data", "digits", "--out", str(tmp_path / "private.html")]) == 0
    assert "The fingerprint of the set is withheld" in (tmp_path / "private.html").read_text()
    capsys.readouterr()
    code, out, err = command(
        capsys, "privacy", "digits", "--models", "0", "--sets", private, "--out", tmp_path / "copies"
    )
    assert code == 0, err
    assert "private: 0 of 10 images are copies" in out
    assert "note: The fingerprint of the set is withheld" in out
    bad = main(["evaluate", str(private), "--data", "digits", "--size", "6", "--networks", "mlp", "--seeds", "1"])
    assert bad == 2
    assert "a set of rows of shape [1, 8, 8] and data of shape [1, 6, 6]" in capsys.readouterr().err


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
        (("privacy", "digits", "--ways", "private"), "--epsilon on the command line"),
        (("privacy", "nowhere.npz", "--delta", "1e-6"), "--delta with --epsilon, and only there"),
    ],
)
def test_what_cannot_be_done_is_one_screen(capsys, tmp_path, words, text):
    code, _, err = command(capsys, *words, "--out", tmp_path)
    assert code == 2, err
    assert text in err
    assert "Traceback" not in err


def test_the_help_says_what_private_sets_take_from_steps_and_seed(capsys):
    assert main(["apply", "privacy", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "Private sets (--epsilon, --ways private) have a fixed number of steps, whatever is given here" in said
    assert "and of the noise in the sets that --ways private makes to be attacked" in said
