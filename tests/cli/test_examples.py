"""Every example runs as it stands, from any folder, and is short enough to read at a glance.

Only students are trained less than an example says, those of validation and those of the judge: they show how good a
set is, and an example is about how it is made.
"""

from __future__ import annotations

import ast
import os
import runpy
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from decoct.distillation.recipes.table import RECIPES
from decoct.evaluation.protocol import PROTOCOLS
from decoct.selection.methods import METHODS

FOLDER = Path(__file__).resolve().parents[2] / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))
SLOW = {
    "architecture_search", "hcdc",
    "bases", "glad", "bias",
    "frepo", "kip", "soft_random", "rded", "distribution", "ridge", "multiformation", "teacher", "own_folder", "dsa",
    "rtp", "continual", "federated", "privacy", "random_features", "implicit", "gradient", "unroll", "dd", "ridge_grid",
    "auto", "tesla", "datm", "gvbsm", "cda", "active", "coverage", "dynamic_uncertainty", "glister", "craig",
    "grad_match",
}  # fmt: skip
SAYS = {
    "architecture_search": "Ranking by it took",
    "hcdc": "10 validation images, agreement of hypergradients",
    "continual": "After 5 tasks with 3,300 bytes of memory",
    "federated": "bytes sent once",
    "privacy": "-differentially private",
    "bias": "by known groups: Networks trained on",
    "bases": "80 images out of 4 bases: 616 bytes, 640 allowed",
    "glad": "40 images out of 640 bytes of latents",
    "rtp": "80 images (1, 8, 8) in ",
    "distribution": "on validation",
    "dsa": "on validation",
    "ridge": "labels are scores",
    "frepo": "ahead of the next by",
    "kip": "of 100 steps:",
    "multiformation": "multiformation: 80 images in 1280 bytes",
    "teacher": "labels are probabilities of shape (20, 10), 400 bytes",
    "soft_random": "with the 3 largest entries of each: 180 bytes",
    "rded": "20 crops in 1280 bytes, 1600 bytes of labels",
    "csod": "6 of 30 images hold",
    "herding": "their classes: 0 1 2 3 4 5 6 7 8 9",
    "k_center": "distance of each pick",
    "k_means": "weights:",
    "k_median": "50 of 1439 rows",
    "own_folder": "report.html",
}


def test_every_method_and_recipe_has_an_example() -> None:
    assert SAYS.keys() <= {path.stem for path in EXAMPLES}
    text = "\n".join(path.read_text(encoding="utf-8") for path in EXAMPLES)
    listed = {**{name: target.partition(":")[2] for name, target in METHODS.items()}, **dict.fromkeys(RECIPES, "")}
    stems = {path.stem for path in EXAMPLES}
    shown = {
        name for name, kind in listed.items()
        if name.replace("-", "_") in stems or f'"{name}"' in text or (kind and f"{kind}(" in text)
    }  # fmt: skip
    assert set(listed) - shown == set()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_says_what_it_shows(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    told = ast.get_docstring(ast.parse(text))
    assert told
    assert len(told.splitlines()) == 1
    assert len(text.splitlines()) <= 40


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=pytest.mark.slow if path.stem in SLOW else (), id=path.stem) for path in EXAMPLES],
)
def test_an_example_runs(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DECOCT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [str(path)])
    monkeypatch.setattr("decoct.distillation.validate.STEPS", 15)
    quick = PROTOCOLS["quick"]
    shorter = replace(quick, fit=replace(quick.fit, epochs=20), full_epochs=3)
    monkeypatch.setattr("decoct.evaluation.protocol.PROTOCOLS", {**PROTOCOLS, "quick": shorter})
    runpy.run_path(str(path), run_name="__main__")
    assert SAYS.get(path.stem, "") in capsys.readouterr().out


def test_an_example_runs_in_an_interpreter_of_its_own(tmp_path: Path) -> None:
    own = {"TMPDIR": str(tmp_path), "DECOCT_CACHE": str(tmp_path / "cache"), "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, str(FOLDER / "herding.py")],
        cwd=tmp_path, env={**os.environ, **own}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert SAYS["herding"] in done.stdout


def test_the_package_runs_as_a_module(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "decoct"]
    done = subprocess.run([*line, "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("decoct makes large training sets small")
    wrong = subprocess.run([*line, "dat"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert wrong.returncode == 2
    assert "data" in wrong.stderr
