"""The judge on toys: what is trained, what is read when, what is never done twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toys import blob_features, blob_images

import decoct.evaluation.bench as bench_module
import decoct.evaluation.contender as contender_module
import decoct.evaluation.teacher as teacher_module
from decoct.compact.compact_set import CompactSet
from decoct.compact.decoders import quantise
from decoct.compact.distilled import DistilledSet
from decoct.data.dataset import Dataset
from decoct.data.transform import Standardise
from decoct.errors import ConfigError, DataError, MismatchError, UnknownNameError
from decoct.evaluation.judge import Bench, evaluate
from decoct.evaluation.protocol import Protocol
from decoct.evaluation.scorecard import Scorecard
from decoct.selection.driver import select
from decoct.training.config import FitConfig

DATA = blob_images(classes=3, per_class=12)
FAST = Protocol(
    "test", FitConfig(optimizer="adamw", lr=0.01, epochs=4, schedule="cosine"), full_epochs=2,
    full_samples=10_000, checks=2,
)  # fmt: skip
NETWORK = "convnet2-w8"


def small_set(data: Dataset = DATA, ipc: int = 2) -> CompactSet:
    return select(data, "random", ipc=ipc, seed=1)


def judged(compact_set: CompactSet, data: Dataset = DATA, **options: Any) -> Scorecard:
    options = {"networks": [NETWORK], "seeds": 2, "baselines": (), "device": "cpu"} | options
    return evaluate(compact_set, data, FAST, **options)


class Calls(list[tuple[int, int]]):
    """What `fit` was called with: rows and seed."""


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> Calls:
    calls = Calls()
    for name in ("fit", "fit_dataset"):
        monkeypatch.setattr(contender_module, name, _counted(getattr(contender_module, name), calls))
    return calls


def _counted(real: Callable[..., Any], calls: Calls) -> Callable[..., Any]:
    def counted(build: Any, rows: Any, *rest: Any, **options: Any) -> Any:
        [seed] = rest[-1]
        calls.append((len(rows.train) if isinstance(rows, Dataset) else len(rows), seed))
        return real(build, rows, *rest, **options)

    return counted


def test_scorecard_holds_the_set_and_every_baseline(fits: Calls, tmp_path: Path) -> None:
    compact_set = small_set()
    card = judged(compact_set, baselines=("random", "herding", "random+teacher", "full"), out=tmp_path)
    assert [entry.name for entry in card.entries] == ["random", "random", "herding", "random+teacher", "full"]
    assert [entry.kind for entry in card.entries] == ["judged", *["baseline"] * 4]
    for entry in card.entries:
        assert len(entry.last) == len(entry.selected) == len(entry.val) == 2
        assert all(0 <= value <= 1 for value in entry.last + entry.selected + entry.val)
        assert entry.seconds > 0
        assert entry.peak_memory > 0
    total = compact_set.nbytes.total
    assert all(total - 70 < entry.nbytes <= total for entry in card.entries[:4])
    assert [entry.samples_seen for entry in card.entries] == [24, 24, 24, 4 * 5, 2 * 36]
    assert fits == [(rows, seed) for rows in (6, 6, 6, 5, 36) for seed in (0, 1)]
    assert Scorecard.from_json(json.loads(json.dumps(card.to_json()))) == card


def test_finished_runs_are_never_done_again(fits: Calls, tmp_path: Path) -> None:
    options: dict[str, Any] = {"baselines": ("random", "full"), "out": tmp_path}
    first = judged(small_set(), **options)
    before = len(fits)
    assert judged(small_set(), **options).entries == first.entries
    assert len(fits) == before
    assert len(list((tmp_path / "cells").glob("*.json"))) == 6


def test_a_missing_run_alone_is_done_and_gives_the_same_number(fits: Calls, tmp_path: Path) -> None:
    first = judged(small_set(), out=tmp_path, seeds=3)
    path = next(p for p in (tmp_path / "cells").glob("*.json") if json.loads(p.read_text())["key"]["seed"] == 1)
    path.unlink()
    fits.clear()
    again = judged(small_set(), out=tmp_path, seeds=3)
    assert fits == [(6, 1)]
    assert again.entries[0].last == first.entries[0].last
    assert again.notes == ()


@pytest.mark.parametrize("damage", ["truncate", "flip", "other", "empty", "no digest"])
def test_a_damaged_run_is_done_again_with_a_note(damage: str, fits: Calls, tmp_path: Path) -> None:
    first = judged(small_set(), out=tmp_path)
    path = sorted((tmp_path / "cells").glob("*.json"))[0]
    value = json.loads(path.read_text())
    if damage == "flip":
        value["cell"]["last"] = 1.0 - value["cell"]["last"] / 2
    if damage == "no digest":
        del value["sha256"]
    whole = {"truncate": path.read_text()[:50], "empty": "", "other": "[1]"}.get(damage, json.dumps(value))
    path.write_text(whole)
    fits.clear()
    again = judged(small_set(), out=tmp_path)
    assert len(fits) == 1
    assert again.notes == (f"the finished run {path.name} was damaged and has been done again",)
    assert len(again.entries[0].last) == len(first.entries[0].last)
    assert judged(small_set(), out=tmp_path).notes == ()


def test_anything_that_changes_a_result_is_another_run(fits: Calls, tmp_path: Path) -> None:
    judged(small_set(), out=tmp_path)
    judged(small_set(ipc=1), out=tmp_path)
    judged(small_set(), out=tmp_path, networks=["mlp"])
    evaluate(
        small_set(), DATA, replace(FAST, checks=1), [NETWORK], 2, baselines=(), out=tmp_path, device="cpu"
    )  # fmt: skip
    assert len(fits) == 8
    fewer = DATA.with_train(slice(0, 30))
    judged(small_set(), out=tmp_path, baselines=("full",))
    judged(small_set(), fewer, out=tmp_path, baselines=("full",))
    assert [rows for rows, _ in fits[8:]] == [36, 36, 6, 6, 30, 30]


def test_another_network_under_the_same_name_is_another_run_and_another_teacher(
    fits: Calls, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for content in ("one", "one", "two"):
        for module in (bench_module, teacher_module):
            monkeypatch.setattr(module, "network_identity", lambda name, *_, content=content: f"{name}@{content}")
        card = judged(small_set(), out=tmp_path, seeds=1)
        assert f"{NETWORK}@{content}/" in card.provenance["teacher"]
    assert len(fits) == 2


def test_a_seed_gives_the_same_number_in_any_company() -> None:
    together = judged(small_set(), seeds=[0, 1, 2], baselines=("random", "full")).entries
    alone = judged(small_set(), seeds=[2], baselines=("random", "full")).entries
    for many, one in zip(together, alone, strict=True):
        assert (one.last[0], one.selected[0], one.val[0]) == (many.last[2], many.selected[2], many.val[2])


def test_judging_twice_gives_the_same_scorecard_and_leaves_the_global_generator() -> None:
    state = torch.get_rng_state()
    first, second = (judged(small_set(), baselines=("random", "random+teacher")) for _ in range(2))
    assert [entry.last for entry in first.entries] == [entry.last for entry in second.entries]
    assert torch.equal(state, torch.get_rng_state())


def test_test_data_are_read_only_after_training(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    reads: list[int] = []
    real_accuracy, real_fit = bench_module.accuracy, contender_module.fit

    def accuracy_spy(module: Any, data: Dataset, split: Any, **options: Any) -> float:
        events.append("test" if split is data.test else "val")
        return real_accuracy(module, data, split, **options)

    def fit_spy(*args: Any, **options: Any) -> Any:
        events.append("begin")
        found = real_fit(*args, **options)
        events.append("end")
        reads.append(1 + (found[0].best_epoch != found[0].history[-1][0]))
        return found

    monkeypatch.setattr(bench_module, "accuracy", accuracy_spy)
    monkeypatch.setattr(contender_module, "fit", fit_spy)
    judged(small_set(), seeds=[0], baselines=("random", "random+teacher"))
    runs = " ".join(events).split("begin ")[1:]
    assert len(runs) == 3
    for run, often in zip(runs, reads, strict=True):
        during, after = run.split("end")
        assert "test" not in during
        assert during.split().count("val") >= FAST.checks
        assert after.split() == ["test"] * often, "the last pass, and that of validation where it is another"


def test_the_log_says_how_many_weights_a_visit_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[int] = []
    real = bench_module.accuracy

    def spy(module: Any, data: Dataset, split: Any, **options: Any) -> float:
        if split is data.test:
            seen.append(len(split))
        return real(module, data, split, **options)

    def fell(*args: Any, **options: Any) -> Any:
        [fitted] = real_fit(*args, **options)
        early = {name: value.clone() for name, value in fitted.module.state_dict().items()}
        return [replace(fitted, best_epoch=fitted.history[-1][0] - 1, best_state=early)]

    real_fit = contender_module.fit
    monkeypatch.setattr(bench_module, "accuracy", spy)
    for best, measured in ((real_fit, 1), (fell, 2)):
        monkeypatch.setattr(contender_module, "fit", best)
        once = replace(FAST, checks=1)
        evaluate(small_set(), DATA, once, [NETWORK], [0], baselines=(), device="cpu", out=tmp_path / str(measured))
        [line] = (tmp_path / str(measured) / "test_reads.jsonl").read_text().splitlines()
        assert json.loads(line)["measured"] == len(seen) == measured
        seen.clear()


def test_the_maker_of_a_number_never_sees_poisoned_test_labels() -> None:
    """Whatever the test labels are, training and the choice of the epoch stay the same."""
    test = replace(DATA.test, y=(DATA.test.y + 1) % 3)
    honest = judged(small_set(), baselines=("random+teacher",)).entries
    other = judged(small_set(), replace(DATA, test=test), baselines=("random+teacher",)).entries
    assert [entry.val for entry in honest] == [entry.val for entry in other]
    assert [entry.last for entry in honest] != [entry.last for entry in other]


def test_validation_rows_are_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    real = bench_module.accuracy

    def spy(module: Any, data: Dataset, split: Any, **options: Any) -> float:
        seen.append(len(split))
        return real(module, data, split, **options)

    monkeypatch.setattr(bench_module, "accuracy", spy)
    evaluate(small_set(), DATA, replace(FAST, val_rows=4), [NETWORK], 1, baselines=(), device="cpu")
    assert set(seen) == {4, len(DATA.test)}


@pytest.mark.parametrize("kind", ["probabilities", "scores"])
def test_soft_labels_are_judged(kind: str) -> None:
    chosen = select(DATA, "random", ipc=2, seed=0)
    inputs, targets, _ = chosen.materialize()
    assert targets.dtype == torch.int64
    hot = torch.nn.functional.one_hot(targets, 3).float()
    labels = hot * 0.7 + 0.1 if kind == "probabilities" else hot - 1 / 3
    soft = DistilledSet(
        spec=DATA.spec, storage="pixels", config={}, tensors=quantise(inputs, 8), labels=labels,
        label_kind=kind, classes=chosen.classes, learned={}, provenance={"recipe": "made up"},  # type: ignore[arg-type]
    )  # fmt: skip
    card = judged(soft, baselines=("random",))
    entry = card.judged[0]
    assert (entry.name, entry.label_kind) == ("made up", kind)
    assert entry.label_bytes == 6 * 3 * 2
    assert card.baselines[0].rows == (6 * 64 + 36) // 65
    assert card.provenance["made"] == {"recipe": "made up"}


def test_features_are_judged_with_the_default_network() -> None:
    data = blob_features(classes=2, per_class=10)
    card = judged(select(data, "random", ipc=2, seed=0), data, networks=None, baselines=("random", "full"))
    assert {entry.network for entry in card.entries} == {"mlp"}


def test_a_set_smaller_than_a_row_has_no_baseline_and_says_so() -> None:
    bench = Bench.of(DATA, FAST, [NETWORK], 1, baselines=("random",), out=None, device="cpu")
    found, notes = bench.contenders(("random", "full"), 10)
    assert [contender.name for contender in found] == ["full"]
    assert notes == ["random: 10 bytes are less than one row with its label"]


def test_a_baseline_as_what_is_asked_is_not_repeated(fits: Calls) -> None:
    bench = Bench.of(DATA, FAST, [NETWORK], 2, baselines=("random", "herding"), out=None, device="cpu")
    card = bench.judge_baseline("random", 6 * 65)
    assert [(entry.name, entry.kind) for entry in card.entries] == [("random", "judged"), ("herding", "baseline")]
    assert fits == [(6, 0), (6, 1)] * 2
    bench.judge(small_set())
    assert fits[4:] == [(6, 0), (6, 1)]


def _with(data: Dataset, **changes: Any) -> Dataset:
    return replace(data, spec=replace(data.spec, **changes))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (blob_images(3, 12, (3, 8, 8)), ["shape [1, 8, 8]", "shape [3, 8, 8]", "size and mode"]),
        (_with(DATA, class_names=("class 0", "b", "c")), ["class 1 is 'class 1' in the set and 'b'", "order"]),
        (_with(DATA, class_names=("x", "y")), ["3 classes", "2"]),
        (_with(DATA, fingerprint="0123456789abcdef"), ["0123456789ab", "same data", "val_fraction", "--split-seed"]),
        (
            _with(DATA, transform=Standardise(torch.tensor([0.9]), torch.tensor([0.1]))),
            ["standardise (mean 0.9)", "one normalisation", "whiten=False"],
        ),
    ],
)
def test_a_set_and_data_that_do_not_match_are_refused(data: Dataset, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(MismatchError) as caught:
        judged(small_set(), data, out=tmp_path)
    for word in words:
        assert word in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_bad_requests_are_refused_before_anything_is_trained(fits: Calls) -> None:
    cases: tuple[tuple[dict[str, Any], type[Exception], str], ...] = (
        ({"networks": ["convnot3"]}, UnknownNameError, "did you mean"),
        ({"networks": []}, ConfigError, "at least one network"),
        ({"seeds": 0}, ConfigError, "at least one seed"),
        ({"baselines": ("randomm",)}, UnknownNameError, "did you mean 'random'"),
    )
    for options, error, words in cases:
        with pytest.raises(error, match=words):
            judged(small_set(), **options)
    empty = replace(DATA, val=DATA.val.take(np.arange(0)))
    with pytest.raises(DataError, match="without validation rows"):
        judged(small_set(), empty)
    assert fits == []


def test_a_set_of_views_is_trained_on_a_view_a_pass(fits: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    view = DistilledSet.view
    monkeypatch.setattr(DistilledSet, "view", lambda self, number: asked.append(number) or view(self, number))
    inputs, classes = DATA.inputs(DATA.train, slice(0, 6)), DATA.train.labels(slice(0, 6))
    labels = torch.nn.functional.one_hot(classes, 3).float().expand(3, -1, -1)
    learned = {"views": {"count": 3, "seed": 1, "strategy": "crop"}}
    viewed = DistilledSet(
        DATA.spec, "pixels", {}, quantise(inputs, 8), labels, "probabilities", classes, learned, {}
    )  # fmt: skip
    entry = judged(viewed).entries[0]
    assert asked == [0, 1, 2, 0] * 2, "4 passes of each of 2 seeds"
    assert entry.distinct == 3 * 6
    assert entry.label_bytes == 2 * 3 * 6 * 3
    assert fits == [(6, 0), (6, 1)]
