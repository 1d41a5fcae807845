from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import decoct
from decoct.compact.export import export
from decoct.data.sources.arrow import read_parts
from decoct.errors import DataError, MissingExtraError, SourceError

datasets = pytest.importorskip("datasets")

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (24, 6, 5, 3), dtype=np.uint8)
NAMES = ["zebra", "<ant>", "Käfer"]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def png(pixels: np.ndarray) -> bytes:
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def table(rows: np.ndarray = X, names: list[str] | None = NAMES):
    """A Hugging Face data set of images with class names, or without names."""
    label = datasets.ClassLabel(names=names) if names else datasets.Value("int64")
    features = datasets.Features({"image": datasets.Image(), "label": label})
    images = [{"bytes": png(row), "path": None} for row in rows]
    return datasets.Dataset.from_dict({"image": images, "label": [i % 3 for i in range(len(rows))]}, features=features)


def pixels_by_id(data) -> dict[str, np.ndarray]:
    return {str(n): x for s in (data.train, data.val, data.test) for n, x in zip(s.ids, s.x, strict=True)}


def test_parquet_shards_and_their_parts(tmp_path, cache, monkeypatch):
    folder = tmp_path / "set"
    folder.mkdir()
    table(X[:12]).to_parquet(str(folder / "train-00000-of-00002.parquet"))
    table(X[12:18]).to_parquet(str(folder / "train-00001-of-00002.parquet"))
    table(X[18:]).to_parquet(str(folder / "test-00000-of-00001.parquet"))
    data = decoct.open(f"parquet:{folder}", cache=cache)
    assert data.spec.class_names == tuple(NAMES)
    assert len(data.test) == 6
    rows = pixels_by_id(data)
    for i in range(18):
        np.testing.assert_array_equal(rows[f"train/{i}"], X[i].transpose(2, 0, 1))
    np.testing.assert_array_equal(rows["test/5"], X[23].transpose(2, 0, 1))
    assert {path.suffix for path in cache.iterdir()} == {".json", ".npy"}, "no copy of the library is left"
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert decoct.open(folder, cache=cache).spec.fingerprint == data.spec.fingerprint


def test_parts_from_folder_names(tmp_path, cache):
    for name, rows in (("train", X), ("validation", X[:6])):
        (tmp_path / "set" / "default" / name).mkdir(parents=True)
        table(rows).to_parquet(str(tmp_path / "set" / "default" / name / "0000.parquet"))
    data = decoct.open(tmp_path / "set", cache=cache)
    assert len(data.val) == 6
    assert all(name.startswith("train/") for name in data.test.ids)


def test_a_file_alone_is_cut(tmp_path, cache):
    table().to_parquet(str(tmp_path / "test-0.parquet"))
    data = decoct.open(tmp_path / "test-0.parquet", cache=cache)
    assert sorted(pixels_by_id(data)) == sorted(f"all/{i}" for i in range(24))


def test_plain_bytes_and_string_labels_without_the_librarys_mark(tmp_path, cache):
    columns = {"img": [png(row) for row in X], "target": [NAMES[i % 3] for i in range(24)], "note": ["x"] * 24}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    data = decoct.open(tmp_path / "a.parquet", cache=cache)
    assert data.spec.class_names == tuple(sorted(NAMES))
    np.testing.assert_array_equal(pixels_by_id(data)["all/7"], X[7].transpose(2, 0, 1))


def test_columns_can_be_named(tmp_path, cache):
    columns = {"a": [png(row) for row in X], "b": [png(255 - row) for row in X], "p": [0, 1] * 12, "label": [2] * 24}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match="2 columns of images") as caught:
        decoct.open(tmp_path / "a.parquet", cache=cache)
    assert "a (image), b (image), p (number), label (number)" in str(caught.value)
    assert "?image=NAME&label=NAME" in str(caught.value)
    data = decoct.open(f"parquet:{tmp_path / 'a.parquet'}?image=b&label=p", cache=cache)
    np.testing.assert_array_equal(pixels_by_id(data)["all/1"], 255 - X[1].transpose(2, 0, 1))
    with pytest.raises(SourceError, match="no column 'q'"):
        decoct.open(f"parquet:{tmp_path / 'a.parquet'}?label=q", cache=cache)
    with pytest.raises(SourceError, match=r"received: \?lable=p"):
        decoct.open(f"parquet:{tmp_path / 'a.parquet'}?lable=p", cache=cache)


