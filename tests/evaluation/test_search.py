"""The search of training settings: the same trials for everything, on validation data, and test data read once."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toys import blob_images

import decoct.evaluation.bench as bench_module
import decoct.evaluation.contender as contender_module
from decoct.data.dataset import Dataset
from decoct.errors import ConfigError, DivergenceError
from decoct.evaluation.cells import Records
from decoct.evaluation.compare import compare
from decoct.evaluation.judge import evaluate
from decoct.evaluation.protocol import Protocol
from decoct.evaluation.reads import Reads
from decoct.evaluation.scorecard import Scorecard
from decoct.evaluation.search import FIRST_SEED, Search, choose
from decoct.selection.driver import select
from decoct.training.config import FitConfig

DATA = blob_images(classes=3, per_class=12)
FAST = Protocol("test", FitConfig(optimizer="adamw", lr=0.01, epochs=3), full_epochs=2, full_samples=10_000, checks=1)
SEARCH = Search((1.0, 0.1, 3.0))


def judged(data: Dataset = DATA, **options: Any) -> Scorecard:
    options = {"baselines": ("random", "full"), "search": SEARCH, "device": "cpu", "networks": ["mlp"]} | options
    return evaluate(select(data, "random", ipc=2, seed=1), data, FAST, seeds=2, **options)


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, float]]:
    """(engine, seed, step size) of every training."""
    calls: list[tuple[str, int, float]] = []
    for name in ("fit", "fit_dataset"):
        real: Callable[..., Any] = getattr(contender_module, name)

        def spy(*given: Any, real: Callable[..., Any] = real, name: str = name, **options: Any) -> Any:
            config, seeds = given[-2], given[-1]
            calls.append((name, seeds[0], config.lr))
            return real(*given, **options)

        monkeypatch.setattr(contender_module, name, spy)
    return calls


def test_everything_gets_the_same_trials_and_the_winner_is_judged(trainings: list[Any], tmp_path: Path) -> None:
    card = judged(out=tmp_path)
    trials = [one for one in trainings if one[1] >= FIRST_SEED]
    assert Counter(rate for _, _, rate in trials) == dict.fromkeys([0.01, 0.001, 0.03], 3), "set, random and full"
    assert len(trainings) - len(trials) == 3 * 2
    for entry in card.entries:
        assert any("in 3 trials" in note for note in entry.notes)
    assert card.protocol["name"] == "test+search3"
    assert card.protocol["trials"] == 3
    assert card.protocol["hash"] not in (FAST.hash, judged(search=Search((1.0, 0.2))).protocol["hash"])


def test_going_on_repeats_no_trial(trainings: list[Any], tmp_path: Path) -> None:
    first = judged(out=tmp_path)
    before = len(trainings)
    assert judged(out=tmp_path).entries == first.entries
    assert len(trainings) == before


def test_the_best_on_validation_wins_and_the_first_of_equals() -> None:
    accuracy = {0.01: 0.5, 0.001: 0.8, 0.03: 0.8}
    tried: list[tuple[float, int]] = []

    def trial(protocol: Protocol, seed: int) -> float:
        tried.append((protocol.fit.lr, seed))
        return accuracy[round(protocol.fit.lr, 4)]

    winner, told = choose(replace(SEARCH, seeds=2), FAST, {"rows": "x"}, trial, Records(None))
    assert winner == replace(FAST, fit=replace(FAST.fit, lr=0.01 * 0.1))
    assert told == "step size 0.001 chosen on validation data (80.0 %) in 6 trials"
    assert len(tried) == 6
    assert {seed for _, seed in tried} == {FIRST_SEED, FIRST_SEED + 1}


def test_a_training_that_diverges_loses() -> None:
    def trial(protocol: Protocol, seed: int) -> float:
        if protocol.fit.lr > 0.02:
            raise DivergenceError("training", received="nan", expected="a number", remedy="lower lr")
        return 0.1

    assert choose(SEARCH, FAST, {}, trial, Records(None))[0] == FAST


def test_trials_never_read_test_data_and_every_run_reads_them_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One read a run: the weights after the last epoch and those best on validation, measured together at its end."""
    looks: list[str] = []
    real = bench_module.accuracy

    def spy(module: Any, data: Dataset, split: Any, **options: Any) -> float:
        looks.append("test" if split is data.test else "val")
        return real(module, data, split, **options)

    monkeypatch.setattr(bench_module, "accuracy", spy)
    card = judged(out=tmp_path)
    # With one look at validation a run, the last pass is the one it chooses, and no other weights are measured.
    assert FAST.checks == 1
    assert looks.count("test") == 6
    counts = Reads(tmp_path).counts()
    assert set(counts) == {path.stem for path in (tmp_path / "cells").glob("*.json")}
    assert set(counts.values()) == {1}
    assert card.provenance["test_reads"] == {"runs": 6, "most_reads_of_a_run": 1}
    judged(out=tmp_path)
    assert Reads(tmp_path).counts() == counts


