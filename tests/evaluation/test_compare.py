"""`compare` on toys: what is made, what is shared, what resumes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import blob_images

import decoct.evaluation.compare as compare_module
import decoct.evaluation.judge as judge_module
from decoct.cli.compare import Options
from decoct.compact.folder import STAGING
from decoct.distillation.recipes.table import RECIPES
from decoct.errors import BudgetError, ConfigError, DivergenceError, MismatchError, UnknownNameError
from decoct.evaluation.compare import METHODS, Maker, compare
from decoct.evaluation.comparison import Comparison
from decoct.evaluation.protocol import Protocol
from decoct.report.find import results_in
from decoct.report.html import write_report
from decoct.training.config import FitConfig

DATA = blob_images(classes=3, per_class=12)
FAST = Protocol(
    "test", FitConfig(optimizer="adamw", lr=0.01, epochs=3, schedule="cosine"), full_epochs=2,
    full_samples=10_000, checks=1,
)  # fmt: skip


def compared(out: Path | None = None, **options: Any) -> Comparison:
    options = {
        "methods": ("random", "k-means"), "ipc": (1, 2), "protocol": FAST, "networks": ("convnet2-w8",), "seeds": 2,
        "baselines": ("random", "full"), "device": "cpu",
    } | options  # fmt: skip
    return compare(DATA, out=out, **options)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A word for everything made and every run."""
    done: list[str] = []
    for name in ("select", "distill"):
        real = getattr(compare_module, name)

        def counted(data: Any, method: str, *, real: Any = real, **options: Any) -> Any:
            done.append(f"make {method} {options['ipc']}")
            return real(data, method, **options)

        monkeypatch.setattr(compare_module, name, counted)
    real_run = judge_module.Bench._run

    def run(self: Any, contender: Any, name: str, seed: int, tick: Any) -> None:
        done.append(f"judge {contender.name} {contender.weight.rows} {seed}")
        real_run(self, contender, name, seed, tick)

    monkeypatch.setattr(judge_module.Bench, "_run", run)
    return done


def test_baselines_are_shared_and_nothing_is_judged_twice(work: list[str]) -> None:
    result = compared()
    expected = {"make random 1": ("random 3", "full 36"), "make k-means 1": ("k-means 3",),
                "make random 2": ("random 6",), "make k-means 2": ("k-means 6",)}  # fmt: skip
    assert work == [
        word
        for made, judged in expected.items()
        for word in (made, *(f"judge {j} {s}" for j in judged for s in (0, 1)))
    ]
    listed = [(entry.name, entry.kind, entry.rows) for entry in result.entries]
    assert listed == [
        ("random", "judged", 3), ("k-means", "judged", 3), ("random", "judged", 6), ("k-means", "judged", 6),
        ("full", "baseline", 36),
    ]  # fmt: skip
    # Each card stands alone all the same: k-means beside random and the full data.
    assert [entry.name for entry in result.contests[1].scorecard.entries] == ["k-means", "random", "full"]


def test_the_same_call_again_does_nothing_and_says_the_same(work: list[str], tmp_path: Path) -> None:
    first = compared(tmp_path)
    work.clear()
    again = compared(tmp_path)
    assert work == []
    assert again.entries == first.entries
    assert again.table() == first.table()
    names = sorted(path.name for path in (tmp_path / "sets").iterdir())
    assert names == [f"{method}-ipc{k}-seed0" for method in ("k-means", "random") for k in (1, 2)]
    assert [contest.seconds for contest in again.contests] == [contest.seconds for contest in first.contests]
    saved = json.loads((tmp_path / "comparison.json").read_text())
    assert saved == json.loads(json.dumps(again.to_json()))
    assert [contest["path"] for contest in saved["contests"]][:2] == [
        "sets/random-ipc1-seed0",
        "sets/k-means-ipc1-seed0",
    ]


def test_a_set_whose_writing_was_interrupted_is_made_again(work: list[str], tmp_path: Path) -> None:
    compared(tmp_path, ipc=(1,))
    folder = tmp_path / "sets" / "k-means-ipc1-seed0"
    (folder / "manifest.json").unlink()
    (folder / STAGING).mkdir()
    work.clear()
    compared(tmp_path, ipc=(1,))
    assert work == ["make k-means 1"]


def test_recipes_are_made_and_judged_by_their_name(tmp_path: Path) -> None:
    result = compared(tmp_path, methods=("dm",), ipc=(1,), steps=2)
    assert [(c.method, c.ipc) for c in result.contests] == [("dm", 1)]
    assert [entry.name for entry in result.entries] == ["dm", "random", "full"]
    assert result.contests[0].seconds > 0
    again = compared(tmp_path, methods=("dm",), ipc=(1,), steps=2)
    assert again.entries == result.entries


def test_sets_of_other_data_are_not_taken(tmp_path: Path) -> None:
    compared(tmp_path, methods=("k-means",), ipc=(1,), baselines=())
    other = blob_images(classes=3, per_class=12, seed=5)
    with pytest.raises(MismatchError, match="another out folder"):
        compare(other, ("k-means",), (1,), protocol=FAST, networks=("mlp",), seeds=1, baselines=(), out=tmp_path)


