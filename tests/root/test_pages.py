"""The scripts that only draw: every page and figure is made from the committed results, into another folder too."""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = {
    "judge_figures": ("docs/cross-architecture.png", "docs/label-bytes.png"),
    "judge_pages": ("docs/judging.md",),
    "bias_pages": ("docs/bias.md",),
    "application_figures": ("docs/continual.png", "docs/federated.png", "docs/privacy.png"),
    "search_pages": (
        "docs/architecture-search.md", "docs/architecture-search.png", "docs/hyperparameter-search.md",
        "docs/hyperparameter-search.png",
    ),
    "analysis_figures": ("docs/analysis/mixing.png", "docs/analysis/scaling.png", "docs/analysis/curvature.png"),
    "tables": ("docs/results.md", "README.md", "docs/selection-scale.png"),
}  # fmt: skip
"""What each of them writes, figures among it that are never the same bytes on another machine."""


@pytest.mark.parametrize("script", SCRIPTS)
def test_pages_and_figures_are_made_from_the_committed_results(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    module = importlib.import_module(script)
    docs = tmp_path / "docs"
    shutil.copytree(ROOT / "docs", docs, ignore=shutil.ignore_patterns("*.png"))
    shutil.copy(ROOT / "README.md", tmp_path)
    before = {name: (ROOT / name).stat().st_mtime_ns for name in SCRIPTS[script]}
    module.main(tmp_path if script == "tables" else docs)
    for name in SCRIPTS[script]:
        made = tmp_path / name
        if made.suffix == ".png":
            assert made.read_bytes().startswith(b"\x89PNG"), name
        else:
            told = f"{name} does not say what the results say: run python benchmarks/{script}.py"
            assert made.read_text(encoding="utf-8") == (ROOT / name).read_text(encoding="utf-8"), told
        assert (ROOT / name).stat().st_mtime_ns == before[name], "another folder was asked for"


def test_recipes_say_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    pages = importlib.import_module("expected").pages()
    assert len(pages) > 8
    for path, text in pages.items():
        told = f"{path.name} does not say what the results say: run python benchmarks/expected.py"
        assert path.read_text(encoding="utf-8") == text, told


def test_the_paper_index_is_that_of_the_recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    index = importlib.import_module("paper_index")
    assert index.PAGE.read_text(encoding="utf-8") == index.page(), "run python benchmarks/paper_index.py"


def test_a_gain_is_paired_by_seed_and_has_its_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    pages = importlib.import_module("judge_pages")
    first, second = {"last": [0.5, 0.7]}, {"last": [0.4, 0.6]}
    assert pages.gain(first, second) == "+10.0 ± 0.0"
    assert pages.gain(second, first) == "-10.0 ± 0.0"
    assert pages.fraction([0.1, 0.3]) == "0.200 ± 1.271"
    assert pages.fraction([]) == "–"
    with pytest.raises(ValueError, match=r"no marks <!-- networks"):
        pages.page("A page without marks.")


def test_labels_that_were_learned_have_a_curve_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    draw = importlib.import_module("judge_figures")
    entries = [
        {"label": label, "label_bytes": nbytes}
        for label, nbytes in (("own", 20), ("own-top1-8bit", 2), ("own-8bit", 10), ("own-top1", 3), ("hard", 1))
    ]
    found = {name: [e["label"] for e in draw.curve(entries, whose, bits)] for name, whose, bits, *_ in draw.CURVES}
    assert found == {
        "hard": ["hard"], "teacher, fp16": [], "teacher, 8 bits": [],
        "learned with the images, fp16": ["own-top1", "own"],
        "learned with the images, 8 bits": ["own-top1-8bit", "own-8bit"],
    }  # fmt: skip
