"""`decoct select` on images with boxes, as a person uses it and as a person gets it wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from scenes import scene_json, write_document, write_scenes

from decoct.cli.main import main
from decoct.data.detection.coco import read_coco

QUICK = ("--features", "pixels", "--size", "48x64")


@pytest.fixture
def source(tmp_path: Path) -> str:
    return f"coco:{write_scenes(tmp_path / 'data', scene_json(count=12))}"


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]):
    """Run a command with --json; returns what it printed."""

    def run(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
        capfd.readouterr()
        assert main([*map(str, arguments), "--json"]) == code
        return json.loads(capfd.readouterr().out)

    return run


def test_a_subset_is_written_and_told(source: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    assert main(["select", source, "--count", "4", "--out", str(out), *QUICK]) == 0
    said = capfd.readouterr().out
    assert f"{out}: 4 of 12 images of {source}" in said
    assert f"{out}/subset.json" in said
    written = json.loads((out / "subset.json").read_text(encoding="utf-8"))
    assert len(written["images"]) == 4
    assert f"first  {written['images'][0]['file_name']} (" in said
    assert sorted(path.name for path in out.iterdir()) == ["manifest.json", "selection.parquet", "subset.json"]


@pytest.mark.parametrize(("method", "named"), [("csod", True), ("random", False), ("k-center", False)])
def test_methods(source: str, tmp_path: Path, say, method: str, named: bool) -> None:
    found = say("select", source, "--method", method, "--fraction", "0.5", "--out", tmp_path / "run", *QUICK)
    assert (found["images"], found["of"]) == (6, 12)
    assert found["provenance"]["method"] == method
    assert all(bool(one["class"]) == named for one in found["first"])
    assert set(found["boxes"]) == {"disc", "square", "bar"}


def test_without_a_method_it_is_csod(source: str, tmp_path: Path, say) -> None:
    found = say("select", source, "--count", "2", "--out", tmp_path / "run", *QUICK)
    assert found["provenance"]["method"] == "csod"


def test_names_of_files_need_not_be_unicode(tmp_path: Path, say) -> None:
    write_scenes(tmp_path, scene_json(count=1))
    os.rename(tmp_path / "images" / "000.png", os.fsencode(tmp_path / "images") + b"/caf\xe9.png")
    (tmp_path / "Annotations").mkdir()
    xml = "<object><name>a</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"
    (tmp_path / "Annotations" / os.fsdecode(b"caf\xe9.xml")).write_text(f"<annotation>{xml}</annotation>")
    line = ("select", f"voc:{tmp_path}", "--count", "1", *QUICK, "--out", tmp_path / "run")
    assert say(*line)["first"] == [{"id": 1, "file_name": "caf\\udce9.png", "class": "a"}]
    assert main([*map(str, line)]) == 0


def test_bad_boxes_and_missing_images(source: str, tmp_path: Path, say, capfd: pytest.CaptureFixture[str]) -> None:
    document = scene_json(count=12)
    document["annotations"][0]["bbox"] = [1, 1, 0, 5]
    path = write_document(tmp_path / "data", document)
    (tmp_path / "data" / "images" / "005.png").unlink()
    line = ("select", f"coco:{path}", "--count", "3", "--out", tmp_path / "run", *QUICK)
    error = say(*line, code=2)["error"]
    assert "005.png (no such file)" in error["received"]
    assert "--skip-bad" in json.dumps(error)
    assert not (tmp_path / "run").exists()
    found = say(*line, "--skip-bad")
    assert found["of"] == 11
    assert len(found["notices"]) == 2


def test_pictures_elsewhere(source: str, tmp_path: Path, say) -> None:
    (tmp_path / "data" / "images").rename(tmp_path / "pictures")
    line = ("select", source, "--count", "3", "--out", tmp_path / "run", *QUICK)
    assert "--images" in json.dumps(say(*line, code=2)["error"])
    assert say(*line, "--images", tmp_path / "pictures")["images"] == 3
    again = read_coco(tmp_path / "run" / "subset.json", images=tmp_path / "pictures")
    assert len(again) == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--ipc", "3"), "--ipc"),
        (("--count", "3", "--whiten"), "--whiten"),
        (("--count", "3", "--engine", "ray"), "--engine"),
        (("--count", "3", "--explain", "10"), "--explain"),
        (("--count", "3", "--method", "glister"), "selecting images with boxes by glister"),
        (("--count", "3", "--method", "csodd"), "did you mean 'csod'"),
        (("--bytes", "3000"), "--bytes"),
        (("--count", "3", "--test-fraction", "0.2"), "--test-fraction"),
        (("--count", "99"), "at most the 12 rows there are"),
        (("--count", "3", "--size", "50x64"), "multiples of 16"),
        (("--count", "3", "--features", "pca"), "kind of features of boxes"),
        ((), "no size"),
    ],
)
def test_what_is_refused(source: str, tmp_path: Path, say, options: tuple[str, ...], words: str) -> None:
    error = say("select", source, "--out", tmp_path / "run", *options, code=2)["error"]
    assert words in json.dumps(error)
    assert not (tmp_path / "run").exists()


def test_other_commands_and_sources_say_where_boxes_belong(source: str, tmp_path: Path, say) -> None:
    assert "which have no single label" in json.dumps(say("data", source, code=2)["error"])
    error = say("select", "digits", "--method", "csod", "--count", "3", "--out", tmp_path / "run", code=2)["error"]
    assert "coco:JSON or voc:FOLDER" in json.dumps(error)


def test_the_method_is_listed_and_cited(say) -> None:
    assert "csod" in [card["name"] for card in say("methods")["select"]]
    assert "2404.09161" in say("cite", "csod")["bibtex"]
