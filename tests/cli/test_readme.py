"""The README's own lines, run on a folder made on the spot."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toys import blob_images

from decoct.cli.main import COMMANDS, main
from decoct.distillation.recipes.table import LABELS, RECIPES, STORAGES, resolve
from decoct.distillation.recipes.task import Task

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes of small pictures in `photos/` of an empty working folder."""
    rng = np.random.default_rng(0)
    for label, level in (("cat", 60), ("dog", 180)):
        folder = tmp_path / "photos" / label
        folder.mkdir(parents=True)
        for number in range(24):
            pixels = rng.normal(level, 30, (20, 24, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DECOCT_CACHE", str(tmp_path / "cache"))
    return tmp_path


def _fenced(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_python_lines_run_as_written_but_smaller(photos, monkeypatch, capsys):
    """Only sizes are changed: less time, the cheapest protocol, narrow networks."""
    monkeypatch.setattr("decoct.distillation.validate.STEPS", 4)
    (block,) = _fenced("python")
    changes = {
        '"10min"': '"2s"', '"soft-300"': '"quick"', "ipc=10": "ipc=2",
        '["convnet3", "resnet18-in"]': '["convnet3-w4"], seeds=1, baselines=("random",)', "size=32": "size=16",
    }  # fmt: skip
    for old, new in changes.items():
        assert old in block
        block = block.replace(old, new)
    space: dict[str, object] = {}
    exec(compile(block, "README.md", "exec"), space)
    assert "random" in capsys.readouterr().out
    assert len(space["train"]) == 2 * 2 * 4, "in colour, each stored image holds four"  # type: ignore[arg-type]
    assert (photos / "runs" / "auto-10" / "manifest.json").exists()


def test_the_compare_line_parses_and_runs_smaller(photos, monkeypatch, capfd):
    monkeypatch.setattr("decoct.distillation.validate.STEPS", 4)
    (line,) = re.findall(r"^decoct (compare .*)$", README, flags=re.MULTILINE)
    words = line.replace("--ipc 1 10", "--ipc 1").replace("5min", "1s").replace("--size 32", "--size 16").split()
    words += ["--networks", "convnet3-w4", "--seeds", "1", "--baselines", "random"]
    assert main(words) == 0
    assert (photos / "runs" / "photos" / "report.html").exists()
    assert "auto" in capfd.readouterr().out


def test_both_examples_open_the_same_data_and_take_the_default_recipe():
    (line,), (block,) = re.findall(r"^decoct (compare .*)$", README, flags=re.MULTILINE), _fenced("python")
    assert re.findall(r"--size (\d+)", line) == re.findall(r"size=(\d+)", block) == ["32"]
    assert "auto" in line.split()
    assert "decoct.distill(data, ipc=10" in block


def test_what_has_to_be_installed_is_what_the_project_says():
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    (pinned,) = re.findall(r"^torch==(\S+)$", constraints, flags=re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"Python {project['requires-python'].removeprefix('>=')} or later" in README
    assert f"torch {pinned}" in README
    assert f"torch=={pinned}+cpu" in README


def test_every_command_named_in_the_readme_exists():
    named = set(re.findall(r"`?decoct ([a-z]+)\b", README)) - {"makes", "compares"}
    assert {"demo", "compare", "data", "methods", "cite"} <= named
    assert named <= set(COMMANDS) | {"distill"}


def test_the_methods_table_lists_what_there_is():
    from decoct.selection.methods import METHODS

    for name in (*METHODS, *RECIPES, *LABELS, *STORAGES):
        assert name in README


def test_the_recipes_table_names_the_labels_of_each():
    data = blob_images(classes=3, per_class=12, shape=(3, 32, 32))
    table = README.partition("| recipes |")[2].partition("\n\n")[0]
    for line in table.splitlines()[2:-1]:  # that of `auto`, the last, chooses
        names, _, place = line.strip("|").split("|")[:3]
        recipes = re.findall(r"`([\w-]+)`", names)
        found = {type(resolve(name, Task(data.spec, 1)).labels).__name__.lower() for name in recipes}
        assert found == {name for name in LABELS if re.search(rf"\b{name}\b", place)}, line