WEIGHTS = 1.0 + np.arange(36) % 5


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        (DATA, DATA.with_weights(WEIGHTS), r"rows without weights(.|\n)*sets of rows with weights [0-9a-f]{12}"),
        (DATA.with_weights(WEIGHTS), DATA, r"rows with weights [0-9a-f]{12}(.|\n)*sets of rows without weights"),
        (DATA.with_weights(WEIGHTS), DATA.with_weights(WEIGHTS**2), r"rows with weights(.|\n)*another out folder"),
        (DATA, DATA.with_train(np.arange(30)), r"made from other rows, [0-9a-f]{12}(.|\n)*sets of these rows"),
    ],
)
def test_a_selection_of_other_weights_or_other_rows_is_not_taken(first, second, text, tmp_path: Path) -> None:
    made, _ = Maker(first, None, None, 0, tmp_path, "cpu").make("k-means", 1)
    assert Maker(first, None, None, 0, tmp_path, "cpu").make("k-means", 1)[0].content_hash == made.content_hash
    with pytest.raises(MismatchError, match=text):
        Maker(second, None, None, 0, tmp_path, "cpu").make("k-means", 1)


def test_a_selection_that_does_not_name_its_rows_is_taken_where_nothing_is_weighted(tmp_path: Path) -> None:
    made, path = Maker(DATA, None, None, 0, tmp_path, "cpu").make("k-means", 1)
    assert path is not None
    former = replace(made, provenance={k: v for k, v in made.provenance.items() if k != "rows_key"})
    shutil.rmtree(path)
    former.save(path)
    assert Maker(DATA, None, None, 0, tmp_path, "cpu").make("k-means", 1)[0].content_hash == made.content_hash
    with pytest.raises(MismatchError, match="rows without weights"):
        Maker(DATA.with_weights(WEIGHTS), None, None, 0, tmp_path, "cpu").make("k-means", 1)


def test_bad_requests_are_refused_before_anything_is_made(work: list[str], tmp_path: Path) -> None:
    out = tmp_path / "new"
    cases: tuple[tuple[dict[str, Any], type[Exception], str], ...] = (
        ({"methods": ("k-meens",)}, UnknownNameError, "did you mean 'k-means'"),
        ({"methods": ()}, ConfigError, "at least one method"),
        ({"ipc": ()}, ConfigError, "at least one method"),
        ({"ipc": (1, 13)}, BudgetError, "'class 0' has 12"),
        ({"ipc": (0,)}, BudgetError, "at least one image"),
        ({"budget": "1min", "steps": 3}, ConfigError, "one of the two"),
        ({"budget": "soon"}, ConfigError, "20min"),
        ({"protocol": "quik"}, UnknownNameError, "did you mean 'quick'"),
    )
    for options, error, words in cases:
        with pytest.raises(error, match=words):
            compared(out, **options)
    assert work == []
    assert not out.exists()


def test_a_method_that_does_not_fit_or_diverges_is_told_and_the_others_stand(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def failing(data: Any, method: str, **options: Any) -> Any:
        raise DivergenceError("distilling", received="a loss of nan", expected="a finite loss", remedy="lower lr")

    monkeypatch.setattr(compare_module, "distill", failing)
    result = compared(tmp_path, methods=("dm", "random", "rded"), ipc=(1,))
    assert [contest.method for contest in result.contests] == ["random"]
    assert result.refused == tuple(
        f"{name} at 1 a class is not compared: a loss of nan; a finite loss" for name in ("dm", "rded")
    )
    assert f"note: {result.refused[0]}" in result.table()
    assert json.loads((tmp_path / "comparison.json").read_text())["refused"] == list(result.refused)
    assert [note for one in results_in(tmp_path) for note in one.notes] == list(result.refused)
    assert "dm at 1 a class is not compared" in write_report(tmp_path / "report.html", result, DATA).read_text()
    with pytest.raises(DivergenceError):
        compared(tmp_path / "none", methods=("dm",), ipc=(1,))


def test_selectors_that_cannot_honour_weights_are_refused_before_anything_is_made(
    work: list[str], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="k-center"):
        compare(DATA.with_weights(WEIGHTS), ("random", "k-center"), (1,), protocol=FAST, out=tmp_path / "new")
    assert work == []


def test_table_tells_protocol_and_runs() -> None:
    table = compared(ipc=(1,)).table()
    assert "protocol test" in table
    assert "2 runs each" in table
    assert table.count("random") == 1


def test_a_stopped_comparison_goes_on_where_it_was(
    work: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = compared(tmp_path / "whole")
    every = list(work)
    run = judge_module.Bench._run

    def stopping(self: Any, *rest: Any) -> None:
        if work.count("make k-means 1"):
            raise KeyboardInterrupt
        run(self, *rest)

    work.clear()
    with monkeypatch.context() as patch:
        patch.setattr(judge_module.Bench, "_run", stopping)
        with pytest.raises(KeyboardInterrupt):
            compared(tmp_path / "stopped")
    assert not (tmp_path / "stopped" / "comparison.json").exists()
    before = list(work)
    work.clear()
    assert compared(tmp_path / "stopped").entries != ()
    assert before + work == every
    numbers = [(entry.name, entry.last, entry.selected, entry.val) for entry in whole.entries]
    again = compared(tmp_path / "stopped")
    assert [(entry.name, entry.last, entry.selected, entry.val) for entry in again.entries] == numbers


def test_without_methods_the_default_recipe_stands_beside_selectors_in_python_and_on_the_command_line() -> None:
    assert Options(source="digits").methods == METHODS
    assert [method for method in METHODS if method in RECIPES] == ["auto"]
