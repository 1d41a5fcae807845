"""What is said about kept and dropped rows."""

from __future__ import annotations

import pytest
import torch
from toys import blob_features

from decoct.errors import DataError, MismatchError, SourceError, UnknownNameError
from decoct.selection.driver import select
from decoct.selection.explain import explain
from decoct.selection.features import features

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
