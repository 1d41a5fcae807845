"""Sections on networks, augmentations, fair scores and label bytes: there when measured, absent when not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from report_toys import entry
from toys import blob_images

from decoct.evaluation.fair_scores import fair_scores_of
from decoct.evaluation.matrix import Matrix
from decoct.evaluation.scorecard import Entry, Scorecard
from decoct.report.collect import contents_of
from decoct.report.find import results_in
from decoct.report.judged import Judged
from decoct.report.label_section import curve_of, label_section
from decoct.report.leaderboard import scorecards_in
from decoct.report.matrix_section import fair_section, matrix_section
from decoct.report.page import page
from decoct.selection.driver import select

DATA = blob_images()


def on(network: str, one: Entry) -> Entry:
    return replace(one, network=network)


def card(shift: float = 0.0, mix: str = "") -> Scorecard:
    entries = []
    for network, base in (("convnet3", 0.7), ("mlp", 0.5)):
        entries += [
            on(network, entry("dm <x>", base + shift, 100, 6)),
            on(network, entry("random", base - 0.1 + shift, 100, 6, kind="baseline")),
            on(network, entry("full", 0.9, 999, 60, kind="baseline")),
        ]
    facts = {"source": "toy", "fingerprint": DATA.spec.fingerprint, "shape": [1, 8, 8], "train": 60,
             "class_names": list(DATA.spec.class_names)}  # fmt: skip
    ordered = sorted(entries, key=lambda one: one.kind == "baseline")
    return Scorecard(tuple(ordered), {"name": "quick", "hash": f"h{shift}", "fit": {"mix": mix}}, facts, {})


MATRIX = Matrix({"none": card(), "cutmix": card(0.05, "cutmix")})


def test_a_table_for_each_augmentation_and_each_network() -> None:
    html = matrix_section([("dm", MATRIX)])
    for title in ("Networks, augmentation: none", "Networks, augmentation: cutmix", "Augmentations, convnet3"):
        assert html.count(f"<h4>{title}</h4>") == 1
    assert html.count("<tr class=") == 4 * 3
    assert "dm &lt;x&gt;" in html
    assert "<x>" not in html
    assert "70.0" in html
    assert "75.0" in html


def test_the_best_of_a_table_is_the_darkest_and_the_worst_is_not_painted() -> None:
    html = matrix_section([("dm", Matrix({"none": card()}))])
    assert html.count("var(--m0) 45%") == 2, "the full data on both networks"
    assert html.count("var(--m0) 0%") == 1


def test_one_network_under_one_augmentation_needs_no_matrix() -> None:
    single = replace(card(), entries=tuple(one for one in card().entries if one.network == "mlp"))
    assert matrix_section([("dm", Matrix({"protocol": single}))]) == ""
    assert fair_section(()) == label_section(()) == ""


def test_fair_scores_are_shown_with_what_is_missing() -> None:
    html = fair_section(fair_scores_of(MATRIX))
    assert html.count('<th scope="row">') == 2
    assert "+10.0" in html
    others = tuple(one for one in card().entries if one.name != "full")
    without = Matrix({"protocol": replace(card(), entries=others)})
    assert "without the baseline full there is no LRS" in fair_section(fair_scores_of(without))


@pytest.mark.parametrize(
    ("label", "curve"),
    [("hard", "hard"), ("own", "own"), ("own-top3", "own"), ("own-top3-8bit", "own-8bit"), ("own-8bit", "own-8bit"),
     ("teacher-top1", "teacher")],
)  # fmt: skip
def test_ways_of_keeping_labels_are_grouped_into_curves(label: str, curve: str) -> None:
    assert curve_of(label) == curve


def test_a_scorecard_that_is_newer_than_the_matrix_counts_in_it(tmp_path: Path) -> None:
    """`evaluate --augment ...` and later `evaluate` with more seeds: the second leaves no matrix, but a scorecard."""
    MATRIX.save(tmp_path / "matrix.json")
    newer = replace(card(0.02), protocol=MATRIX.first.protocol)
    newer.save(tmp_path / "scorecard.json")
    [one] = results_in(tmp_path)
    assert one.matrix is not None
    assert one.matrix == Matrix({"none": newer, "cutmix": MATRIX.scorecards["cutmix"]})
    assert contents_of([one]).scores == fair_scores_of(one.matrix)
    assert scorecards_in([tmp_path]) == [(tmp_path.name, newer), (tmp_path.name, MATRIX.scorecards["cutmix"])]


def test_a_scorecard_of_the_protocols_own_augmentation_joins_a_matrix_without_it(tmp_path: Path) -> None:
    MATRIX.save(tmp_path / "matrix.json")
    own = replace(card(0.02, "mixup"), entries=card(0.02).judged[:1])
    own.save(tmp_path / "scorecard.json")
    [one] = results_in(tmp_path)
    assert one.matrix is not None
    assert one.matrix.augmentations == ("protocol", "none", "cutmix")
    assert one.matrix.first == own
    assert [score.label for score in contents_of([one]).scores] == ["dm <x>"], "a network less than the others have"


@pytest.mark.parametrize(
    "change",
    [{"protocol": {**MATRIX.first.protocol, "val_rows": 7}}, {"provenance": {"content_hash": "other"}},
     {"data": {**MATRIX.first.data, "weights": "heavy"}}],
)  # fmt: skip
def test_a_scorecard_about_something_else_leaves_the_matrix_alone(tmp_path: Path, change: dict[str, object]) -> None:
    MATRIX.save(tmp_path / "matrix.json")
    other = replace(card(0.02), **change)  # type: ignore[arg-type]
    other.save(tmp_path / "scorecard.json")
    [one] = results_in(tmp_path)
    assert one.matrix == MATRIX
    assert contents_of([one]).matrices == ((f"{one.name}, 2 per class", Matrix({"protocol": other})),)
    assert [found for _, found in scorecards_in([tmp_path])] == [*MATRIX.scorecards.values(), other]


def test_everything_lands_on_one_page(tmp_path: Path) -> None:
    select(DATA, "random", ipc=2, seed=0, out=tmp_path)
    ways = ("hard", "own-top1", "own", "own-8bit")
    entries = tuple(entry(name, 0.6 + place / 20, 100, 6, labels=6 * (place + 1)) for place, name in enumerate(ways))
    labels = replace(card(), entries=entries)
    (tmp_path / "evaluation").mkdir()
    MATRIX.first.save(tmp_path / "evaluation" / "scorecard.json")
    MATRIX.save(tmp_path / "evaluation" / "matrix.json")
    labels.save(tmp_path / "evaluation" / "label_bytes.json")
    [one] = results_in(tmp_path)
    assert one.matrix == MATRIX
    assert one.label_card == labels
    html = page(contents_of([one], DATA))
    for anchor in ("accuracy", "fair", "matrix", "label-bytes"):
        assert html.count(f'id="{anchor}"') == 1
    plain = page(contents_of([Judged("dm", None, replace(card(), entries=card().entries[:1]))]))
    assert 'id="matrix"' not in plain
    assert 'id="fair"' not in plain