def test_the_choice_does_not_depend_on_test_labels(tmp_path: Path) -> None:
    wrong = replace(DATA, test=replace(DATA.test, y=(DATA.test.y + 1) % 3))
    honest, other = judged(), judged(wrong)
    assert [entry.notes for entry in honest.entries] == [entry.notes for entry in other.entries]
    assert [entry.val for entry in honest.entries] == [entry.val for entry in other.entries]


def test_a_run_that_was_lost_after_reading_is_counted_twice(tmp_path: Path) -> None:
    judged(out=tmp_path, search=None)
    log = tmp_path / "test_reads.jsonl"
    line = json.loads(log.read_text().splitlines()[0])
    assert set(line) == {"cell", "rows", "network", "seed", "rows_of", "measured"}
    (tmp_path / "cells" / f"{line['cell']}.json").unlink()
    log.write_text(log.read_text() + '{"cell": "half a li')
    card = judged(out=tmp_path, search=None)
    assert Reads(tmp_path).counts()[line["cell"]] == 2
    assert card.provenance["test_reads"]["most_reads_of_a_run"] == 2


def test_a_number_of_candidates() -> None:
    assert Search.of(5).lr_factors == (1.0, 0.1, 0.3162, 3.1623, 10.0)
    assert Search.of(2).lr_factors == (1.0, 0.1)
    assert Search.of(4).lr_factors == (1.0, 0.1, 0.3162, 10.0)
    assert Search.of(3).trials == 3
    assert Search((1.0, 0.1), (1.0, 0.0001), seeds=3).trials == 12
    with pytest.raises(ConfigError, match="at least 2"):
        Search.of(1)


@pytest.mark.parametrize("count", range(2, 9))
def test_any_number_of_candidates_begins_with_the_own_step_size_and_spaces_the_others_around_it(count: int) -> None:
    own, *others = Search.of(count).lr_factors
    assert own == 1.0
    assert len(set(others) | {own}) == count
    assert others[0] == 0.1
    assert others == sorted(others)
    for side in ([f for f in others if f < 1] + [1.0], [1.0] + [f for f in others if f > 1]):
        steps = [after / before for before, after in itertools.pairwise(side)]
        assert steps == pytest.approx([steps[0]] * len(steps), rel=2e-3) if steps else count == 2
    assert count == 2 or others[-1] == 10.0


@pytest.mark.parametrize("options", [{"lr_factors": ()}, {"lr_factors": (0.0,)}, {"seeds": 0}])
def test_impossible_searches_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="at least one positive factor"):
        Search(**options)


def test_methods_that_are_compared_get_the_same_trials(trainings: list[Any], tmp_path: Path) -> None:
    found = compare(DATA, ("random", "k-means"), (1,), protocol=FAST, networks=["mlp"], seeds=1, baselines=("random",),
                    search=SEARCH, out=tmp_path, device="cpu")  # fmt: skip
    trials = [rate for _, seed, rate in trainings if seed >= FIRST_SEED]
    assert Counter(trials) == dict.fromkeys([0.01, 0.001, 0.03], 2), "k-means, and random as method and baseline"
    assert found.protocol["name"] == "test+search3"
    assert all("in 3 trials" in entry.notes[-1] for entry in found.entries)
