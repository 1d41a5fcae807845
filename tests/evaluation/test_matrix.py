"""Networks and augmentations in one call: cells are shared, kept, and never done twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toys import blob_features, blob_images

import decoct.evaluation.contender as contender_module
from decoct.errors import ConfigError, DivergenceError, IntegrityError, UnknownNameError
from decoct.evaluation.augmentations import AUGMENTATIONS, with_augmentation
from decoct.evaluation.fair_scores import fair_scores_of
from decoct.evaluation.leaderboard import leaderboard, table_of_groups
from decoct.evaluation.matrix import Matrix, evaluate_matrix
from decoct.evaluation.protocol import DSA, PROTOCOLS, Protocol
from decoct.evaluation.scorecard import Scorecard
from decoct.report.leaderboard import leaderboard_page
from decoct.report.matrix_section import matrix_section
from decoct.selection.driver import select
from decoct.training.config import FitConfig

DATA = blob_images(classes=3, per_class=12)
FAST = Protocol(
    "test", FitConfig(optimizer="adamw", lr=0.01, epochs=3, schedule="cosine"), full_epochs=2, full_samples=10_000,
    checks=1,
)  # fmt: skip
NETWORKS = ["convnet2-w8", "mlp"]


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The augmentation or mixing of each training."""
    calls: list[str] = []
    real: Callable[..., Any] = contender_module.fit

    def counted(build: Any, inputs: Any, targets: Any, config: FitConfig, *rest: Any, **options: Any) -> Any:
        calls.append(config.augment or config.mix)
        return real(build, inputs, targets, config, *rest, **options)

    monkeypatch.setattr(contender_module, "fit", counted)
    return calls


def judged(**options: Any) -> Matrix:
    options = {"networks": NETWORKS, "seeds": 1, "baselines": ("random",), "device": "cpu"} | options
    return evaluate_matrix(select(DATA, "random", ipc=2, seed=1), DATA, FAST, **options)


def test_every_field_is_there_under_its_own_protocol(fits: list[str], tmp_path: Path) -> None:
    matrix = judged(augmentations=("protocol", "dsa", "cutmix", "randaugment"), out=tmp_path)
    assert matrix.augmentations == ("protocol", "dsa", "cutmix", "randaugment")
    assert matrix.networks == tuple(NETWORKS)
    assert [matrix.scorecards[name].protocol["name"] for name in matrix.augmentations] == [
        "test", "test+dsa", "test+cutmix", "test+randaugment",
    ]  # fmt: skip
    assert len({card.protocol["hash"] for card in matrix.scorecards.values()}) == 4
    assert [len(card.entries) for card in matrix.scorecards.values()] == [4] * 4
    assert len(fits) == len(list((tmp_path / "cells").glob("*.json"))) == 16
    assert set(fits) == {"", DSA, "cutmix", "randaugment"}
    assert matrix.lines == (("random", "judged"), ("random", "baseline"))
    for line in matrix.lines:
        for network in matrix.networks:
            for name in matrix.augmentations:
                entry = matrix.entry(line, network, name)
                assert entry is not None
                assert (entry.label, entry.kind, entry.network) == (*line, network)
    assert matrix.entry(("nobody", "judged"), "mlp", "dsa") is None


def test_the_second_call_does_nothing_and_a_new_field_costs_only_itself(fits: list[str], tmp_path: Path) -> None:
    first = judged(augmentations=("protocol", "dsa"), out=tmp_path)
    before = len(fits)
    again = judged(augmentations=("protocol", "dsa"), out=tmp_path)
    assert [card.entries for card in again.scorecards.values()] == [card.entries for card in first.scorecards.values()]
    assert len(fits) == before
    judged(augmentations=("protocol", "dsa", "cutmix"), out=tmp_path)
    assert fits[before:] == ["cutmix"] * 4


def test_an_augmentation_that_is_the_protocols_own_shares_its_runs(fits: list[str], tmp_path: Path) -> None:
    """The toy protocol augments nothing: "none" is the protocol itself, with its name, its hash and its cells."""
    matrix = judged(augmentations=("protocol", "none"), out=tmp_path)
    assert len(fits) == 4
    assert matrix.scorecards["none"].protocol == matrix.scorecards["protocol"].protocol
    assert with_augmentation(PROTOCOLS["dsa-1000"], "dsa") is PROTOCOLS["dsa-1000"]


def test_augmentations_change_nothing_else() -> None:
    base = PROTOCOLS["soft-300"]
    for name in AUGMENTATIONS:
        made = with_augmentation(base, name)
        assert replace(made, name=base.name, fit=replace(made.fit, augment=base.fit.augment, mix="")) == base
    assert with_augmentation(base, "none").fit.augment == ""
    assert with_augmentation(base, "mixup").fit.mix == "mixup"


