"""`open`: the vocabulary every other room relies on, whatever the source."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import decoct
from decoct.data.found import parse_size
from decoct.errors import ConfigError, DataError, SourceError, UnknownNameError


def colour(
    n: int, classes: int = 2, shape: tuple[int, ...] = (6, 5, 3), seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, *shape), dtype=np.uint8), np.arange(n) % classes


def test_digits_are_the_default_of_the_whole_house():
    data = decoct.open("digits")
    assert data.spec.shape == (1, 8, 8)
    assert data.spec.class_names == tuple("0123456789")
    assert data.spec.source == "digits"
    assert (len(data.train), len(data.val), len(data.test)) == (1439, 179, 179)
    assert data.train.x.dtype == np.uint8
    assert data.train.y.dtype == np.int64
    assert data.train.x.max() == 255
    inputs = data.inputs(data.train)
    assert inputs.dtype == torch.float32
    assert abs(float(inputs.mean())) < 1e-4
    assert abs(float(inputs.std()) - 1) < 1e-3


def test_digits_are_scikit_learns_digits_stretched():
    from sklearn.datasets import load_digits

    data = decoct.open("digits")
    bunch = load_digits()
    for split in (data.train, data.val, data.test):
        rows = [int(name.partition("/")[2]) for name in split.ids]
        np.testing.assert_array_equal(split.x[:, 0], np.rint(bunch.images[rows] * 255 / 16))
        np.testing.assert_array_equal(split.y, bunch.target[rows])


def test_splits_are_disjoint_complete_and_repeatable():
    first, again, other = decoct.open("digits"), decoct.open("digits"), decoct.open("digits", seed=1)
    ids = [set(split.ids) for split in (first.train, first.val, first.test)]
    assert sum(map(len, ids)) == len(set.union(*ids)) == 1797
    assert first.spec.fingerprint == again.spec.fingerprint
    assert first.spec.fingerprint != other.spec.fingerprint
    np.testing.assert_array_equal(first.val.ids, again.val.ids)
    assert set(first.val.ids) != set(other.val.ids)


def test_given_test_rows_stay_the_test_rows():
    x, y = colour(40)
    x_test, y_test = colour(10, seed=1)
    data = decoct.open((x, y, x_test, y_test))
    np.testing.assert_array_equal(data.test.x, x_test.transpose(0, 3, 1, 2))
    assert len(data.train) + len(data.val) == 40
    assert data.test.ids[3] == "test/3"
    assert all(name.startswith("train/") for name in data.val.ids)
    assert data.spec.notices == ("the source has no val rows: val (4 rows) cut from its 40, seed 0",)


def test_whitening_evens_out_the_spectrum_of_the_training_inputs():
    from decoct.data.transform import Zca

    data = decoct.open("digits", whiten=True)
    assert isinstance(data.spec.transform, Zca)
    inputs = data.inputs(data.train).flatten(1).double()
    covariance = inputs.T @ inputs / len(inputs)
    plain = decoct.open("digits").inputs(data.train).flatten(1).double()
    before = torch.linalg.eigvalsh(plain.T @ plain / len(plain) - torch.outer(plain.mean(0), plain.mean(0)))
    torch.testing.assert_close(torch.linalg.eigvalsh(covariance), before / (before + 0.1), atol=1e-4, rtol=0)


def test_size_and_mode_are_obeyed_by_every_image_source():
    data = decoct.open("digits", size=(10, 12), mode="rgb")
    assert data.spec.shape == (3, 10, 12)
    x, y = colour(20)
    gray = decoct.open((x, y), mode="gray")
    assert gray.spec.shape == (1, 6, 5)


def test_two_to_a_thousand_classes_and_imbalance():
    x, _ = colour(3000, shape=(4, 4))
    wide = decoct.open((x, np.arange(3000) % 1000))
    assert wide.spec.classes == 1000
    assert np.bincount(wide.train.y, minlength=1000).min() == 1
    uneven = np.repeat([0, 1], [2990, 10])
    data = decoct.open((x, uneven))
    assert np.bincount(data.train.y).tolist() == [2392, 8]
    assert np.bincount(data.val.y).tolist() == [299, 1]


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ("digit", SourceError, ["'digit'", "no such file or folder", "did you mean 'digits'?"]),
        ("nowhere/at/all", SourceError, ["no such file or folder", "check the path"]),
        ("imagefoldr:x", UnknownNameError, ["'imagefoldr'", "did you mean 'imagefolder'", "npz"]),
        ("digits:8", SourceError, ["'8' after 'digits'"]),
        (7, SourceError, ["received: a int", "decoct.open((x, y))"]),
        ((1, 2, 3), SourceError, ["3 items", "(x, y, x_test, y_test)"]),
    ],
)
def test_sources_that_are_none(source, error, words):
    with pytest.raises(error) as caught:
        decoct.open(source)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 0}, ["size=0", "size=32"]),
        ({"size": (4, 0)}, ["size=(4, 0)"]),
        ({"size": (True, 8)}, ["size=(True, 8)"]),
        ({"mode": "sepia"}, ["mode='sepia'", "'gray' or 'rgb'"]),
        ({"val_fraction": 0.0}, ["val_fraction=0.0", "above 0"]),
        ({"val_fraction": 0.6, "test_fraction": 0.4}, ["less than 1"]),
        ({"memory_share": 0.0}, ["memory_share=0.0"]),
    ],
)
def test_options_that_cannot_be(options, words):
    with pytest.raises(ConfigError) as caught:
        decoct.open("digits", **options)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_size_may_be_a_number_of_numpys():
    assert decoct.open("digits", size=np.int64(9)).spec.shape == (1, 9, 9)
    assert parse_size(np.array([9, 8])) == (9, 8)


@pytest.mark.parametrize("size", [32.0, object(), "big"])
def test_a_size_that_is_no_number(size):
    with pytest.raises(ConfigError, match=r"size=(.|\n)*a whole number of pixels above 0(.|\n)*size=32"):
        parse_size(size)


def test_a_bare_file_of_another_kind(tmp_path):
    path = tmp_path / "table.tsv"
    path.write_text("a\tb\n")
    with pytest.raises(SourceError, match=r"ends in '\.tsv'"):
        decoct.open(path)


def test_a_class_with_one_row_cannot_be_split():
    x, y = colour(21)
    y[-1] = 2
    with pytest.raises(DataError, match=r"1 of 3 classes with fewer than 2 training rows: '2' \(1\)"):
        decoct.open((x, y))


def test_the_global_generator_is_left_alone():
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    decoct.open("digits")
    assert torch.equal(before, torch.random.get_rng_state())


def test_large_rows_are_mapped_and_equal_those_in_memory(tmp_path):
    x, y = colour(200, shape=(8, 8, 3))
    plain = decoct.open((x, y), cache=tmp_path)
    mapped = decoct.open((x, y), cache=tmp_path, memory_share=1e-9)
    assert isinstance(mapped.train.x, np.memmap)
    assert not isinstance(plain.train.x, np.memmap)
    assert mapped.spec.fingerprint == plain.spec.fingerprint
    before = sorted(tmp_path.iterdir())
    decoct.open((x, y), cache=tmp_path, memory_share=1e-9)
    assert sorted(tmp_path.iterdir()) == before


def test_channels_last_are_turned_on_disk_where_they_are_large(tmp_path):
    x, y = colour(60, shape=(8, 8, 3))
    parts = {f"{name}_{part}": value[rows] for part, rows in
             (("train", slice(40)), ("val", slice(40, 50)), ("test", slice(50, 60)))
             for name, value in (("x", x), ("y", y))}  # fmt: skip
    np.savez(tmp_path / "last.npz", **parts)
    mapped = decoct.open(f"npz:{tmp_path / 'last.npz'}", cache=tmp_path / "cache", memory_share=1e-9)
    plain = decoct.open(f"npz:{tmp_path / 'last.npz'}", cache=tmp_path / "cache")
    assert isinstance(mapped.train.x, np.memmap)
    assert mapped.train.x.flags.c_contiguous
    assert mapped.spec.fingerprint == plain.spec.fingerprint
