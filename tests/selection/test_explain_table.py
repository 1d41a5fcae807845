"""What is said about rows of a table of features on disk, against distances of all rows computed at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from decoct.compact.coreset import Coreset
from decoct.data.feature_table import FeatureTable, feature_table
from decoct.errors import DataError, MismatchError, UnknownNameError
from decoct.selection import explain_table as module
from decoct.selection.explain_table import explain_table
from decoct.selection.sharded.driver import select_table

ROWS = 90
RNG = np.random.default_rng(0)
PHI = (4 * RNG.standard_normal((3, 5))[np.arange(ROWS) % 3] + RNG.standard_normal((ROWS, 5))).astype(np.float32)
LABELS = np.arange(ROWS) % 3
SCORES = RNG.permutation(ROWS).astype(np.float64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    np.save(tmp_path / "phi.npy", PHI)
    np.save(tmp_path / "y.npy", LABELS)
    np.save(tmp_path / "hard.npy", SCORES)
    return tmp_path


def of(folder: Path, *files: str) -> FeatureTable:
    named = {"y.npy": "labels", "hard.npy": "scores"}
    return feature_table(folder / "phi.npy", **{named[file]: folder / file for file in files})


def gaps(core: Coreset) -> torch.Tensor:
    return torch.cdist(torch.from_numpy(PHI).double(), torch.from_numpy(PHI).double()[core.indices])


def test_a_kept_and_a_dropped_row_of_a_table_with_classes(folder: Path) -> None:
    table = of(folder, "y.npy")
    core = select_table(table, "k-center", count=12)
    kept, dropped = int(core.indices[7]), next(row for row in range(ROWS) if row not in core.indices.tolist())
    one, two = explain_table(core, table, [kept, str(dropped)])
    away = gaps(core)
    assert (one.kept, one.rank, one.kept_rows, one.kept_in_class) == (True, 8, 12, 4)
    assert one.rank_in_class == int((core.classes[:8] == core.classes[7]).sum())
    assert core.reasons is not None
    assert (one.score, one.reason) == (float(core.scores[7]), str(core.reasons[7]))
    others = away[kept].index_fill(0, torch.tensor([7]), torch.inf)
    assert one.neighbour_row == int(core.indices[others.argmin()])
    assert one.distance == pytest.approx(float(others.min()), rel=1e-5)
    assert (two.kept, two.rank, two.weight, two.score) == (False, None, None, None)
    assert (two.label, two.neighbour_label) == (str(LABELS[dropped]), str(LABELS[two.neighbour_row]))
    assert two.distance == pytest.approx(float(away[dropped].min()), rel=1e-5)
    own = torch.from_numpy(np.equal(LABELS, LABELS[dropped]))
    nearest = away.amin(1)
    assert two.covered == pytest.approx(100 * float((nearest[own] > nearest[dropped]).double().mean()))
    assert not two.sampled
    assert two.sentence.startswith(
        f"row {dropped} ({LABELS[dropped]}) was dropped by k-center: 12 rows were kept, 4 of"
    )
    assert f"The nearest kept row is row {two.neighbour_row} ({two.neighbour_label}) at distance" in two.sentence


def test_rows_without_classes_are_told_without_them(folder: Path) -> None:
    table = of(folder)
    core = select_table(table, "k-center", count=12)
    kept, dropped = int(core.indices[0]), next(row for row in range(ROWS) if row not in core.indices.tolist())
    one, two = explain_table(core, table, [kept, dropped])
    for told in (one, two):
        assert (told.label, told.neighbour_label) == (None, None)
        assert "class" not in told.sentence
    assert one.sentence.startswith(f"row {kept} was kept by k-center as number 1 of 12, with weight 1")
    assert two.sentence.endswith("% of all rows lie farther from what was kept.")
    alone = select_table(table, "k-center", count=1)
    [only] = explain_table(alone, table, [int(alone.indices[0])])
    assert (only.neighbour, only.distance, only.covered) == (None, None, None)


def test_scores_of_all_rows_say_where_a_dropped_row_stood(folder: Path) -> None:
    table = of(folder, "y.npy", "hard.npy")
    core = select_table(table, "hardest", count=6)
    dropped = next(row for row in range(ROWS) if row not in core.indices.tolist())
    [told] = explain_table(core, table, [dropped])
    rivals = SCORES[np.equal(LABELS, LABELS[dropped])]
    last = rivals[np.argsort(-rivals)[1]]
    assert (told.score, told.score_name, told.last_kept) == (SCORES[dropped], "hard.npy", last)
    assert told.percentile == pytest.approx(100 * ((rivals < SCORES[dropped]).sum() + 0.5) / len(rivals))
    assert f"its hard.npy {SCORES[dropped]:.4g}, the last kept {last:.4g}; 6 rows were kept" in told.sentence
    [without] = explain_table(core, of(folder, "y.npy"), [dropped])
    assert (without.score, without.percentile) == (None, None)
    assert "the last kept" not in without.sentence


def test_large_classes_are_told_from_a_sample_of_their_rows(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = of(folder)
    core = select_table(table, "k-center", count=12)
    dropped = [row for row in range(ROWS) if row not in core.indices.tolist()]
    exact = explain_table(core, table, dropped)
    monkeypatch.setattr(module, "SAMPLE", 60)
    sampled = explain_table(core, table, dropped)
    assert "about " in sampled[0].sentence
    assert all(told.sampled for told in sampled)
    shares = torch.tensor([[told.covered for told in some] for some in (exact, sampled)])
    apart = (shares[0] - shares[1]).abs().tolist()
    assert 0 < max(apart) < 20, "sixty rows of ninety, not all of them"
    assert [told.distance for told in sampled] == [told.distance for told in exact]
    assert explain_table(core, table, dropped[:2]) == sampled[:2], "the seed decides, not what else is asked"


@pytest.mark.parametrize(
    ("row", "error", "received"),
    [("seven", UnknownNameError, "the id 'seven'"), ("-1", UnknownNameError, "the id '-1'"),
     (ROWS, DataError, f"row {ROWS}"), (-1, DataError, "row -1")],
)  # fmt: skip
def test_a_row_that_the_table_does_not_have(folder: Path, row, error, received: str) -> None:
    table = of(folder)
    core = select_table(table, "random", count=3)
    with pytest.raises(error, match=f"a number from 0 to {ROWS - 1}") as caught:
        explain_table(core, table, [0, row])
    assert caught.value.received == received


def test_another_table_other_labels_and_other_scores_are_refused(folder: Path) -> None:
    table = of(folder, "y.npy", "hard.npy")
    core = select_table(table, "hardest", count=6)
    with pytest.raises(MismatchError, match="no labels, and a selection with others"):
        explain_table(core, of(folder, "hard.npy"), [0])
    np.save(folder / "y.npy", LABELS[::-1])
    with pytest.raises(MismatchError, match=r"give those labels: --labels FILE\.npy"):
        explain_table(core, table, [0])
    np.save(folder / "y.npy", LABELS)
    np.save(folder / "hard.npy", SCORES + 1)
    with pytest.raises(MismatchError, match=r"hard\.npy, whose numbers are not those that rows were picked by"):
        explain_table(core, table, [0])
    np.save(folder / "phi.npy", PHI[:, :4])
    with pytest.raises(MismatchError, match=r"a table \[90, 4\] that does not hold the 6 kept rows"):
        explain_table(core, of(folder, "y.npy"), [0])
    np.save(folder / "phi.npy", PHI[::-1].copy())
    with pytest.raises(MismatchError, match="that does not hold the 6 kept rows"):
        explain_table(core, of(folder, "y.npy"), [0])
    free = select_table(of(folder), "k-center", count=6)
    with pytest.raises(MismatchError, match=r"y\.npy, and a selection without labels"):
        explain_table(free, of(folder, "y.npy"), [0])