def test_saved_and_read_again(tmp_path: Path) -> None:
    matrix = judged(augmentations=("protocol", "cutmix"), seeds=2)
    matrix.save(tmp_path / "matrix.json")
    assert Matrix.load(tmp_path / "matrix.json") == matrix
    assert "augmentation: cutmix" in matrix.table()
    assert matrix.table().count("random") == 4, "the set and the baseline under two augmentations"
    value = json.loads((tmp_path / "matrix.json").read_text())
    value["scorecards"] = {}
    (tmp_path / "matrix.json").write_text(json.dumps(value))
    with pytest.raises(IntegrityError, match="scorecards by augmentation"):
        Matrix.load(tmp_path / "matrix.json")


def diverging(monkeypatch: pytest.MonkeyPatch, when: Callable[[FitConfig, int], bool]) -> None:
    real: Callable[..., Any] = contender_module.fit

    def some(build: Any, inputs: Any, targets: Any, config: FitConfig, seeds: list[int], **options: Any) -> Any:
        if when(config, seeds[0]):
            raise DivergenceError("training", received="a loss of nan", expected="a number", remedy="lower lr")
        return real(build, inputs, targets, config, seeds, **options)

    monkeypatch.setattr(contender_module, "fit", some)


def test_a_run_that_diverges_costs_its_own_cell(
    fits: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {"networks": ["mlp"], "augmentations": ("protocol", "cutmix"), "seeds": 2, "out": tmp_path}
    diverging(monkeypatch, lambda config, seed: config.mix == "cutmix" and seed == 1)
    matrix = judged(**asked)
    line = matrix.lines[0]
    whole, lame = (matrix.entry(line, "mlp", name) for name in ("protocol", "cutmix"))
    assert whole is not None
    assert lame is not None
    assert (whole.seeds, lame.seeds, len(lame.last)) == ((0, 1), (0,), 1)
    said = "random on mlp: 1 of 2 runs diverged and are not in its numbers: seed 1, a loss of nan"
    assert matrix.diverged == (f"cutmix: {said}",)
    assert f"note: cutmix: {said}" in matrix.table()
    assert f'<ul class="notes"><li>cutmix: {said}</li></ul>' in matrix_section([("random", matrix)])
    [_, group] = leaderboard(list(matrix.scorecards.items()))
    assert f"random (cutmix): {said.removeprefix('random on mlp: ')}" in group.diverged
    assert group.diverged[0] in table_of_groups([group])
    assert group.diverged[0] in leaderboard_page([group])
    assert Scorecard.from_json(matrix.scorecards["cutmix"].to_json()) == matrix.scorecards["cutmix"]
    before = len(fits)
    assert judged(**asked).table() == matrix.table()
    assert len(fits) == before, "what diverged is not run again"


def test_a_field_all_of_whose_runs_diverge_is_empty_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    diverging(monkeypatch, lambda config, seed: config.mix == "cutmix")
    matrix = judged(networks=["mlp"], augmentations=("cutmix", "protocol"), baselines=())
    assert matrix.entry(("random", "judged"), "mlp", "cutmix") is None
    assert matrix.entry(("random", "judged"), "mlp", "protocol") is not None
    assert matrix.diverged == ("random on mlp under test+cutmix: every run diverged (a loss of nan)",)
    assert "every run diverged" in matrix.table()
    assert fair_scores_of(matrix)[0].ars == ()


def test_a_single_field_that_diverges_still_raises(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    diverging(monkeypatch, lambda config, seed: True)
    with pytest.raises(DivergenceError, match="a loss of nan"):
        judged(networks=["mlp"], augmentations=("protocol",), out=tmp_path)
    assert list((tmp_path / "cells").iterdir()) == []


def test_bad_requests_are_refused_before_anything_is_trained(fits: list[str]) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'cutmix'"):
        judged(augmentations=("protocol", "cutmx"))
    dots = blob_images(classes=2, per_class=6, shape=(1, 1, 1))
    with pytest.raises(ConfigError, match="larger images"):
        evaluate_matrix(select(dots, "random", ipc=2, seed=0), dots, FAST, ["mlp", "convnet2"], 1, device="cpu")
    table = blob_features(classes=2, per_class=8)
    small = select(table, "random", ipc=2, seed=0)
    for refused in ({"augmentations": ("none", "dsa")}, {"networks": ["mlp", "convnet3"]}):
        with pytest.raises(ConfigError, match="a table of features"):
            evaluate_matrix(small, table, FAST, seeds=1, device="cpu", **refused)  # type: ignore[arg-type]
    assert fits == []
    mixed = evaluate_matrix(small, table, FAST, seeds=1, augmentations=("none", "mixup"), baselines=(), device="cpu")
    assert mixed.networks == ("mlp",)


def test_randaugment_trains_to_the_same_bits_twice() -> None:
    one, two = (judged(augmentations=("randaugment",), networks=["mlp"]) for _ in range(2))
    assert one.first.entries[0].last == two.first.entries[0].last
    assert one.first.entries[0].distinct == one.first.entries[0].samples_seen
