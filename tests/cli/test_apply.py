"""`decoct apply WHAT` from outside: the result as JSON, what is written, and one screen for what cannot be done."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from toys import blob_images, saved_npz

from decoct.analysis.finding import Chart, Finding
from decoct.cli.main import main
from decoct.compact.load import load
from decoct.evaluation.data_facts import data_facts


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return saved_npz(blob_images(classes=3, per_class=20), tmp_path_factory.mktemp("data") / "blobs.npz")


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]):
    def run(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
        assert main(["apply", *map(str, arguments), "--json"]) == code
        return json.loads(capfd.readouterr().out)

    return run


def test_architectures_are_ranked_and_told_in_a_report(source: str, tmp_path: Path, say, capfd) -> None:
    networks = ["convnet1-w4", "convnet2-w4", "convnet1-w4-none"]
    found = say(
        "architectures", source, "--methods", "k-center", "--ipc", "1", "--networks", *networks, "--seeds", "1",
        "--epochs", "2", "--full-epochs", "2", "--out", tmp_path / "ranked",
    )  # fmt: skip
    assert found["application"] == "architectures"
    assert [proxy["name"] for proxy in found["proxies"]] == ["k-center", "random", "herding", "early stopping"]
    assert found["networks"] == networks
    assert found["data"].keys() == data_facts(blob_images()).keys()
    told = (tmp_path / "ranked" / "report.html").read_text()
    assert "early stopping" in told
    assert "No set has been judged yet" not in told
    assert (tmp_path / "ranked" / "finding-architectures.json").is_file()
    assert main(["report", str(tmp_path / "ranked"), "--out", str(tmp_path / "again.html")]) == 0
    assert "early stopping" in (tmp_path / "again.html").read_text()
    capfd.readouterr()
    assert json.loads((tmp_path / "ranked" / "architectures.json").read_text())["kind"] == "architecture search"
    again = say("architectures", source, "--sets", tmp_path / "ranked" / "sets" / "k-center-ipc1-seed0",
                "--networks", *networks, "--seeds", "1", "--epochs", "2", "--full-epochs", "2",
                "--out", tmp_path / "ranked")  # fmt: skip
    assert again["proxies"][0]["name"] == "k-center-ipc1-seed0"
    assert again["truth"] == found["truth"]


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        (("architectures", "--methods", "k-center", "k-centre"), "UnknownNameError", "k-centre"),
        (("architectures", "--sets", "a/run", "b/run"), "ConfigError", "two sets called 'run'"),
        (("architectures", "--sets", "a/dm", "--methods", "dm"), "ConfigError", "two sets called 'dm'"),
        (("architectures", "--sets", "a/random", "--methods", "dm"), "ConfigError", "a set called 'random'"),
        (("hyperparameters", "--methods", "hcdc", "hreding"), "UnknownNameError", "hreding"),
        (("hyperparameters", "--methods", "herding", "ridge"), "ConfigError", "labels are scores"),
        (("hyperparameters", "--seeds", "0"), "ConfigError", "0"),
        (("architectures", "--early", "0"), "ConfigError", "--early 0"),
        (("architectures", "--methods", "dm+noise"), "ConfigError", "'dm+noise', with what its images start from"),
        (("hyperparameters", "--methods", "dm+noise"), "ConfigError", "'dm+noise', with what its images start from"),
    ],
)
def test_what_cannot_be_is_refused_before_sets_are_made(
    line: tuple[str, ...], kind: str, words: str, source: str, tmp_path: Path, say
) -> None:
    error = say(line[0], source, *line[1:], "--out", tmp_path / "out", code=2)["error"]
    assert error["kind"] == kind
    assert words in error["received"]
    assert not (tmp_path / "out").exists()


def test_hyperparameters_are_ordered_by_condensed_validation_sets(
    source: str, tmp_path: Path, say, monkeypatch
) -> None:
    found = say(
        "hyperparameters", source, "--methods", "herding", "hcdc", "hcdc-slopes", "--train-ipc", "2", "--steps", "2",
        "--space", "decay", "--candidates", "3", "--seeds", "1", "--network", "convnet1-w4",
        "--out", tmp_path / "ordered",
    )  # fmt: skip
    assert [one["name"] for one in found["orderings"]] == ["herding", "hcdc", "hcdc-slopes", "random", "whole split"]
    made = tmp_path / "ordered" / "validation"
    assert len(list((made / "points").iterdir())) == 1, "the second finds the points of the first"
    first, second = (next(made.glob(f"{name}-ipc1-decay-*")) for name in ("hcdc", "hcdc-slopes"))
    weights = [load(one).provenance["settings"]["objective"]["slope_weight"] for one in (first, second)]
    assert weights == [0.0, 1.0]
    assert first.name.endswith(load(next((tmp_path / "ordered" / "train").iterdir())).content_hash[:12])
    assert found["names"] == ["weight decay"]
    assert "Spearman" in (tmp_path / "ordered" / "report.html").read_text()
    assert (tmp_path / "ordered" / "finding-hyperparameters.json").is_file()


def test_a_validation_set_made_for_another_training_set_is_not_taken_for_this_one(
    source: str, tmp_path: Path, say, capfd
) -> None:
    """A run knows its training set by the path, and there another one may stand."""
    train = tmp_path / "train"
    for seed in ("0", "1"):
        shutil.rmtree(train, ignore_errors=True)
        words = ("--method", "random", "--ipc", "2", "--seed", seed, "--out", str(train))
        assert main(["select", source, *words]) == 0
        capfd.readouterr()
        say("hyperparameters", source, "--train", train, "--methods", "hcdc", "--steps", "1", "--space", "decay",
            "--candidates", "3", "--seeds", "1", "--network", "convnet1-w4", "--out", tmp_path / "out")  # fmt: skip
    made = tmp_path / "out" / "validation"
    assert len(list(made.glob("hcdc-ipc1-decay-*"))) == 2
    assert len(list((made / "points").iterdir())) == 2, "of networks trained on either"


def test_a_graph_search_that_cannot_be_is_refused_before_the_graph_is_read(tmp_path: Path, say) -> None:
    for option, number in (("columns", "-3"), ("seeds", "0"), ("steps", "-1"), ("starts", "0")):
        error = say("graph", tmp_path / "none.npz", f"--{option}", number, "--out", tmp_path, code=2)["error"]
        assert (error["kind"], error["received"]) == ("ConfigError", number)
        assert f"setting {option} of " in error["called"]


@pytest.mark.parametrize(("option", "space", "other"), [
    ("decays", "discrete", "continuous"), ("candidates", "continuous", "discrete"),
])  # fmt: skip
def test_a_graph_option_of_the_other_space_is_refused_before_the_graph_is_read(
    option: str, space: str, other: str, tmp_path: Path, say, monkeypatch
) -> None:
    line = ("graph", tmp_path / "none.npz", f"--{option}", "5", "--out", tmp_path, "--space")
    error = say(*line, other, code=2)["error"]
    assert error["kind"] == "ConfigError"
    assert error["called"] == f"ordering filters of the {other} space"
    assert error["received"] == f"--{option} 5"
    assert error["expected"] == f"--{option} with --space {space}, and only there"
    assert error["remedy"] == f"leave --{option} out, or ask for --space {space}"
    asked = []
    monkeypatch.setattr("decoct.applications.graph_model.GraphSearch", lambda **options: asked.append(options) or 1 / 0)
    say(*line, space, code=1)
    assert asked[0][option] == 5
    assert not {"decays", "candidates"} - {option} & set(asked[0])


def test_a_graph_search_leaves_the_section_of_another_application(tmp_path: Path, say, monkeypatch) -> None:
    class Found:
        def to_json(self) -> dict[str, Any]:
            return {"kind": "graph"}

        def finding(self) -> Finding:
            return Finding("graph", "Filters are ordered.", Chart("", "", ()), ({"filter": "low"},))

        def table(self) -> str:
            return "a table"

    class Graph:
        def most_frequent(self, count: int) -> Graph:
            return self

    monkeypatch.setattr("decoct.data.graph.open_graph", lambda path: Graph())
    monkeypatch.setattr("decoct.applications.graph_orders.order_filters", lambda *_, **__: Found())
    other = Finding("architectures", "Networks are ranked.", Chart("", "", ()), ({"network": "small"},))
    other.save(tmp_path / "finding-architectures.json")
    found = say("graph", tmp_path / "cora.npz", "--out", tmp_path)
    assert (found["kind"], found["table"]) == ("graph", "a table")
    page = (tmp_path / "report.html").read_text()
    assert "Filters are ordered." in page
    assert "Networks are ranked." in page


def test_what_cannot_be_done_is_one_screen(source: str, tmp_path: Path, say) -> None:
    unknown = say("hyperparameters", source, "--space", "decya", "--out", tmp_path, code=2)["error"]
    assert unknown["kind"] == "UnknownNameError"
    assert "decay" in unknown["remedy"]
    few = say("hyperparameters", source, "--candidates", "1", "--out", tmp_path, code=2)["error"]
    assert few["expected"] == "3 or more"
    both = say("hyperparameters", source, "--train", "x", "--train-ipc", "3", "--out", tmp_path, code=2)["error"]
    assert both["received"] == "--train-ipc 3 beside --train x"
    less = say("hyperparameters", source, "--train-ipc", "0", "--out", tmp_path, code=2)["error"]
    assert less["remedy"] == "give 1 or more"
    none = say("architectures", source, "--seeds", "0", "--out", tmp_path, code=2)["error"]
    assert none["received"] == "--seeds 0"
    wide = say("architectures", source, "--networks", "convnet1-w3-gn", "a", "b", "--out", tmp_path, code=2)["error"]
    assert "convnet1-w3-gn" in wide["called"]


def test_the_applications_are_listed_and_exist() -> None:
    from decoct.applications.table import APPLICATIONS
    from decoct.cli import apply

    for name in APPLICATIONS:
        assert callable(APPLICATIONS.load(name))
    assert apply.Options
