from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

import decoct
from decoct.errors import DataError, SourceError

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (40, 6, 5), dtype=np.uint8)
Y = np.arange(40, dtype=np.uint8) % 4


def test_parts_and_names(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x_train=X, y_train=Y, x_val=X[:8], y_val=Y[:8], x_test=X[:4], y_test=Y[:4], class_names=list("dcba"))
    data = decoct.open(f"npz:{path}")
    assert data.spec.class_names == tuple("dcba")
    assert (len(data.train), len(data.val), len(data.test)) == (40, 8, 4)
    np.testing.assert_array_equal(data.train.x[:, 0], X)
    assert data.spec.notices == ()
    assert decoct.open(path).spec.fingerprint == data.spec.fingerprint


@pytest.mark.parametrize(
    ("x", "shape"),
    [
        (X, (1, 6, 5)),
        (np.stack([X] * 3, 1), (3, 6, 5)),
        (np.stack([X] * 3, -1), (3, 6, 5)),
        ((X / 255).astype(np.float32), (1, 6, 5)),
        ((X / 255)[..., None], (1, 6, 5)),
        (X.astype(np.float64), (1, 6, 5)),
        (X.astype(np.int32), (1, 6, 5)),
    ],
)
def test_every_layout_gives_the_same_pixels(tmp_path, x, shape):
    np.savez_compressed(tmp_path / "a.npz", x=x, y=Y)
    data = decoct.open(tmp_path / "a.npz")
    assert data.spec.shape == shape
    for split in (data.train, data.val, data.test):
        rows = [int(name.partition("/")[2]) for name in split.ids]
        assert split.x.flags.c_contiguous
        np.testing.assert_array_equal(split.x, np.broadcast_to(X[rows][:, None], split.x.shape))


def test_features(tmp_path):
    x = RNG.normal(size=(40, 7))
    np.savez(tmp_path / "a.npz", x=x, y=Y)
    data = decoct.open(tmp_path / "a.npz")
    assert data.spec.shape == (7,)
    assert data.train.x.dtype == np.float32
    assert not data.spec.is_image


def test_large_archives_are_mapped(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x_train=X, y_train=Y, x_test=X[:8], y_test=Y[:8])
    plain = decoct.open(tmp_path / "a.npz", cache=tmp_path / "cache")
    mapped = decoct.open(tmp_path / "a.npz", cache=tmp_path / "cache", memory_share=1e-9)
    assert isinstance(mapped.train.x, np.memmap)
    assert mapped.spec.fingerprint == plain.spec.fingerprint


def test_what_an_archive_held_before_is_not_kept(tmp_path):
    cache = tmp_path / "cache"
    for name in ("a", "b"):
        np.savez(tmp_path / f"{name}.npz", x_train=X, y_train=Y, x_test=X[:8], y_test=Y[:8])
        decoct.open(tmp_path / f"{name}.npz", cache=cache, memory_share=1e-9)
    before = set(cache.glob("npz-*"))
    np.savez(tmp_path / "a.npz", x_train=255 - X, y_train=Y, x_test=X[:8], y_test=Y[:8])
    data = decoct.open(tmp_path / "a.npz", cache=cache, memory_share=1e-9)
    assert sum(x.sum(dtype=int) for x in (data.train.x, data.val.x)) == (255 - X).sum(dtype=int)
    after = set(cache.glob("npz-*"))
    assert len(after) == len(before), "an array stands there once"
    assert len(after & before) == len(before) // 2, "other archives are left alone"


class Hostile:
    def __reduce__(self):
        return (Path("pwned").touch, ())


def test_pickled_objects_are_never_loaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "a.npz", x=X, y=np.array([Hostile()] * 40, dtype=object))
    np.savez(tmp_path / "b.npz", x=X, y=Y, class_names=np.array([Hostile()] * 4, dtype=object))
    for name, share in (("a.npz", 0.25), ("b.npz", 0.25), ("a.npz", 1e-12)):
        with pytest.raises(SourceError, match="pickled Python objects") as caught:
            decoct.open(tmp_path / name, cache=tmp_path / "cache", memory_share=share)
        assert "dtype=object" in str(caught.value)
    assert not Path("pwned").exists()


def _text(path: Path) -> None:
    path.write_text("no archive")


def _half(path: Path) -> None:
    np.savez(path, x=X, y=Y)
    path.write_bytes(path.read_bytes()[:500])


def _flipped(path: Path) -> None:
    np.savez_compressed(path, x=X, y=Y)
    damaged = bytearray(path.read_bytes())
    damaged[200] ^= 255
    path.write_bytes(bytes(damaged))


def _liar(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00garbage")
        archive.writestr("y.npy", b"")


@pytest.mark.parametrize("make", [_text, _half, _flipped, _liar])
def test_damaged_archives(tmp_path, make):
    make(tmp_path / "a.npz")
    with pytest.raises(SourceError, match=r"damaged or no \.npz archive"):
        decoct.open(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("arrays", "error", "words"),
    [
        ({"a": X}, SourceError, ["an archive with a", "x_train", "np.savez"]),
        ({}, SourceError, ["an archive with nothing"]),
        ({"x_train": X, "y_train": Y, "x_test": X}, SourceError, ["x_test, x_train, y_train"]),
        ({"x": X, "y": Y[:-1]}, DataError, ["40 rows and 39 labels in 'all'"]),
        ({"x": X[:0], "y": Y[:0]}, DataError, ["no rows in 'all'", "[0, 6, 5]"]),
        ({"x": X, "y": Y, "class_names": np.arange(4)}, SourceError, ["class_names", "int64"]),
        ({"x": X, "y": Y, "class_names": list("abb")}, DataError, ["class names that occur twice: 'b'"]),
        ({"x": X, "y": Y, "class_names": list("abc")}, DataError, ["10 labels of 'all' outside 0..2: 3 (row 3)"]),
        ({"x_train": X, "y_train": Y, "x_test": X[:, :3], "y_test": Y}, DataError, ["alike in every part"]),
    ],
)
def test_archives_that_cannot_be_used(tmp_path, arrays, error, words):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(error) as caught:
        decoct.open(f"npz:{tmp_path / 'a.npz'}")
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_missing_archive(tmp_path):
    with pytest.raises(SourceError, match="no such file"):
        decoct.open(f"npz:{tmp_path / 'a.npz'}")
    with pytest.raises(SourceError, match="a folder"):
        decoct.open(f"npz:{tmp_path}")
