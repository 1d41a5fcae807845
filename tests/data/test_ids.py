"""What rows are called: the source's own ids from every kind of source, and what is done with them afterwards."""

from __future__ import annotations

import json
import uuid
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import decoct
from decoct.compact.export import export
from decoct.data.dataset import Dataset
from decoct.data.groups import groups_from, split_by_group
from decoct.data.sample_weights import SampleWeights
from decoct.errors import DataError, SourceError
from decoct.selection.explain import explain

datasets = pytest.importorskip("datasets")

RNG = np.random.default_rng(0)
N = 40
X = RNG.integers(0, 256, (N, 6, 5), dtype=np.uint8)
TABLE = RNG.normal(size=(N, 4)).astype(np.float32)
Y = np.arange(N) % 2
UIDS = [uuid.UUID(bytes=RNG.bytes(16)).hex for _ in range(N)]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def png(pixels: np.ndarray) -> bytes:
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def columns(**more) -> dict:
    return {**{f"f{i}": TABLE[:, i] for i in range(4)}, "label": Y, **more}


def parquet(path: Path, table: dict, name: str = "a.parquet") -> str:
    pq.write_table(pa.table(table), path / name)
    return f"parquet:{path / name}"


def by_id(data: Dataset) -> dict[str, np.ndarray]:
    return {str(n): x for s in (data.train, data.val, data.test) for n, x in zip(s.ids, s.x, strict=True)}


def is_called(data: Dataset, names: list[str], rows: np.ndarray) -> None:
    found = by_id(data)
    assert set(found) == set(names)
    for name, row in zip(names, rows, strict=True):
        np.testing.assert_array_equal(found[name].reshape(row.shape), row)


@pytest.mark.parametrize("name", ["uid", "id", "key"])
def test_archives_and_arrays_by_name(tmp_path, name):
    arrays = {"x": X, "y": Y, name: np.array(UIDS)}
    np.savez(tmp_path / "a.npz", **arrays)
    for source in (f"npz:{tmp_path / 'a.npz'}", arrays, {**arrays, name: np.array(UIDS, dtype="S")}):
        data = decoct.open(source)
        is_called(data, UIDS, X)
        assert f"rows are called by the array {name}" in data.spec.notices
    unnamed = decoct.open(f"npz:{tmp_path / 'a.npz'}?id=")
    assert set(by_id(unnamed)) == {f"all/{row}" for row in range(N)}


def test_archives_with_parts_and_another_name(tmp_path):
    path = tmp_path / "what?.npz"
    parts = {"x_train": X, "y_train": Y, "x_test": X[:8], "y_test": Y[:8], "mine_train": np.arange(N) + 7}
    np.savez(path, **parts)
    data = decoct.open(f"npz:{path}?id=mine")
    assert set(by_id(data)) == {str(row + 7) for row in range(N)} | {f"test/{row}" for row in range(8)}
    assert set(by_id(decoct.open(f"npz:{path}"))) >= {"train/0", "test/0"}
    with pytest.raises(SourceError, match="none of them 'yours_train'"):
        decoct.open(f"npz:{path}?id=yours")
    with pytest.raises(SourceError, match=r"received: \?uid=mine(.|\n)*expected: \?id=NAME\n"):
        decoct.open(f"npz:{path}?uid=mine")


@pytest.mark.parametrize("name", ["uid", "id", "key"])
@pytest.mark.parametrize("own", [UIDS, [row * 3 for row in range(N)]], ids=["texts", "numbers"])
def test_a_column_of_ids_is_no_feature(tmp_path, cache, name, own):
    source = parquet(tmp_path, columns(**{name: own, "__index_level_0__": np.arange(N)}))
    data = decoct.open(source, cache=cache)
    assert data.spec.shape == (4,)
    is_called(data, [str(one) for one in own], TABLE)
    assert data.spec.notices[:2] == ("features are the columns f0, f1, f2, f3", f"rows are called by the column {name}")
    unnamed = decoct.open(f"{source}?id=", cache=cache)
    assert set(by_id(unnamed)) == {f"all/{row}" for row in range(N)}
    assert unnamed.spec.shape == ((5,) if name == "key" and own is not UIDS else (4,))


def test_the_uid_comes_first_and_another_column_can_be_named(tmp_path, cache):
    table = columns(key=np.arange(N) % 12, id=np.arange(N), uid=UIDS, person=[f"p{row}" for row in range(N)])
    source = parquet(tmp_path, table)
    is_called(decoct.open(source, cache=cache), UIDS, np.column_stack([TABLE, np.arange(N) % 12]).astype(np.float32))
    named = decoct.open(f"{source}?id=person", cache=cache)
    assert set(by_id(named)) == set(table["person"])
    with pytest.raises(SourceError, match="no column 'persons'"):
        decoct.open(f"{source}?id=persons", cache=cache)


def test_a_column_of_ids_is_not_taken_for_the_label(tmp_path, cache):
    table = {"image": [png(row) for row in X], "uid": UIDS, "kind": ["cat", "dog"] * 20}
    assert decoct.open(parquet(tmp_path, table), cache=cache).spec.class_names == ("cat", "dog")


