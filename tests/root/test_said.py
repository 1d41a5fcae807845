"""What the hand-written pages say of code and of results is what these hold."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import blob_images

import decoct
from decoct.applications.privacy.dp import PrivateConfig
from decoct.compact.export import FORMATS, export
from decoct.distillation.recipes.table import LABELS, OBJECTIVES
from decoct.selection.by_score import Easiest, Middle
from decoct.selection.sharded.driver import select_table

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def result(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module


@pytest.mark.parametrize(
    "function",
    [
        decoct.open, decoct.distill, decoct.select, select_table, decoct.evaluate, decoct.analyze, decoct.compare,
        export,
    ],
)  # fmt: skip
def test_the_plan_names_every_argument(function: Any) -> None:
    called = "decoct.open" if function is decoct.open else function.__name__
    (said,) = re.findall(rf"^{re.escape(called)}\((.*?)\) -> ", text("docs/architecture.md"), re.DOTALL | re.MULTILINE)
    missing = [name for name in inspect.signature(function).parameters if not re.search(rf"\b{name}\b", said)]
    assert missing in ([], ["table"]), "the table is what feature_table gives"


def test_the_plan_names_every_form_of_export() -> None:
    (said,) = re.findall(r"^export\((.*)\)", text("docs/architecture.md"), re.MULTILINE)
    assert set(re.findall(r'"(\w+)"', said)) == set(FORMATS)


def test_the_format_names_every_array_of_an_exported_npz(tmp_path: Path) -> None:
    core = decoct.select(blob_images(classes=2, per_class=10), "random", ipc=1)
    (said,) = re.findall(r"^- `npz`: .*?(?=^- )", text("docs/file-format.md"), re.DOTALL | re.MULTILINE)
    with np.load(export(core, "npz", tmp_path / "a.npz")) as arrays:
        assert [name for name in arrays.files if f"`{name}`" not in said] == []


def test_files_that_contributing_sends_people_to_are_there() -> None:
    named = re.findall(r"`?((?:tests|benchmarks|docs|src)/[\w./-]*\w)", text("CONTRIBUTING.md"))
    assert len(named) > 8
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_figures_of_sets_with_hard_labels_are_those_of_the_results() -> None:
    page = text("docs/how-to-choose.md")
    rows = {
        "fashion-mnist": "| synthetic images with ordinary hard labels, gray",
        "cifar10-10k": "| the same in colour",
    }
    for source, start in rows.items():
        (line,) = (line for line in page.splitlines() if line.startswith(start))
        one, ten = line.rpartition(" % at 10")[0].split(" % at 1 image per class")
        for ipc, said in ((1, one), (10, ten)):
            found = re.findall(r"`(\w+)` (\d\d\.\d)", said)
            assert len(found) > 1
            for method, figure in found:
                name = f"{source}-{ipc}-{method}"
                sets = [name, *(path.stem for path in sorted((RESULTS / "recipes").glob(f"{name}-draw*.json")))]
                means = [np.mean(result(f"recipes/{one}")["entries"][0]["last"]) for one in sets]
                assert f"{100 * np.mean(means):.1f}" == figure, (source, ipc, method)


def test_step_sizes_of_the_analyses_are_those_of_the_results() -> None:
    said = text("docs/analysis.md").partition("The step size of every\ntraining")[2].partition("Two sets were made")[0]
    lr = {path.stem: result(f"analysis/{path.stem}")["facts"] for path in (RESULTS / "analysis").glob("*.json")}
    other = {name.partition("-")[0] for name, facts in lr.items() if facts["settings"]["routine"]["lr"] != 0.03}
    assert other == {"influence"}
    assert [name for name in other if name not in said] == []


def test_the_page_of_bias_names_the_commit_of_its_results() -> None:
    assert set(re.findall(r"commit `(\w+)`", text("docs/bias.md"))) == {
        result(name)["commit"] for name in ("bias", "bias-corrupted-4")
    }


def test_one_file_says_where_the_data_of_the_benchmarks_are(benchmarks: Any) -> None:
    folder = benchmarks("real_sets").DATA
    for name in ("pools", "paper_cells", "bias", "detection", "judging_speed"):
        assert benchmarks(name).DATA is folder, name
    for name in ("bias", "detection", "judging_speed"):
        assert benchmarks(name).Options().source.partition(":")[2].startswith(f"{folder}/"), name


def test_a_cell_of_the_selection_table_says_what_rows_were_compared_by(
    benchmarks: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    table, saved, asked = benchmarks("selection_table"), {}, {}
    data = blob_images(classes=2, per_class=30)

    class Judge:
        def judge(self, core: Any, name: str) -> Any:
            return type("Card", (), {"entries": ()})()

    def select(data: Any, method: str, **options: Any) -> Any:
        asked.update(options)
        return plain(data, "random", count=options["count"])

    plain = decoct.select
    monkeypatch.setattr(table.Bench, "of", lambda *_, **__: Judge())
    monkeypatch.setattr(table.decoct, "select", select)
    monkeypatch.setattr(table, "save", lambda name, facts: saved.update(facts))
    cell, right = table.Cell("toys", 0.0, 0.1, "k-means"), dict.fromkeys(data.train.ids.tolist(), True)
    table.run(cell, table.Options(work=tmp_path), data, right)
    assert saved["features"] == asked["features"] == "network"


def test_the_head_of_a_selection_table_says_what_rows_were_compared_by(benchmarks: Any) -> None:
    cell = result("selection/fashion-mnist-noise0-0.1-k-means")
    tables = benchmarks("selection_tables")
    for own, said in (({}, "network"), ({"features": "pca"}, "pca")):
        head = tables.section("fashion-mnist", 0.0, {("k-means", 0.1): {**cell, **own}})[2]
        assert f"by `--features {said}`" in head


@pytest.mark.parametrize(
    "member", [*(OBJECTIVES.load(name) for name in OBJECTIVES), *(LABELS.load(name) for name in LABELS), PrivateConfig]
)
def test_a_method_says_what_it_costs_and_where_it_is_from(member: type) -> None:
    said = inspect.getdoc(member) or ""
    assert re.search(r"\b[Cc]ost", said)
    assert "https://" in said


@pytest.mark.parametrize("member", [Easiest, Middle, PrivateConfig])
def test_a_method_says_how_it_differs_from_the_authors_code(member: type) -> None:
    said = inspect.getdoc(member) or ""
    assert re.search(r"\bcode\b", said)
    assert re.search(r"\bDiffers|nothing to differ\b", said)
