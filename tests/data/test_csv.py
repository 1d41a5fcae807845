"""Tables in csv files: columns of numbers as features, a column of labels, ids, parts, groups, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import decoct
from decoct.cli.opening import Opening
from decoct.data.groups import groups_from
from decoct.errors import DataError, SourceError

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _without_the_library(monkeypatch):
    """Files need nothing that decoct does not bring."""
    monkeypatch.setitem(sys.modules, "datasets", None)


X = RNG.standard_normal((60, 3)).round(4)
KINDS = ("Ant", "Käfer")


def lines(rows: range, head: str = ",width,height,weight,person,species") -> str:
    """As pandas writes a frame: a first column without a name that numbers the rows."""
    body = [f"{row},{X[row, 0]},{X[row, 1]},{X[row, 2]},p{row % 10},{KINDS[row % 2]}" for row in rows]
    return "\n".join([head, *body]) + "\n"


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def rows_by_id(data) -> dict[str, np.ndarray]:
    return {str(name): x for s in (data.train, data.val, data.test) for name, x in zip(s.ids, s.x, strict=True)}


def test_a_csv_file_is_a_table_of_features(tmp_path):
    path = written(tmp_path / "beetles.csv", lines(range(60)))
    asked = f"{path}?label=species"
    data = decoct.open(f"csv:{asked}", cache=tmp_path / "cache")
    assert data.spec.class_names == KINDS
    assert data.spec.shape == (3,), "neither the numbers of the rows nor the texts are features"
    assert "features are the columns width, height, weight" in data.spec.notices
    found = rows_by_id(data)
    assert len(found) == 60
    for row in (0, 31, 59):
        np.testing.assert_allclose(found[f"all/{row}"], X[row].astype(np.float32))
    with pytest.raises(SourceError, match=r"clearly the label[\s\S]*person \(text\), species \(text\)"):
        decoct.open(path, cache=tmp_path / "cache")


def test_a_column_of_groups_is_no_feature(tmp_path):
    body = [f"{X[row, 0]},{row % 12},{X[row, 1]},{KINDS[row % 2]}" for row in range(60)]
    path = written(tmp_path / "people.csv", "\n".join(["width,person,height,species", *body]) + "\n")
    data = Opening(group="person", cache=tmp_path / "cache").open(str(path), tell=False)
    assert data.spec.shape == (2,)
    assert "features are the columns width, height" in data.spec.notices
    person = groups_from(data, "person")
    people = [{person[name] for name in split.ids.tolist()} for split in (data.train, data.val, data.test)]
    assert sum(map(len, people)) == len(set.union(*people)) == 12
    assert decoct.open(data.spec.source, cache=tmp_path / "cache").spec.shape == (2,)
    named = Opening(group="person", cache=tmp_path / "cache").open(f"csv:{path}?label=species", tell=False)
    assert named.spec.fingerprint == data.spec.fingerprint


def test_a_second_label_is_no_feature(tmp_path):
    head = "width,target,height,label"
    body = [f"{X[row, 0]},{row % 2},{X[row, 1]},{KINDS[row % 2]}" for row in range(60)]
    path = written(tmp_path / "two.csv", "\n".join([head, *body]) + "\n")
    data = decoct.open(path, cache=tmp_path / "cache")
    assert data.spec.shape == (2,)
    assert "columns called like a label are no features: target" in data.spec.notices
    places = written(tmp_path / "xy.csv", "\n".join(["x,y,label", *(f"{a},{b},{KINDS[i % 2]}" for i, (a, b, _) in
                     enumerate(X))]) + "\n")  # fmt: skip
    assert decoct.open(places, cache=tmp_path / "cache").spec.shape == (2,)
    alone = written(tmp_path / "alone.csv", "target,label\n" + "1,Ant\n0,Bee\n" * 9)
    with pytest.raises(SourceError, match=r"beside those called like labels \(target\)"):
        decoct.open(alone, cache=tmp_path / "cache")


def test_the_only_column_of_texts_is_the_label(tmp_path):
    path = written(tmp_path / "wine.csv", "a,b,grape\n" + "1,2,barolo\n3,4,barbera\n" * 9)
    data = decoct.open(path, cache=tmp_path / "cache")
    assert data.spec.class_names == ("barbera", "barolo")
    assert data.spec.shape == (2,)


def test_the_path_alone_is_enough_where_the_label_is_plain(tmp_path):
    path = written(tmp_path / "beetles.CSV", lines(range(60), "id,a,b,c,person,label"))
    data = decoct.open(path, cache=tmp_path / "cache")
    assert data.spec.source == f"csv:{path}"
    assert sorted(map(int, rows_by_id(data))) == list(range(60)), "rows are called by the column id"
    groups = groups_from(data, "person")
    assert groups["17"] == "p7"
    assert len(groups) == 60
    small = decoct.select(data, "herding", ipc=2)
    assert len(small.ids) == 4


def test_a_folder_of_parts(tmp_path):
    written(tmp_path / "set" / "train.csv", lines(range(40), "id,a,b,c,person,label"))
    written(tmp_path / "set" / "test.csv", lines(range(40, 60), "id,a,b,c,person,label"))
    data = decoct.open(f"csv:{tmp_path / 'set'}", cache=tmp_path / "cache")
    assert sorted(map(int, data.test.ids.tolist())) == list(range(40, 60))


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("a,b,label\n1,2,0\n3,4\n5,6,7,8\n", SourceError, "that the files are whole"),
        ("a,b,label\n" + "1,,0\n2,3,1\n" * 4, DataError, "4 NaN or infinite values"),
        ("a,b,label\n" + "1,2,\n2,3,1\n" * 4, DataError, "without a label"),
        ("a;b;label\n" + "1;2;0\n2;3;1\n" * 4, SourceError, "the columns are a;b;label"),
        ("", SourceError, r"a\.csv: no line below the names of the columns[\s\S]*a line for each row"),
        ("a,b,label\n\n", SourceError, "no line below the names of the columns"),
        (
            "a,b,label\n" + "1,2,0\n3,4,1\n5,6\n" * 4,
            SourceError,
            r"Expected 3 columns, got 2[\s\S]*a value for every name",
        ),
        ("a,b,label\n" + "1,,0\n2,,1\n" * 4, DataError, "8 NaN or infinite values"),
        ("a,b,label\n" + "1,2,NA\n2,3,x\n" * 4, DataError, "without a label"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, text, error, words):
    path = written(tmp_path / "a.csv", text)
    with pytest.raises(error, match=words):
        decoct.open(path, cache=tmp_path / "cache")


def test_values_are_what_pandas_makes_of_them(tmp_path):
    """As `datasets` has read such files, so that ids, labels and rows stay what they were."""
    texts = ("2021-03-04", "day\nof year", "10:30", "7, 8")
    said = "\n".join(
        f'{row}e-1,+{row}, {row} ,{bool(row % 2)},{2**63 + row},"{texts[row % 4]}",{row}' for row in range(60)
    )
    path = written(tmp_path / "a.csv", f"\ufeffa,b,b,true,hash,day,\n{said}\n\n")
    data = decoct.open(f"csv:{path}?label=day&id=hash", cache=tmp_path / "cache")
    assert data.spec.class_names == tuple(sorted(texts))
    assert "features are the columns a, b, b.1, true, Unnamed: 6" in data.spec.notices
    np.testing.assert_allclose(rows_by_id(data)[str(2**63 + 31)], np.float32([3.1, 31, 31, 1, 31]))
    assert groups_from(data, "day")[str(2**63 + 6)] == "10:30"


def test_a_number_far_below_decides_for_the_column(tmp_path):
    path = written(tmp_path / "a.csv", "a,label\n" + "".join(f"{row},{row % 2}\n" for row in range(20_000)) + "0.5,1\n")
    assert rows_by_id(decoct.open(path, cache=tmp_path / "cache"))["all/20000"].tolist() == [0.5]


def test_text_of_another_encoding(tmp_path):
    (tmp_path / "a.csv").write_bytes("a,label\n1,Ameise\n2,Käfer\n".encode("latin-1") * 9)
    with pytest.raises(SourceError, match=r"'label' holds text that is not UTF-8[\s\S]*a csv file in UTF-8"):
        decoct.open(tmp_path / "a.csv", cache=tmp_path / "cache")


def test_a_shard_without_rows_and_a_group_called_na(tmp_path):
    for name, rows in (("train-0", range(0)), ("train-1", range(40)), ("test", range(40, 60))):
        text = lines(rows, "id,a,b,c,place,label").replace(",p3,", ",NA,")
        written(tmp_path / "set" / f"{name}.csv", text)
    data = decoct.open(f"csv:{tmp_path / 'set'}", cache=tmp_path / "cache")
    assert len(data.train) + len(data.val) == 40
    assert groups_from(data, "place")["43"] == "NA"


def test_names_that_are_not_there(tmp_path):
    with pytest.raises(SourceError, match="no such file or folder"):
        decoct.open(f"csv:{tmp_path / 'a.csv'}")
    written(tmp_path / "set" / "a.txt", "")
    with pytest.raises(SourceError, match=r"a folder without \.csv files"):
        decoct.open(f"csv:{tmp_path / 'set'}")
    path = written(tmp_path / "b.csv", lines(range(60), "id,a,b,c,person,label"))
    data = decoct.open(path, cache=tmp_path / "cache")
    with pytest.raises(SourceError, match="the name of the column"):
        groups_from(data, "place")