@pytest.mark.parametrize("kind", ["lists", "fixed lists", "columns"])
def test_feature_tables(tmp_path, cache, kind):
    x = RNG.normal(size=(30, 4)).astype(np.float32)
    if kind == "columns":
        columns = {f"f{i}": x[:, i] for i in range(4)}
    else:
        fixed = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), 4)
        columns = {"embedding": fixed if kind == "fixed lists" else x.tolist()}
    pq.write_table(pa.table({**columns, "label": np.arange(30) % 2}), tmp_path / "a.parquet")
    data = decoct.open(tmp_path / "a.parquet", cache=cache)
    assert data.spec.shape == (4,)
    rows = pixels_by_id(data)
    np.testing.assert_allclose(np.stack([rows[f"all/{i}"] for i in range(30)]), x)


def test_objects_of_the_library(cache):
    single = decoct.open(table(), cache=cache)
    both = datasets.DatasetDict({"train": table(), "test": table(X[:6]), "extra": table(X[:3])})
    pair = decoct.open(both, cache=cache)
    assert single.spec.class_names == pair.spec.class_names == tuple(NAMES)
    assert len(pair.test) == 6
    assert pair.spec.notices[0] == "splits that are neither train, val nor test were passed over: extra"
    assert len(list(cache.glob("*.json"))) == 2, "one does not displace the other"
    shuffled = decoct.open(table().shuffle(seed=3), cache=cache)
    assert shuffled.spec.fingerprint != single.spec.fingerprint
    assert sorted(x.tobytes() for x in pixels_by_id(shuffled).values()) == sorted(
        x.tobytes() for x in pixels_by_id(single).values()
    )


def test_a_picture_that_changed_beside_its_table_is_decoded_anew(tmp_path, cache):
    paths = [tmp_path / f"{row}.png" for row in range(len(X))]

    def opened(pixels: np.ndarray):
        for path, row in zip(paths, pixels, strict=True):
            path.write_bytes(png(row))
        said = {"image": [str(path) for path in paths], "label": [NAMES[i % 3] for i in range(len(X))]}
        return decoct.open(datasets.Dataset.from_dict(said).cast_column("image", datasets.Image()), cache=cache)

    first, second = opened(X), opened(255 - X)
    for name, row in pixels_by_id(first).items():
        np.testing.assert_array_equal(255 - row, pixels_by_id(second)[name])
    assert any(cache.glob("*.rows.npy"))
    said = [{"bytes": None, "path": str(path)} for path in paths]
    file = tmp_path / "paths.parquet"
    pq.write_table(pa.table({"image": said, "label": [i % 3 for i in range(len(X))]}), file)
    third = decoct.open(file, cache=tmp_path / "other")
    np.testing.assert_array_equal(pixels_by_id(third)["all/0"], pixels_by_id(second)["all/0"])
    assert not list((tmp_path / "other").glob("*.rows.npy"))


def test_numbers_mean_the_same_names_in_every_split(cache):
    turned = table(X[:6], [NAMES[2], NAMES[0], NAMES[1]])
    data = decoct.open(datasets.DatasetDict(train=table(), test=turned), cache=cache)
    assert data.test.y.tolist() == [2, 0, 1, 2, 0, 1]
    foreign = table(X[:6], ["zebra", "<ant>", "bee"])
    with pytest.raises(DataError, match="no class of the training rows: 'bee'"):
        decoct.open(datasets.DatasetDict(train=table(), test=foreign), cache=cache)


def test_splits_that_say_the_same_and_rows_that_come_one_by_one(cache):
    with pytest.raises(SourceError, match="say the same: 'train', 'validation', 'dev'"):
        decoct.open(datasets.DatasetDict(train=table(), validation=table(X[:6]), dev=table(X[:3])), cache=cache)
    with pytest.raises(SourceError, match="without streaming=True"):
        decoct.open(table().to_iterable_dataset(), cache=cache)


