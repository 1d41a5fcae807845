"""Score tables: written, read, those of other tools, and the map."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from full_disk import files_of_at_most
from PIL import Image
from toys import blob_features

import decoct
from decoct.errors import DataError, MismatchError, OutputError, SourceError, UnknownNameError
from decoct.selection.by_score import Hardest
from decoct.selection.scored import ScoreTable, cartography_png, read_scores
from decoct.selection.scores import SCORES


def test_every_score_of_one_training_comes_back_from_the_file(tmp_path, monkeypatch):
    data = blob_features()
    table, dynamics = decoct.score(data, network="mlp-w8", epochs=3, out=tmp_path / "s", device="cpu")
    assert set(table.columns) == set(SCORES)
    assert list(table.ids) == data.train.ids.tolist()
    again = read_scores(tmp_path / "s" / "scores.parquet")
    assert again.ids == table.ids
    for name, values in table.columns.items():
        assert torch.equal(again.columns[name], values.double())
    monkeypatch.setattr("decoct.training.dynamics.fit_dataset", lambda *_, **__: pytest.fail("trained again"))
    decoct.score(data, network="mlp-w8", epochs=3, out=tmp_path / "s", device="cpu")
    picture = Image.open(io.BytesIO(cartography_png(dynamics)))
    assert picture.format == "PNG"
    assert picture.size[0] > 600


@pytest.mark.parametrize(("refused", "there"), [("dynamics", 0), ("scores", 1)])
def test_a_disk_that_is_full_half_way_loses_nothing(tmp_path, refused, there):
    data = blob_features()
    asked = {"network": "mlp-w8", "epochs": 3, "device": "cpu"}
    whole, _ = decoct.score(data, **asked, out=tmp_path / "whole")
    (file,) = (tmp_path / "whole").glob(f"{refused}*")
    with files_of_at_most(file.stat().st_size - 1), pytest.raises(OutputError, match="larger than the system allows"):
        decoct.score(data, **asked, out=tmp_path / "s")
    assert len(list((tmp_path / "s").iterdir())) == there
    table, _ = decoct.score(data, **asked, out=tmp_path / "s")
    assert table.ids == whole.ids
    assert all(torch.equal(values, whole.columns[name]) for name, values in table.columns.items())


def test_a_csv_of_another_tool_selects(tmp_path):
    data = blob_features()
    ids = data.train.ids.tolist()
    lines = [f"{own},{row},text" for row, own in reversed(list(enumerate(ids)))]
    (tmp_path / "theirs.csv").write_text("example_id,difficulty,note\n" + "\n".join(lines) + "\n")
    theirs = read_scores(tmp_path / "theirs.csv")
    assert list(theirs.columns) == ["difficulty"]
    assert theirs.notices(ids, "difficulty") == ()
    table = theirs.for_rows(ids, "difficulty")
    chosen = decoct.select(data, Hardest(), count=2, features=table, balance="global")
    assert chosen.indices.tolist() == [len(ids) - 1, len(ids) - 2]


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("id,a\nx,1\nx,2\n", DataError, "occur twice, such as 'x'"),
        ("id,a\nx,word\n", DataError, "none of numbers"),
        ("", DataError, "columns none, none of numbers"),
        ("id,a\nx,1\ny,1,2\n", SourceError, "row 1 has 3 values, the head names 2 columns"),
        pytest.param("id,a\nx," + "1" * 200_000 + "\n", SourceError, "cannot be read .field larger", id="huge field"),
    ],
)
def test_tables_that_cannot_be_used(text, error, words, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(error, match=words):
        read_scores(tmp_path / "t.csv")


def test_only_the_values_that_are_asked_for_must_be_there(tmp_path):
    (tmp_path / "t.csv").write_text("id,a,b\nx,1,2\ny,,3\nz,nan,inf\n")
    table = read_scores(tmp_path / "t.csv")
    assert table.for_rows(["x", "y"], "b")[:, 0].tolist() == [2, 3]
    with pytest.raises(DataError, match="2 values that are missing, NaN or infinite, first in row 1, which is y"):
        table.for_rows(["x", "y", "z"], "a")
    with pytest.raises(DataError, match="1 values that are missing, NaN or infinite, first in row 2, which is z"):
        table.for_rows(["x", "y", "z"], "b")


def test_files_and_names_that_are_not_there(tmp_path):
    with pytest.raises(SourceError, match="decoct score"):
        read_scores(tmp_path / "nothing.parquet")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(SourceError, match="cannot be read"):
        read_scores(tmp_path / "broken.parquet")
    table = ScoreTable(("a", "b"), {"aum": torch.zeros(2)})
    with pytest.raises(MismatchError, match="without 1 of the 2(.|\n)*such as c"):
        table.for_rows(["a", "c"], "aum")
    with pytest.raises(UnknownNameError, match="'aum'"):
        table.for_rows(["a"], "amu")


def test_scores_of_another_training_are_not_written_over(tmp_path, monkeypatch):
    data, asked = blob_features(), {"network": "mlp-w8", "epochs": 2, "device": "cpu", "out": tmp_path / "s"}
    decoct.score(data, **asked)
    before = (tmp_path / "s" / "scores.parquet").read_bytes()
    monkeypatch.setattr("decoct.selection.scored.record_dynamics", lambda *_, **__: pytest.fail("trained"))
    others = [
        (blob_features(seed=1), {}, "another fingerprint"), (data, {"seed": 1}, "another seed"),
        (data, {"epochs": 3}, "another epochs"), (data, {"network": "mlp-w4"}, "another network"),
        (data, {"look": "during"}, "another look"),
        (data.with_train(np.arange(40)), {}, "another rows_key"),
    ]  # fmt: skip
    for source, other, told in others:
        with pytest.raises(OutputError, match=f"(?s)scores of toy with {told}.*choose another folder"):
            decoct.score(source, **{**asked, **other})
    assert (tmp_path / "s" / "scores.parquet").read_bytes() == before
    (tmp_path / "s" / "scores.parquet").write_bytes(b"no parquet")
    with pytest.raises(OutputError, match=r"there: other scores(.|\n)*move that scores.parquet away"):
        decoct.score(data, **asked)
    ScoreTable(("a",), {"aum": torch.zeros(1)}).save(tmp_path / "s" / "scores.parquet")
    with pytest.raises(OutputError, match="there: other scores"):
        decoct.score(data, **asked)


def test_scores_from_before_there_were_two_kinds_of_looks_are_those_after_each_pass(tmp_path):
    data, asked = blob_features(), {"network": "mlp-w8", "epochs": 2, "device": "cpu", "out": tmp_path / "s"}
    decoct.score(data, **asked)
    path = tmp_path / "s" / "scores.parquet"
    found = read_scores(path)
    before = {name: value for name, value in found.facts.items() if name != "look"}
    ScoreTable(found.ids, found.columns, before).save(path)
    decoct.score(data, **asked)
    assert read_scores(path).facts["look"] == "after"


def test_a_window_of_another_width_may_be_looked_at_in_the_same_training(tmp_path):
    asked = {"network": "mlp-w8", "epochs": 4, "device": "cpu", "out": tmp_path / "s"}
    for window in (2, 3):
        decoct.score(blob_features(), **asked, window=window)
        assert read_scores(tmp_path / "s" / "scores.parquet").facts["window"] == window


def test_scores_of_other_data_are_told(tmp_path):
    data = blob_features()
    decoct.score(data, network="mlp-w8", epochs=2, device="cpu", out=tmp_path)
    table = read_scores(tmp_path / "scores.parquet")
    assert table.facts["network"] == "mlp-w8"
    assert table.notices_for(data, "aum") == ()
    assert table.notices_for(data.with_train(np.arange(9)), "aum") == ()
    (told,) = table.notices_for(blob_features(seed=1), "aum")
    assert "the scores were made of other data, toy as it was opened then" in told
    assert ScoreTable(table.ids, table.columns).notices_for(blob_features(seed=1), "aum") == ()
