"""What is said about kept and dropped rows."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest
import torch
from toys import blob_features

from decoct.errors import DataError, MismatchError, SourceError, UnknownNameError
from decoct.selection.driver import select
from decoct.selection.dropped import write_dropped
from decoct.selection.explain import explain
from decoct.selection.features import features
from decoct.selection.own_scores import OwnScores

DATA = blob_features(classes=3, per_class=12)
TABLE = features(DATA)
KEPT = select(DATA, "herding", ipc=3, features=TABLE)


def test_a_kept_row():
    row = int(KEPT.indices[4])
    told = explain(KEPT, DATA, row, features=TABLE)
    assert (told.kept, told.rank, told.rank_in_class, told.kept_rows, told.kept_in_class) == (True, 5, 2, 9, 3)
    assert told.id == str(DATA.train.ids[row])
    assert told.score == float(KEPT.scores[4])
    assert told.weight == 1
    away = torch.cdist(TABLE[row][None], TABLE[KEPT.indices])[0]
    away[4] = torch.inf
    assert told.neighbour_row == int(KEPT.indices[int(away.argmin())])
    assert told.distance == pytest.approx(float(away.min()))
    assert told.sentence.startswith(f"{told.id} (class 1) was kept by herding as number 5 of 9, number 2 of 3")
    assert "nearest other kept row" in told.sentence
    assert told.reason is not None
    assert told.reason in told.sentence


def test_a_dropped_row_by_its_id_and_across_blocks(monkeypatch):
    monkeypatch.setattr("decoct.selection.explain.BLOCK", 4)
    row = next(row for row in range(36) if row not in KEPT.indices.tolist())
    told = explain(KEPT, DATA, f"train-{row}", features=TABLE)
    assert (told.kept, told.rank, told.weight, told.score, told.percentile) == (False, None, None, None, None)
    nearest = torch.cdist(TABLE, TABLE[KEPT.indices]).min(1).values
    assert told.distance == pytest.approx(float(nearest[row]))
    own = torch.from_numpy(DATA.train.y == DATA.train.y[row])
    assert told.covered == pytest.approx(100 * float((nearest[own] > nearest[row]).float().mean()))
    assert "was dropped by herding: 9 rows were kept, 3 of its class" in told.sentence


def test_a_score_of_every_row_says_where_a_row_stands_in_its_class():
    scores = torch.arange(36).float()
    told = explain(KEPT, DATA, 30, features=TABLE, scores=scores)
    assert told.score == 30
    assert told.percentile == pytest.approx(100 * 10.5 / 12)
    assert "Its score is 30, at percentile 88 of its class" in told.sentence


def test_without_scores_of_all_rows_a_row_stands_among_the_kept_ones():
    values = torch.arange(36.0)[:, None]
    core = select(DATA, "hardest", ipc=2, features=OwnScores(values, "mine"))
    row = int(core.indices[0])
    told = explain(core, DATA, row, features=TABLE)
    assert (told.percentile, told.percentile_of_kept) == (75, True)
    assert "at percentile 75 of the kept rows of its class" in told.sentence
    known = explain(core, DATA, row, features=TABLE, scores=values[:, 0])
    assert (known.percentile, known.percentile_of_kept) == (pytest.approx(100 * 11.5 / 12), False)
    assert "at percentile 96 of its class" in known.sentence


def test_a_dropped_row_is_told_beside_the_last_kept_of_its_class(tmp_path):
    values = torch.arange(36.0).flip(0)[:, None]
    core = select(DATA, "hardest", ipc=2, features=OwnScores(values, "mine"))
    row = next(row for row in range(20, 36) if row not in core.indices.tolist())
    label = int(DATA.train.y[row])
    last = float(core.scores[core.classes == label][-1])
    told = explain(core, DATA, row, features=TABLE, scores=values[:, 0])
    assert (told.score, told.score_name, told.last_kept) == (float(values[row]), "mine", last)
    said = f"was dropped by hardest: its mine {told.score:.4g}, the last kept {last:.4g}; 6 rows were kept"
    assert said in told.sentence
    assert f"Its mine is {told.score:.4g}, at percentile" in told.sentence
    # Without the scores of all rows nothing is said of them.
    assert "the last kept" not in explain(core, DATA, row, features=TABLE).sentence
    core.save(tmp_path / "run")
    assert explain(tmp_path / "run", DATA, row, features=TABLE, scores=values[:, 0]).sentence == told.sentence
    free = select(DATA, "hardest", count=6, balance="global", features=OwnScores(values, "mine"))
    assert explain(free, DATA, row, features=TABLE, scores=values[:, 0]).last_kept == float(free.scores[-1])


def test_every_dropped_row_with_its_nearest_kept_one(tmp_path, monkeypatch):
    monkeypatch.setattr("decoct.selection.dropped.BLOCK", 4)
    scores = torch.arange(36.0)
    write_dropped(tmp_path / "dropped.parquet", KEPT, DATA, TABLE, scores)
    found = pq.read_table(tmp_path / "dropped.parquet").to_pydict()
    assert found["index"] == [row for row in range(36) if row not in KEPT.indices.tolist()]
    assert found["id"] == [str(DATA.train.ids[row]) for row in found["index"]]
    assert found["class"] == [int(DATA.train.y[row]) for row in found["index"]]
    away = torch.cdist(TABLE[found["index"]], TABLE[KEPT.indices])
    assert found["nearest_index"] == KEPT.indices[away.argmin(1)].tolist()
    assert found["nearest_id"] == [str(DATA.train.ids[row]) for row in found["nearest_index"]]
    assert found["nearest_class"] == [int(DATA.train.y[row]) for row in found["nearest_index"]]
    assert found["distance"] == pytest.approx(away.amin(1).tolist())
    assert found["score"] == scores[found["index"]].tolist()
    write_dropped(tmp_path / "less.parquet", KEPT, DATA, TABLE)
    assert "score" not in pq.read_table(tmp_path / "less.parquet").column_names


def test_a_folder_and_its_parquet_say_the_same(tmp_path):
    KEPT.save(tmp_path / "run")
    own = explain(KEPT, DATA, 3, features=TABLE)
    for path in (tmp_path / "run", tmp_path / "run" / "selection.parquet"):
        told = explain(path, DATA, 3, features=TABLE)
        assert (told.neighbour, told.distance, told.covered) == (own.neighbour, own.distance, own.covered)
    first = explain(tmp_path / "run", DATA, int(KEPT.indices[0]), features=TABLE)
    assert (first.rank, first.reason) == (1, KEPT.reasons[0])


def test_the_only_kept_row_has_no_neighbour():
    one = select(DATA, "herding", count=1, balance="global", features=TABLE)
    told = explain(one, DATA, int(one.indices[0]), features=TABLE)
    assert (told.neighbour, told.distance, told.covered) == (None, None, None)
    assert told.sentence.endswith(".")


def test_what_cannot_be_explained(tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'train-3'"):
        explain(KEPT, DATA, "tran-3", features=TABLE)
    with pytest.raises(DataError, match="0 to 35"):
        explain(KEPT, DATA, 36, features=TABLE)
    with pytest.raises(MismatchError, match="same source"):
        explain(KEPT, DATA.with_train(torch.arange(35, -1, -1)), 0, features=TABLE)
    with pytest.raises(MismatchError, match="36 training rows"):
        explain(KEPT, DATA, 0, features=TABLE, scores=torch.zeros(3))
    (tmp_path / "selection.parquet").write_bytes(b"not a table")
    for path in (tmp_path, tmp_path / "nothing.parquet"):
        with pytest.raises(SourceError, match="decoct select --out"):
            explain(path, DATA, 0, features=TABLE)
