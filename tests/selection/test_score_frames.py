"""Score tables of data frames, shaped as cleanlab's: an index for ids, low for bad, sorted or not, with gaps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toys import blob_features, saved_npz

import decoct
from decoct.cli.main import main
from decoct.errors import DataError, MismatchError, SourceError
from decoct.selection.by_score import Easiest, Hardest
from decoct.selection.score_table import ScoreTable, source_rows
from decoct.selection.scored import read_scores

pd = pytest.importorskip("pandas")

ROWS = 60
RNG = np.random.default_rng(0)
QUALITY = RNG.permutation(np.linspace(0.01, 0.99, ROWS))
ORDERS = {
    "as it is": lambda frame: frame,
    "sorted": lambda frame: frame.sort_values("label_quality"),
    "upside down": lambda frame: frame.iloc[::-1],
}


def cleanlab_frame():
    """What `CleanLearning.find_label_issues` returns, and a column with gaps beside it."""
    given = np.arange(ROWS) % 3
    return pd.DataFrame(
        {
            "is_label_issue": QUALITY < 0.2,
            "label_quality": QUALITY,
            "given_label": given,
            "predicted_label": np.where(QUALITY < 0.2, (given + 1) % 3, given),
            "notes": np.where(QUALITY < 0.5, np.nan, 1.0),
        }
    )


def as_csv(frame, folder):
    frame.to_csv(folder / "issues.csv")
    return folder / "issues.csv"


def as_parquet(frame, folder):
    frame.to_parquet(folder / "issues.parquet")
    return folder / "issues.parquet"


def as_itself(frame, _):
    return frame


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS.keys())
@pytest.mark.parametrize("form", [as_csv, as_parquet, as_itself])
def test_hardest_are_the_rows_of_lowest_label_quality(form, order, tmp_path):
    data = blob_features()
    assert len(data.train) == ROWS
    table = read_scores(form(order(cleanlab_frame()), tmp_path))
    assert set(table.columns) == {"is_label_issue", "label_quality", "given_label", "predicted_label", "notes"}
    scores = table.for_data(data, "label_quality")
    assert scores[:, 0].tolist() == pytest.approx((1 - QUALITY).tolist())
    worst = decoct.select(data, Hardest(), ipc=4, features=scores)
    best = decoct.select(data, Easiest(), ipc=4, features=scores)
    for label in range(3):
        own = np.flatnonzero(data.train.y == label)
        by_quality = own[np.argsort(QUALITY[own])]
        assert [row for row in worst.indices.tolist() if row in own] == by_quality[:4].tolist()
        assert [row for row in best.indices.tolist() if row in own] == by_quality[::-1][:4].tolist()
    assert table.for_data(data, "is_label_issue")[:, 0].tolist() == (QUALITY < 0.2).tolist()
    with pytest.raises(DataError, match="'notes'"):
        table.for_data(data, "notes")


def test_a_minus_takes_a_column_the_other_way_round():
    table = ScoreTable(("a", "b"), {"label_quality": torch.tensor([0.25, 0.75]), "own": torch.tensor([1.0, 2.0])})
    ids = ["b", "a"]
    assert table.for_rows(ids, "label_quality")[:, 0].tolist() == [0.25, 0.75]
    assert table.for_rows(ids, "-label_quality")[:, 0].tolist() == [0.75, 0.25]
    assert table.for_rows(ids, "own")[:, 0].tolist() == [2.0, 1.0]
    assert table.for_rows(ids, "-own")[:, 0].tolist() == [-2.0, -1.0]
    assert "1 - label_quality: hardest takes the likely wrong labels" in table.notices(ids, "label_quality")[0]
    assert [table.notices(ids, name) for name in ("-label_quality", "own", "-own")] == [(), (), ()]


def test_qualities_just_below_one_still_differ(tmp_path):
    frame = pd.DataFrame({"id": ["a", "b", "c"], "label_quality": [1 - 1e-9, 1 - 1e-10, 1 - 1e-11]})
    scores = read_scores(as_csv(frame, tmp_path)).for_rows(["c", "a", "b"], "label_quality")
    assert scores[:, 0].argsort().tolist() == [0, 2, 1]


def test_row_numbers_of_the_whole_source_and_of_its_training_rows(tmp_path):
    whole = blob_features()
    data = decoct.open(saved_npz(whole, tmp_path / "a.npz"))
    assert 0 < len(data.train) < ROWS
    ids = data.train.ids.tolist()
    numbers = [int(name.partition("/")[2]) for name in ids]
    assert source_rows(data) == ROWS
    frame = cleanlab_frame().sort_values("label_quality")
    found = read_scores(frame).for_data(data, "given_label")
    assert found[:, 0].tolist() == [number % 3 for number in numbers]
    notice = read_scores(frame).notices(ids, "given_label", source_rows(data))
    told = "the scores know their 60 rows by number: they were taken for the rows of the source in its order"
    assert notice == (told,)
    places = pd.DataFrame({"a": np.arange(len(ids))}).iloc[::-1]
    assert read_scores(places).for_data(data, "a")[:, 0].tolist() == list(range(len(ids)))
    assert "for the training rows in their order" in read_scores(places).notices(ids, "a", source_rows(data))[0]
    for frame in (cleanlab_frame().iloc[:-1], cleanlab_frame().iloc[1:]):
        with pytest.raises(MismatchError, match=f"59 rows .*without {len(ids)} of the(.|\n)*as many rows as there are"):
            read_scores(frame).for_data(data, "given_label")


def test_row_numbers_are_places_where_the_table_is_not_of_the_whole_source():
    table = ScoreTable(("0", "1", "2"), {"a": torch.tensor([10.0, 11.0, 12.0])})
    ids = ["all/2", "all/0", "all/1"]
    assert table.for_rows(ids, "a")[:, 0].tolist() == [10, 11, 12]
    assert table.for_rows(ids, "a", rows=9)[:, 0].tolist() == [10, 11, 12]
    assert "training rows in their order" in table.notices(ids, "a", rows=9)[0]
    assert table.for_rows(ids, "a", rows=3)[:, 0].tolist() == [12, 10, 11]


def test_ids_of_an_index_with_a_name_and_of_columns(tmp_path):
    named = pd.DataFrame({"a": [1.0, 2.0]}, index=pd.Index(["x.png", "y.png"], name="image_file"))
    assert read_scores(as_parquet(named, tmp_path)).ids == ("x.png", "y.png")
    assert read_scores(named).ids == ("x.png", "y.png")
    columns = pd.DataFrame({"a": [1.0, 2.0], "uid": ["u", "v"]}, index=[7, 5])
    for form in (as_csv, as_parquet, as_itself):
        table = read_scores(form(columns, tmp_path))
        assert table.ids == ("u", "v")
        assert list(table.columns) == ["a"], "an index is no score"


def test_missing_values_of_pandas_and_frames_of_other_makers():
    frame = pd.DataFrame({"id": ["a", "b"], "s": pd.array([1, None], dtype="Int64")})
    table = read_scores(frame)
    assert table.for_rows(["a"], "s").tolist() == [[1.0]]
    with pytest.raises(DataError, match="first in row 1, which is b"):
        table.for_rows(["a", "b"], "s")

    class Plain(dict):
        columns = ("id", "s")

        def to_dict(self):
            return dict(self)

    assert read_scores(Plain(id=["a", "b"], s=[1, 2])).for_rows(["b"], "s").tolist() == [[2.0]]
    with pytest.raises(SourceError, match="received: a list"):
        read_scores([1, 2])
    with pytest.raises(DataError, match="a name of its own for every column"):
        read_scores(pd.DataFrame([[1, 2]], columns=["a", "a"]))


def test_the_command_says_how_rows_were_matched(tmp_path, capsys):
    source = saved_npz(blob_features(), tmp_path / "a.npz")
    file = as_csv(cleanlab_frame().sort_values("label_quality"), tmp_path)
    words = ["select", source, "--method", "easiest", "--scores", str(file), "--fraction", "0.5", "--json"]
    assert main([*words, "--score", "label_quality", "--out", str(tmp_path / "kept")]) == 0
    told = capsys.readouterr().err
    assert told.count("note: the scores know their 60 rows by number") == 1
    assert told.count("note: label_quality is low where a label is likely wrong") == 1
    kept = decoct.load(tmp_path / "kept")
    rows = [int(name.partition("/")[2]) for name in kept.ids.tolist()]
    assert QUALITY[rows].mean() > 0.6
    assert main([*words, "--score=-label_quality", "--out", str(tmp_path / "other")]) == 0
    rows = [int(name.partition("/")[2]) for name in decoct.load(tmp_path / "other").ids.tolist()]
    assert QUALITY[rows].mean() < 0.4
