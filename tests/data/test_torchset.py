from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import decoct
from decoct.errors import DataError, SourceError

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (30, 3, 5, 6), dtype=np.uint8)
Y = np.arange(30) % 3


class Items(Dataset):
    def __init__(self, items: list[Any], classes: list[str] | None = None) -> None:
        self.items, self.classes = items, classes

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, row: int) -> Any:
        return self.items[row]


class Stream(IterableDataset):
    def __iter__(self):
        yield from zip(X, Y, strict=True)


def floats() -> list[Any]:
    return [(torch.from_numpy(x).float() / 255, int(y)) for x, y in zip(X, Y, strict=True)]


def test_every_kind_of_item_gives_the_same_data(monkeypatch):
    monkeypatch.setattr("decoct.data.sources.torchset.BLOCK_ROWS", 7)
    pictures = [(Image.fromarray(x.transpose(1, 2, 0)), int(y)) for x, y in zip(X, Y, strict=True)]
    arrays = decoct.open((X, Y)).spec.fingerprint
    tensors = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    for source in (Items(floats()), Items(pictures), Stream(), tensors):
        data = decoct.open(source)
        assert data.spec.fingerprint == arrays, source
    assert data.spec.source == "torch:TensorDataset"


def test_classes_are_the_names():
    assert decoct.open(Items(floats(), ["x", "y", "z"])).spec.class_names == ("x", "y", "z")


def test_a_pair_is_train_and_test():
    data = decoct.open((Items(floats(), ["x", "y", "z"]), Items(floats()[:9])))
    assert len(data.test) == 9
    assert len(data.train) + len(data.val) == 30
    assert data.spec.class_names == ("x", "y", "z")


def test_a_pair_means_the_same_classes_by_the_same_names():
    train = Items(floats(), ["cat", "dog", "owl"])
    later = Items([(x, 0 if y == 1 else 1) for x, y in floats() if y], ["dog", "owl"])
    data = decoct.open((train, later))
    assert data.test.y.tolist() == [1, 2] * 10
    unknown = Items([(x, 1) for x, _ in floats()], ["dog", "zebra"])
    with pytest.raises(DataError, match="no class of the training rows: 'zebra'"):
        decoct.open((train, unknown))
    words = [Items([(x, ("cat", "dog", "owl")[y]) for x, y in floats() if y >= low]) for low in (0, 1)]
    assert decoct.open(tuple(words)).test.y.tolist() == [1, 2] * 10
    with pytest.raises(DataError, match="no class of the training rows"):
        decoct.open((words[1], words[0]))


def test_features_stay_floats():
    items = [(torch.rand(4, generator=torch.Generator().manual_seed(i)), i % 2) for i in range(20)]
    data = decoct.open(Items(items))
    assert data.train.x.dtype == np.float32
    assert data.spec.shape == (4,)


def test_items_in_half_of_the_precision():
    values = [torch.rand(4, generator=torch.Generator().manual_seed(i)).bfloat16() for i in range(20)]
    labels = [torch.tensor(i % 2).bfloat16() for i in range(20)]
    data = decoct.open(Items(list(zip(values, labels, strict=True))))
    assert data.spec.fingerprint == decoct.open((torch.stack(values), torch.stack(labels))).spec.fingerprint


@pytest.mark.parametrize(
    ("items", "error", "words"),
    [
        ([], SourceError, ["no items"]),
        ([X[0]] * 4, SourceError, ["item 0 is a ndarray", "(x, y)"]),
        ([(X[0], 0, 1)], SourceError, ["item 0 is a tuple of 3"]),
        ([(X[0], 0), (X[0, :, :4], 1)], DataError, ["items of 2 shapes, such as [3, 4, 6] and [3, 5, 6]"]),
        ([(X[0] / np.float32(255), i % 2) for i in range(8)] + [(X[0] * np.nan, 0)], DataError, ["NaN", "rows 8"]),
        ([(X[0] / 127.0 - 1, i % 2) for i in range(8)], DataError, ["undo any normalisation"]),
        ([(torch.eye(3).to_sparse(), i % 2) for i in range(8)], DataError, ["a Tensor that is not one array"]),
        ([(X[0], torch.eye(2)[i % 2].bfloat16()) for i in range(8)], DataError, ["labels.argmax(1)"]),
    ],
)
def test_items_that_cannot_be_used(items, error, words):
    with pytest.raises(error) as caught:
        decoct.open(Items(items))
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_ranges_that_change_on_the_way(monkeypatch):
    monkeypatch.setattr("decoct.data.sources.torchset.BLOCK_ROWS", 4)
    items = [(X[0] / 255.0, 0)] * 4 + [(X[0] / 1.0, 1)] * 4
    with pytest.raises(DataError, match=r"one range \(0\.\.255 or 0\.\.1\)"):
        decoct.open(Items(items))
