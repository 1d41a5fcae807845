from __future__ import annotations

import numpy as np
import pytest
import torch

import decoct
from decoct.data.dataset import Dataset
from decoct.errors import ConfigError, DataError

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (20, 4, 6), dtype=np.uint8)
Y = np.arange(20) % 2
TABLE = RNG.normal(size=(20, 3)).astype(np.float32)


def rows_of(data: Dataset) -> dict[str, int]:
    return {str(name): int(y) for s in (data.train, data.val, data.test) for name, y in zip(s.ids, s.y, strict=True)}


@pytest.mark.parametrize(
    "y",
    [
        Y, Y.tolist(), Y[:, None], Y.astype(np.float32), Y.astype(bool), torch.from_numpy(Y), Y.astype(np.uint8),
    ],
)  # fmt: skip
def test_labels_in_any_form(y):
    data = decoct.open((X, y))
    assert rows_of(data) == {f"all/{i}": i % 2 for i in range(20)}
    assert data.spec.class_names == ("0", "1")


@pytest.mark.parametrize("kind", [np.array, lambda y: np.array(y, dtype="S"), lambda y: np.array(y, dtype=object)])
def test_strings_are_classes_in_sorted_order(kind):
    data = decoct.open((X, kind(["zebra", "ant"] * 10)))
    assert data.spec.class_names == ("ant", "zebra")
    assert rows_of(data)["all/0"] == 1


def test_tensors_are_arrays():
    first = decoct.open((torch.from_numpy(X), torch.from_numpy(Y)))
    assert first.spec.fingerprint == decoct.open((X, Y)).spec.fingerprint
    half = decoct.open((torch.from_numpy(TABLE).bfloat16(), torch.from_numpy(Y)))
    assert half.train.x.dtype == np.float32


def test_whole_uint8_arrays_are_not_copied_before_splitting():
    from decoct.data.cache import Cache
    from decoct.data.found import Wish
    from decoct.data.sources.arrays import find_arrays

    found = find_arrays((X, Y), Wish(Cache.at(None, 0.25)))
    assert np.shares_memory(found.parts["all"].x, X)


def test_opening_60000_images_takes_no_more_than_their_copies():
    import tracemalloc

    x = np.zeros((60_000, 28, 28), np.uint8)
    tracemalloc.start()
    decoct.open((x, np.arange(60_000) % 10, x[:10_000], np.arange(10_000) % 10))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * x.nbytes


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (X, Y[:-1], ["20 rows and 19 labels"]),
        (X, np.eye(2)[Y], ["shape [20, 2]", "argmax(1)"]),
        (X, Y + 0.5, ["20 labels of 'all' that are not whole numbers: 0.5 (row 0)"]),
        (X, np.where(Y == 0, np.nan, 1.0), ["10 labels", "nan (row 0)"]),
        (X, Y - 1, ["10 labels of 'all' outside 0..0: -1 (row 0)"]),
        (X, Y * 1000, ["labels of 'all' from 0 to 1000 for 20 rows", "return_inverse"]),
        (X, Y + 1, ["1 of 3 classes with fewer than 2 training rows: '0' (0)", "without gaps"]),
        (X, Y * 0, ["one class only: '0'"]),
        (X, Y.astype(complex), ["type complex128"]),
        (X.astype(complex), Y, ["rows of type all complex128"]),
        (X.astype(str), Y, ["astype(np.float32)"]),
        (X[..., None, None], Y, ["[20, 4, 6, 1, 1]", "flattened to [n, d]"]),
        (np.zeros((20, 4, 6, 4), np.uint8), Y, ["images of shape [4, 6, 4]", "alpha"]),
        (X.astype(np.float32) - 1, Y, ["image values from -1", "undo any normalisation"]),
        (X.astype(np.int64) * 2, Y, ["image values from"]),
        (np.float32(3), Y, ["a single value"]),
        ([[1, 2], [3]], Y, ["not one array", "rows of equal shape"]),
        (TABLE[:, :0], Y, ["[20, 0]"]),
        (np.full((20, 2), 1e300), Y, ["40 NaN or infinite values", "as float32"]),
    ],
)
def test_arrays_that_cannot_be_used(x, y, words):
    with pytest.raises(DataError) as caught:
        decoct.open((x, y))
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("x", [TABLE, (X / 255).astype(np.float32)])
def test_nan_and_infinite_values_are_counted_and_located(x):
    bad = np.concatenate([x.copy()] * 2)
    bad[3:16].reshape(13, -1)[:, 0] = np.nan
    bad[30].flat[:2] = np.inf
    with pytest.raises(DataError) as caught:
        decoct.open((bad, np.arange(40) % 2))
    text = str(caught.value)
    assert (
        "15 NaN or infinite values in 14 of 40 rows of 'all': rows 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 and 4 more" in text
    )
    assert "np.nan_to_num" in text


def test_features_have_no_size():
    with pytest.raises(ConfigError, match="for a table of features"):
        decoct.open((TABLE, Y), size=8)


def test_rounding_of_floats_is_noted():
    data = decoct.open(((X / 255).astype(np.float32), Y))
    assert any("rounded to 256 steps of 1/255" in notice for notice in data.spec.notices)
    assert data.spec.fingerprint == decoct.open((X, Y)).spec.fingerprint


def test_parts_of_different_ranges_are_refused():
    x = np.arange(8 * 9, dtype=np.uint8).reshape(8, 3, 3)
    y = np.arange(8) % 2
    with pytest.raises(DataError, match=r"train uint8 up to 71, test float64 up to 0\.27") as caught:
        decoct.open((x, y, x / 255, y))
    assert "np.rint" in str(caught.value)


def test_an_unknown_class_among_the_test_labels():
    with pytest.raises(DataError, match="'c'") as caught:
        decoct.open((X, np.array(["a", "b"] * 10), X[:2], np.array(["a", "c"])))
    assert "no class of the training rows" in str(caught.value)
    with pytest.raises(DataError, match=r"1 labels of 'test' outside 0\.\.1: 2 \(row 1\)"):
        decoct.open((X, Y, X[:2], np.array([0, 2])))
