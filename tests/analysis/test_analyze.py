"""`analyze` and `decoct analyze`: bad input, the folder, resuming, and the section of the report."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from analysis_toys import DATA, NETWORK, ROUTINE, files_of, toy_set, toy_study
from toys import blob_features, blob_images

import decoct
from decoct.analysis.analyze import analyze
from decoct.analysis.mixing import Mixing
from decoct.analysis.table import ANALYSES
from decoct.cli.main import main
from decoct.cli.methods import settings
from decoct.compact.coreset import Coreset
from decoct.errors import (
    ConfigError,
    CurvatureError,
    DataError,
    DecoctError,
    DivergenceError,
    IntegrityError,
    MemoryEstimateError,
    MismatchError,
    OutputError,
    UnknownNameError,
)
from decoct.report.collect import contents_of
from decoct.report.find import results_in
from decoct.report.page import page
from decoct.selection.settings import settings_of, with_settings

MIXING = Mixing((0, 2), ROUTINE)


def test_every_analysis_has_a_name_and_the_same_routine() -> None:
    for name in ANALYSES:
        made = ANALYSES.load(name)(routine=ROUTINE)
        assert made.name == name
        assert made.routine == ROUTINE


def test_a_finding_lies_beside_its_set_and_is_not_made_twice(tmp_path: Path) -> None:
    first = analyze(MIXING, toy_set(), DATA, network=NETWORK, seeds=2, out=tmp_path, device="cpu")
    before = files_of(tmp_path / "cells")
    again = decoct.analyze(MIXING, toy_set(), DATA, network=NETWORK, seeds=2, out=tmp_path, device="cpu")
    assert files_of(tmp_path / "cells") == before
    assert json.loads((tmp_path / "mixing.json").read_text()) == first.to_json() == again.to_json()
    assert first.facts["data"]["train"] == 90
    assert first.facts["set"]["method"] == "random"


def test_a_damaged_cell_is_done_again_and_told(tmp_path: Path) -> None:
    first = analyze(MIXING, toy_set(), DATA, network=NETWORK, seeds=2, out=tmp_path, device="cpu")
    victim = sorted((tmp_path / "cells").iterdir())[0]
    victim.write_text(victim.read_text().replace("test", "tost"))
    again = analyze(MIXING, toy_set(), DATA, network=NETWORK, seeds=2, out=tmp_path, device="cpu")
    assert again.rows == first.rows
    assert any("was damaged and has been done again" in note for note in again.notes)


LAYER = """
import torch