def test_images_keep_their_ids_in_the_cache(tmp_path, cache):
    table = {"image": [png(row) for row in X], "label": Y, "uid": UIDS}
    source = parquet(tmp_path, table)
    is_called(decoct.open(source, cache=cache), UIDS, X)
    is_called(decoct.open(source, cache=cache), UIDS, X)
    [record] = cache.glob("*.json")
    facts = json.loads(record.read_text())
    del facts["about"]["ids"]
    record.write_text(json.dumps(facts))
    is_called(decoct.open(source, cache=cache), UIDS, X)
    table["image"][3] = b"no image"
    source = parquet(tmp_path, table, "b.parquet")
    with pytest.raises(SourceError, match=f"{UIDS[3]}: not an image"):
        decoct.open(source, cache=cache)
    data = decoct.open(source, cache=cache, skip_bad=True)
    keep = np.arange(N) != 3
    is_called(data, [name for name in UIDS if name != UIDS[3]], X[keep])


class Rows(torch.utils.data.Dataset):
    """A Hugging Face data set for those who ask for one of torch."""

    def __init__(self, rows) -> None:
        self.rows, self.column_names = rows, rows.column_names

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place):
        return self.rows[place]


def test_hugging_face_data_in_memory_and_its_subset(cache):
    own = datasets.Dataset.from_dict({"image": [png(row) for row in X], "label": Y.tolist(), "id": UIDS})
    data = decoct.open(own, cache=cache)
    is_called(data, UIDS, X)
    core = decoct.select(data, "random", ipc=3)
    assert [row["id"] for row in core.to_subset(Rows(own))] == core.ids.tolist()
    # Ids of another source that look like row numbers of this one.
    other = own.remove_columns("id").add_column("id", [f"all/{row}" for row in range(N)][::-1])
    core = decoct.select(decoct.open(other, cache=cache), "random", ipc=3)
    assert [row["id"] for row in core.to_subset(Rows(other))] == core.ids.tolist()


def test_numbers_that_start_anew_in_every_part(tmp_path, cache):
    parquet(tmp_path, columns(id=np.arange(N)[::-1]), "train.parquet")
    parquet(tmp_path, {name: values[:8] for name, values in columns(id=np.arange(N)).items()}, "test.parquet")
    data = decoct.open(f"parquet:{tmp_path}", cache=cache)
    names = [f"train:{row}" for row in range(N)][::-1] + [f"test:{row}" for row in range(8)]
    is_called(data, names, np.concatenate([TABLE, TABLE[:8]]))


def test_groups_weights_explanations_and_exports_go_by_the_ids(tmp_path, cache):
    people = [f"p{row % 6}" for row in range(N)]
    data = decoct.open(parquet(tmp_path, columns(uid=UIDS, person=people)), cache=cache)
    groups = groups_from(data, "person")
    assert groups == dict(zip(UIDS, people, strict=True))
    assert len(split_by_group(data, groups).train) > 0
    with pytest.raises(SourceError, match="the name of the column"):
        groups_from(data, "persons")
    SampleWeights.of(data, np.linspace(1, 2, len(data.train))).save(tmp_path / "w.parquet")
    assert data.with_weights(SampleWeights.load(tmp_path / "w.parquet")).train.weights is not None
    core = decoct.select(data, "k-means", ipc=4)
    assert explain(core, data, str(core.ids[0])).kept
    export(core, "datacomp", tmp_path / "kept.npy")
    written = {f"{int(high):016x}{int(low):016x}" for high, low in np.load(tmp_path / "kept.npy")}
    assert written == set(core.ids.tolist()) < set(UIDS)
    export(core, "hub", tmp_path / "hub")
    again = decoct.open(f"parquet:{tmp_path / 'hub' / 'data'}", cache=cache)
    assert set(by_id(again)) == set(core.ids.tolist())
    assert again.spec.shape == (4,)


TWICE = [*UIDS[:-2], UIDS[0], UIDS[1]]
BAD = {
    "twice": (
        TWICE,
        f"2 values of 'id' that occur more than once in 'all', such as '{UIDS[0]}' .2 times., '",
    ),
    "missing": ([None, *UIDS[1:]], "1 rows of 'all' without a value of 'id': rows 0"),
    "empty": ([*UIDS[1:], ""], f"1 rows of 'all' without a value of 'id': rows {N - 1}"),
    "gaps in numbers": ([None, *range(N - 1)], "1 rows of 'all' without a value"),
    "floats": ([row / 2 for row in range(N)], "'id' of type float64"),
}


@pytest.mark.parametrize(("own", "words"), BAD.values(), ids=BAD.keys())
def test_ids_that_cannot_be_used(tmp_path, cache, own, words):
    source = parquet(tmp_path, columns(id=own))
    with pytest.raises(DataError, match=words) as caught:
        decoct.open(source, cache=cache)
    assert "each of them once" in str(caught.value)
    assert r"?id=NAME" in str(caught.value)
    assert decoct.open(f"{source}?id=", cache=cache).spec.shape == (4,)


def test_the_same_id_in_two_parts_and_ids_of_another_length(tmp_path):
    parts = {"x_train": X, "y_train": Y, "x_test": X[:4], "y_test": Y[:4]}
    with pytest.raises(DataError, match="4 values of 'id_train' that occur more than once in two parts"):
        decoct.open({**parts, "id_train": UIDS, "id_test": UIDS[:4]})
    with pytest.raises(DataError, match="40 rows and 39 ids in 'all'"):
        decoct.open({"x": X, "y": Y, "id": UIDS[:-1]})
    with pytest.raises(DataError, match="'id' of type bool"):
        decoct.open({"x": X, "y": Y, "id": Y == 0})
    with pytest.raises(SourceError, match="arrays named a, b"):
        decoct.open({"a": X, "b": Y})
