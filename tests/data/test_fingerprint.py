from __future__ import annotations

import numpy as np
import pytest

from decoct.data import blocks
from decoct.data.dataset import Split
from decoct.data.fingerprint import fingerprint


def splits(x: np.ndarray, y: np.ndarray) -> dict[str, Split]:
    return {
        "train": Split(x, y, np.array([f"a{i}" for i in range(len(y))])),
        "val": Split(x[:1], y[:1], np.array(["v"])),
    }


X = np.arange(24, dtype=np.uint8).reshape(4, 1, 2, 3)
Y = np.array([0, 1, 0, 1])


def test_only_content_matters(monkeypatch):
    mark = fingerprint(splits(X, Y), (1, 2, 3), ("a", "b"))
    strided = np.repeat(X, 2, axis=0)[::2]
    assert fingerprint(splits(strided, Y), (1, 2, 3), ("a", "b")) == mark
    monkeypatch.setattr(blocks.row_blocks, "__defaults__", (1,))
    assert fingerprint(splits(X, Y), (1, 2, 3), ("a", "b")) == mark


@pytest.mark.parametrize(
    "other",
    [
        (splits(X, Y), (1, 2, 3), ("b", "a")),
        (splits(X, 1 - Y), (1, 2, 3), ("a", "b")),
        (splits(X[::-1], Y), (1, 2, 3), ("a", "b")),
        (splits(X.reshape(4, 1, 3, 2), Y), (1, 3, 2), ("a", "b")),
        (splits(X ^ np.uint8(1), Y), (1, 2, 3), ("a", "b")),
        ({"train": splits(X, Y)["train"]}, (1, 2, 3), ("a", "b")),
    ],
)
def test_every_part_of_the_content_matters(other):
    assert fingerprint(*other) != fingerprint(splits(X, Y), (1, 2, 3), ("a", "b"))


def test_the_hash_is_pinned():
    """A change of this value breaks every result on disk: raise the version instead."""
    assert fingerprint(splits(X, Y), (1, 2, 3), ("a", "ß")).startswith("29e9aaaacad19987")