class Net(torch.nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.linear = torch.nn.Linear(64, classes)

    def forward(self, x):
        return self.linear(x.flatten(1))
"""


def test_an_edited_network_is_asked_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name alone it would be given what was found of the old one."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    done: list[int] = []
    for text, runs in ((LAYER, 1), (LAYER, 1), (LAYER.replace("self.linear(x", "2 * self.linear(x"), 2)):
        (tmp_path / "own_analysed.py").write_text(text)
        monkeypatch.delitem(sys.modules, "own_analysed", raising=False)
        importlib.invalidate_caches()
        study = toy_study(network_name="own_analysed:Net", out=tmp_path)
        for _ in range(2):
            study.once("mixing", ROUTINE, {"seed": 0}, lambda: done.append(1) or {"test": 0.5})
        assert len(done) == runs
        assert study.facts(ROUTINE)["network"] == "own_analysed:Net"
    usual = toy_study(out=tmp_path / "usual")
    usual.once("mixing", ROUTINE, {"seed": 0}, lambda: {"test": 0.5})
    [cell] = (tmp_path / "usual" / "cells").iterdir()
    assert json.loads(cell.read_text())["key"]["network"] == NETWORK, "old cells of decoct's networks are found"


def test_a_set_of_other_data_is_refused() -> None:
    other = blob_images(classes=3, per_class=30, seed=9)
    with pytest.raises(MismatchError, match="analysing a compact set on data"):
        analyze(MIXING, toy_set(), other)


def test_unknown_names_and_impossible_networks() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'mixing'"):
        analyze("mixng", toy_set(), DATA)
    with pytest.raises(UnknownNameError, match="did you mean"):
        toy_study(network_name="convnt3")
    with pytest.raises(ConfigError, match="(?s)maps of 1x1.*mlp"):
        toy_study(data=blob_images(3, 10, (1, 1, 1)), network_name="convnet3")
    with pytest.raises(ConfigError, match="a table of features"):
        toy_study(data=blob_features(3, 10), network_name="convnet3")


def test_no_seeds_and_no_rows_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least one seed"):
        toy_study(seeds=0)
    empty = replace(DATA, val=DATA.val.take(np.arange(0)))
    with pytest.raises(DataError, match="data without validation rows"):
        toy_study(toy_set(), data=empty)


def test_a_missing_class_and_a_single_seed_are_told() -> None:
    small = toy_set()
    assert isinstance(small, Coreset)
    part = small.take(torch.nonzero(small.classes != 1).flatten())
    found = analyze(MIXING, part, DATA, network=NETWORK, seeds=1, device="cpu")
    assert "1 of 3 classes have no row in the set: class 1" in found.notes
    assert "one seed: no intervals, which need two or more" in found.notes


def test_the_report_shows_every_finding_of_a_set(tmp_path: Path) -> None:
    small = toy_set()
    small.save(tmp_path)
    assert "What is in the sets" not in page(contents_of(results_in(tmp_path)))
    found = analyze(MIXING, small, DATA, network=NETWORK, seeds=2, out=tmp_path / "analysis", device="cpu")
    hostile = replace(found, sentence="<script>alert(1)</script>", notes=("<b>x</b>",))
    hostile.save(tmp_path / "analysis" / "mixing.json")
    text = page(contents_of(results_in(tmp_path)))
    assert "What is in the sets" in text
    assert "Mixed with real images (random, 2 per class)" in text
    assert "&lt;script&gt;alert(1)" in text
    assert "<script" not in text
    assert "&lt;b&gt;x" in text
    (tmp_path / "analysis" / "mixing.json").write_text("{}")
    with pytest.raises(IntegrityError, match="mixing.json"):
        results_in(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mixng", "somewhere", "digits"], "did you mean 'mixing'"),
        (["mixing", "nowhere", "digits"], "no such folder"),
        (["mixing", "nowhere", "digits", "--steps", "0"], "setting steps of an analysis"),
        (["mixing", "nowhere", "digits", "--set", "aded=0,5"], "did you mean 'added'"),
        (["mixing", "nowhere", "digits", "--set", "added=0,five"], "a whole number, or more with commas between"),
        (["mixing", "nowhere", "digits", "--set", "added=5,0"], "0 and at least one larger number, rising"),
        (["removed", "nowhere", "digits", "--set", "labels=mine"], "expert or own"),
        (["all", "nowhere", "digits", "--set", "epochs=3"], "ask that one analysis by its name"),
    ],
)
def test_the_command_tells_what_is_wrong(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["analyze", *arguments]) == 2
    assert words in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [ConfigError, DataError, MemoryEstimateError, DivergenceError, CurvatureError])
def test_all_are_asked_though_one_has_no_answer(
    kind: type[DecoctError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "set"
    decoct.select(decoct.open("digits"), "random", ipc=1, seed=0, out=folder)
    told = analyze(MIXING, toy_set(), DATA, network=NETWORK, seeds=1, device="cpu")

    def some(one: Any, *_: Any, **__: Any) -> Any:
        if one.name == "influence":
            raise kind("training copies", received="dropout", expected="none", remedy="another network")
        return told

    monkeypatch.setattr("decoct.analysis.analyze.analyze", some)
    assert main(["analyze", "all", str(folder), "digits"]) == 0
    assert "influence has no answer: dropout; none; another network" in capfd.readouterr().out
    assert main(["analyze", "influence", str(folder), "digits"]) == 2


def test_the_command_from_set_to_report(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = decoct.open("digits")
    folder = tmp_path / "set"
    decoct.select(data, "random", ipc=2, seed=0, out=folder)
    line = ["analyze", "influence", str(folder), "digits", "--network", "mlp2-w8", "--seeds", "2", "--steps", "5"]
    assert main([*line, "--json"]) == 0
    result: dict[str, Any] = json.loads(capfd.readouterr().out)
    assert result["findings"][0]["name"] == "influence"
    assert (folder / "analysis" / "influence.json").is_file()
    assert main(line) == 0
    assert "Leaving out one image" in capfd.readouterr().out
    assert main(["report", str(folder)]) == 0
    assert 'src="data:image/png;base64,' in (folder / "report.html").read_text()


def test_settings_from_the_command_line_are_those_of_the_finding(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "set"
    decoct.select(decoct.open("digits"), "random", ipc=2, seed=0, out=folder)
    line = ["analyze", "mixing", str(folder), "digits", "--network", "mlp2-w8", "--seeds", "1", "--steps", "2"]
    assert main([*line, "--set", "added=0,1", "--json"]) == 0
    [found] = json.loads(capfd.readouterr().out)["findings"]
    assert [row["added per class"] for row in found["rows"]] == [0, 1]
    assert found["facts"]["settings"]["added"] == [0, 1]


@pytest.mark.parametrize("name", sorted(ANALYSES))
def test_every_setting_but_the_routine_can_be_written_and_is_listed(name: str) -> None:
    made = ANALYSES.load(name)()
    listed = settings_of(made)
    assert [one.name for one in listed] == [own for own in vars(made) if own != "routine"]
    assert with_settings(made, [f"{one.name}={one.shown}" for one in listed], name) == made
    assert settings()[name] == {one.name: one.shown for one in listed}


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(OutputError, match="file stands"):
        analyze(MIXING, toy_set(), DATA, network=NETWORK, out=tmp_path / "x", device="cpu")