def test_a_local_data_set_through_the_hubs_loader(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    (tmp_path / "set").mkdir()
    table().to_parquet(str(tmp_path / "set" / "train.parquet"))
    table(X[:6]).to_parquet(str(tmp_path / "set" / "test.parquet"))
    data = decoct.open(f"hub:{tmp_path / 'set'}", cache=cache)
    assert data.spec.class_names == tuple(NAMES)
    assert len(data.test) == 6
    datasets.DatasetDict({"train": table(), "test": table(X[:6])}).save_to_disk(str(tmp_path / "saved"))
    for source in (f"hub:{tmp_path / 'saved'}", tmp_path / "saved"):
        assert decoct.open(source, cache=cache).spec.fingerprint == data.spec.fingerprint


def test_a_set_that_the_library_cannot_load(tmp_path, cache):
    with pytest.raises(SourceError, match="Hugging Face datasets can load") as caught:
        decoct.open(f"hub:{tmp_path / 'nothing'}", cache=cache)
    assert "check the name or path" in str(caught.value)


def test_without_the_library_files_open_and_hub_sets_do_not(tmp_path, cache, monkeypatch):
    table().to_parquet(str(tmp_path / "a.parquet"))
    monkeypatch.setitem(sys.modules, "datasets", None)
    data = decoct.open(f"parquet:{tmp_path / 'a.parquet'}", cache=cache)
    assert data.spec.class_names == tuple(NAMES)
    np.testing.assert_array_equal(pixels_by_id(data)["all/7"], X[7].transpose(2, 0, 1))
    assert {path.suffix for path in cache.iterdir()} == {".json", ".npy"}, "rows are written once, decoded"
    with pytest.raises(MissingExtraError, match=r"pip install 'decoct\[hf\]'"):
        decoct.open("hub:mnist", cache=cache)


def test_what_decoct_exports_opens_again_without_the_library(tmp_path, cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    for name, rows in (("images", X), ("features", RNG.normal(size=(24, 4)).astype(np.float32))):
        data = decoct.open({"x": rows, "y": np.arange(24) % 3, "class_names": NAMES}, cache=cache)
        core = decoct.select(data, "random", ipc=4)
        export(core, "parquet", tmp_path / f"{name}.parquet")
        again = decoct.open(tmp_path / f"{name}.parquet", cache=cache)
        assert again.spec.class_names == tuple(NAMES)
        found = np.stack([pixels_by_id(again)[f"all/{i}"] for i in range(12)])
        np.testing.assert_allclose(found, core.raw.numpy(), rtol=1e-5)


@pytest.mark.parametrize("feature", ["Array2D", "Array3D", "List"])
def test_arrays_that_the_library_wrote(tmp_path, cache, feature):
    rows, kind = {
        "Array2D": (X[..., 0], datasets.Array2D((6, 5), "uint8")),
        "Array3D": (X.transpose(0, 3, 1, 2), datasets.Array3D((3, 6, 5), "uint8")),
        "List": (X[:, 0, :, 0], datasets.List(datasets.Value("float64"), length=5)),
    }[feature]
    features = datasets.Features({"x": kind, "label": datasets.ClassLabel(names=NAMES)})
    columns = {"x": rows.tolist(), "label": [i % 3 for i in range(24)]}
    datasets.Dataset.from_dict(columns, features=features).to_parquet(str(tmp_path / "a.parquet"))
    data = decoct.open(tmp_path / "a.parquet", cache=cache)
    in_memory = decoct.open(datasets.Dataset.from_dict(columns, features=features), cache=cache)
    assert data.spec.fingerprint == in_memory.spec.fingerprint
    np.testing.assert_array_equal(pixels_by_id(data)["all/3"].reshape(rows[3].shape), rows[3])


def test_rows_in_one_large_group_come_a_few_at_a_time(tmp_path):
    pictures = [RNG.bytes(1000) for _ in range(20_000)]
    pq.write_table(pa.table({"image": pictures}), tmp_path / "a.parquet")
    assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups == 1
    before = pa.total_allocated_bytes()
    rows = read_parts("opening", "parquet", {"all": [tmp_path / "a.parquet"]})["all"]
    used = [(pa.total_allocated_bytes() - before, hash(read)) for read in rows.pictures("image")]
    assert [read for _, read in used] == [hash(picture) for picture in pictures]
    assert max(size for size, _ in used) < 8e6, "of 20 MB"


def test_shards_that_differ(tmp_path, cache):
    turned = table(X[:6], [NAMES[2], NAMES[0], NAMES[1]])
    table().to_parquet(str(tmp_path / "train-0.parquet"))
    turned.to_parquet(str(tmp_path / "test-0.parquet"))
    assert decoct.open(tmp_path, cache=cache).test.y.tolist() == [2, 0, 1, 2, 0, 1]
    turned.to_parquet(str(tmp_path / "train-1.parquet"))
    with pytest.raises(
        SourceError, match=r"train-1\.parquet, whose 'label' counts other classes than train-0\.parquet"
    ):
        decoct.open(tmp_path, cache=cache)
    for absent in ("label", "image"):
        table(X[:6]).remove_columns(absent).to_parquet(str(tmp_path / "train-1.parquet"))
        with pytest.raises(SourceError, match=f"without the column '{absent}'[\\s\\S]*write the files anew"):
            decoct.open(tmp_path, cache=cache)


def test_a_file_that_is_damaged_further_down(tmp_path, cache):
    table(np.concatenate([X] * 9)).to_parquet(str(tmp_path / "a.parquet"))
    whole = bytearray((tmp_path / "a.parquet").read_bytes())
    whole[200:-6000] = b"\xff" * (len(whole) - 6200)
    (tmp_path / "a.parquet").write_bytes(whole)
    with pytest.raises(SourceError, match=r"a\.parquet: [\s\S]*that the files are whole"):
        decoct.open(tmp_path / "a.parquet", cache=cache)


def test_bad_images_in_a_table(tmp_path, cache):
    columns = {"image": [png(row) for row in X], "label": np.arange(24) % 2}
    columns["image"][5], columns["image"][20] = b"no image", None
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(SourceError) as caught:
        decoct.open(tmp_path / "a.parquet", cache=cache)
    assert "2 of 24 images" in str(caught.value)
    assert "all/5: not an image" in str(caught.value)
    assert "all/20: no image" in str(caught.value)
    rows = pixels_by_id(decoct.open(tmp_path / "a.parquet", cache=cache, skip_bad=True))
    assert set(rows) == {f"all/{i}" for i in range(24)} - {"all/5", "all/20"}
    np.testing.assert_array_equal(rows["all/23"], X[23].transpose(2, 0, 1))


def _damaged(folder: Path) -> None:
    pq.write_table(pa.table({"x": [1.0], "label": [1]}), folder / "a.parquet")
    (folder / "a.parquet").write_bytes((folder / "a.parquet").read_bytes()[:40])


def _ragged(folder: Path) -> None:
    pq.write_table(pa.table({"x": [[1.0], [1.0, 2.0]] * 4, "label": [0, 1] * 4}), folder / "a.parquet")


def _ragged_later(folder: Path) -> None:
    rows = [[1.0]] * 4096 + [[1.0, 2.0]] * 4
    pq.write_table(pa.table({"x": rows, "label": [0, 1] * 2050}), folder / "a.parquet")


def _nan(folder: Path) -> None:
    pq.write_table(pa.table({"x": [1.0, None] * 4, "z": [1.0] * 8, "label": [0, 0, 1, 1] * 2}), folder / "a.parquet")


def _no_label(folder: Path) -> None:
    pq.write_table(pa.table({"x": [1.0] * 8, "z": [0, 1] * 4}), folder / "a.parquet")


def _missing_label(folder: Path) -> None:
    pq.write_table(pa.table({"x": [1.0] * 8, "label": [0, None] * 4}), folder / "a.parquet")


def _unlabelled_test(folder: Path) -> None:
    pq.write_table(pa.table({"x": [1.0] * 8, "label": [0, 1] * 4}), folder / "train.parquet")
    pq.write_table(pa.table({"x": [1.0] * 8, "label": [-1] * 8}), folder / "test.parquet")


def _nothing(folder: Path) -> None:
    del folder


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (_nothing, SourceError, ["a folder without .parquet files"]),
        (_damaged, SourceError, ["that the files are whole"]),
        (_ragged, DataError, ["from 0 on, that make no table: lists of the lengths 1, 2", "one length"]),
        (_ragged_later, DataError, ["from 4096 on, that make no table: rows of shape [1] and [2]"]),
        (_nan, DataError, ["4 NaN or infinite values in 4 of 8 rows of 'all': rows 1, 3, 5, 7"]),
        (_no_label, SourceError, ["no column that is clearly the label; the columns are x (number), z (number)"]),
        (_missing_label, DataError, ["4 rows of 'all' without a label: rows 1, 3, 5, 7"]),
        (_unlabelled_test, DataError, ["8 labels of 'test' outside 0..1: -1 (row 0)"]),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, cache, make, error, words):
    folder = tmp_path / "set"
    folder.mkdir()
    make(folder)
    with pytest.raises(error) as caught:
        decoct.open(f"parquet:{folder}", cache=cache)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert not cache.exists() or not list(cache.iterdir())


def test_a_missing_table(tmp_path):
    with pytest.raises(SourceError, match="no such file or folder"):
        decoct.open(f"parquet:{tmp_path / 'a.parquet'}")
