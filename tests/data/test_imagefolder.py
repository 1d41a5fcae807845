from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import decoct
from decoct.errors import DataError, SourceError


def draw(path: Path, value: int = 0, size: tuple[int, int] = (6, 5), mode: str = "RGB") -> np.ndarray:
    """Write a random image of height and width `size`; returns its pixels."""
    rng = np.random.default_rng(value)
    pixels = rng.integers(0, 256, (*size, 3) if mode == "RGB" else size, dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


def fill(root: Path, classes: tuple[str, ...] = ("cat", "dog"), count: int = 6, **options) -> None:
    for c, name in enumerate(classes):
        for i in range(count):
            draw(root / name / f"{i}.png", 100 * c + i, **options)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_a_folder_opens_at_first_try(root, cache):
    fill(root)
    data = decoct.open(root, cache=cache)
    assert data.spec.source == f"imagefolder:{root}"
    assert data.spec.shape == (3, 6, 5)
    assert data.spec.class_names == ("cat", "dog")
    assert (len(data.train), len(data.val), len(data.test)) == (8, 2, 2)
    for split in (data.train, data.val, data.test):
        for pixels, label, name in zip(split.x, split.y, split.ids, strict=True):
            np.testing.assert_array_equal(pixels, np.asarray(Image.open(root / str(name))).transpose(2, 0, 1))
            assert str(name).startswith(("cat", "dog")[label] + "/")


def test_litter_is_passed_over_and_nested_images_are_found(root, cache):
    fill(root, count=3)
    draw(root / "cat" / "deep" / "er" / "x.JPEG", 5)
    for litter in (
        ".hidden/a.png",
        "__MACOSX/cat/a.png",
        "cat/.DS_Store",
        "cat/Thumbs.db",
        "dog/._0.png",
        "dog/notes.txt",
    ):
        path = root / litter
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"no image")
    data = decoct.open(root, cache=cache)
    ids = {str(name) for split in (data.train, data.val, data.test) for name in split.ids}
    assert "cat/deep/er/x.JPEG" in ids
    assert len(ids) == 7
    assert data.spec.class_names == ("cat", "dog")


def test_given_parts_are_kept(root, cache):
    for part, count in (("train", 5), ("valid", 3), ("test", 4)):
        fill(root / part, count=count)
    (root / "masks").mkdir()
    data = decoct.open(f"imagefolder:{root}", cache=cache)
    assert (len(data.train), len(data.val), len(data.test)) == (10, 6, 8)
    assert data.val.ids[0] == "valid/cat/0.png"
    assert data.spec.notices == ("folders that are neither train, val nor test were passed over: masks",)


def test_one_image_a_class_is_enough_where_parts_are_given(root, cache):
    for part in ("train", "val", "test"):
        fill(root / part, count=1)
    assert len(decoct.open(root, cache=cache).train) == 2


def test_a_class_called_train_is_a_class(root, cache):
    fill(root, ("bus", "train"), count=3)
    assert decoct.open(root, cache=cache).spec.class_names == ("bus", "train")


def test_the_wrapping_folder_of_an_archive_is_entered(root, cache):
    fill(root / "archive" / "inner", count=3)
    assert decoct.open(root, cache=cache).spec.class_names == ("cat", "dog")


def test_class_names_stay_as_they_are_in_sorted_order(root, cache):
    names = ("<script>alert(1)<", "Ünïcode 漢字", "a b", "B")
    fill(root, names, count=2)
    assert decoct.open(root, cache=cache).spec.class_names == tuple(sorted(names))


def test_mixed_sizes_and_modes_are_settled_with_a_notice(root, cache):
    fill(root, count=4)
    draw(root / "cat" / "big.png", 9, size=(40, 30), mode="L")
    data = decoct.open(root, cache=cache)
    assert data.spec.shape == (3, 32, 32)
    assert any("2 different sizes" in notice for notice in data.spec.notices)
    assert any("1 of 9 images are gray" in notice for notice in data.spec.notices)
    asked = decoct.open(root, cache=cache, size=(7, 9), mode="gray")
    assert asked.spec.shape == (1, 7, 9)
    assert not any("sizes" in notice for notice in asked.spec.notices)


def test_images_are_decoded_once_and_again_after_a_change(root, cache, monkeypatch):
    fill(root)
    first = decoct.open(root, cache=cache)

    def refuse(*arguments):
        raise AssertionError("decoded again")

    with monkeypatch.context() as patch:
        patch.setattr("decoct.data.decoding.decode", refuse)
        patch.setattr("decoct.data.decoding.look", refuse)
        again = decoct.open(root, cache=cache)
        assert again.spec.fingerprint == first.spec.fingerprint
        os.utime(root / "cat" / "0.png", ns=(1, 1))
        with pytest.raises(AssertionError, match="decoded again"):
            decoct.open(root, cache=cache)
    pixels = draw(root / "cat" / "0.png", 77)
    changed = decoct.open(root, cache=cache)
    rows = np.concatenate([s.x for s in (changed.train, changed.val, changed.test)])
    assert any((row == pixels.transpose(2, 0, 1)).all() for row in rows)
    assert len([path for path in cache.iterdir() if path.suffix == ".json"]) == 1


def test_large_folders_are_mapped(root, cache):
    fill(root)
    fill(root / "train")
    fill(root / "val", count=2)
    fill(root / "test", count=2)
    plain = decoct.open(root / "train", cache=cache)
    mapped = decoct.open(root / "train", cache=cache, memory_share=1e-12)
    assert all(isinstance(split.x, np.memmap) for split in (mapped.train, mapped.val, mapped.test))
    assert mapped.spec.fingerprint == plain.spec.fingerprint
    assert mapped.inputs(mapped.train, slice(0, 2)).shape == (2, 3, 6, 5)


def test_bad_images_are_listed_by_name(root, cache):
    fill(root, count=9)
    for i in range(7):
        (root / "cat" / f"{i}.png").write_bytes((root / "cat" / f"{i}.png").read_bytes()[:60])
    for i in range(5):
        (root / "dog" / f"{i}.png").write_bytes(b"hello")
    with pytest.raises(SourceError) as caught:
        decoct.open(root, cache=cache)
    text = str(caught.value)
    assert "12 of 18 images that cannot be read:" in text
    assert "cat/0.png: " in text
    assert "dog/2.png: not an image" in text
    assert "dog/3.png" not in text
    assert "and 2 more" in text
    assert "--skip-bad" in text
    assert len(text.splitlines()) < 20
    data = decoct.open(root, cache=cache, skip_bad=True)
    assert len(data.train) + len(data.val) + len(data.test) == 6
    assert any("12 of 18 images could not be read and were left out: cat/0.png" in n for n in data.spec.notices)
    ids = {str(name) for split in (data.train, data.val, data.test) for name in split.ids}
    assert ids == {"cat/7.png", "cat/8.png", *(f"dog/{i}.png" for i in range(5, 9))}
    for pixels, name in zip(data.train.x, data.train.ids, strict=True):
        np.testing.assert_array_equal(pixels, np.asarray(Image.open(root / str(name))).transpose(2, 0, 1))


@pytest.mark.parametrize("options", [{}, {"size": 6, "mode": "rgb"}])
def test_images_that_are_all_bad(root, cache, options):
    for name in ("cat/a.png", "dog/b.png"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_bytes(b"x")
    with pytest.raises(SourceError, match="2 of 2 images that cannot be read") as caught:
        decoct.open(root, cache=cache, skip_bad=True, **options)
    assert "Pillow" in str(caught.value)


def test_bad_images_can_leave_a_class_too_small(root, cache):
    fill(root, count=3)
    for i in range(2):
        (root / "cat" / f"{i}.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"1 of 2 classes with fewer than 2 training rows: 'cat' \(1\)"):
        decoct.open(root, cache=cache, skip_bad=True)


def _missing(root: Path) -> None:
    del root


def _empty(root: Path) -> None:
    root.mkdir()


def _loose(root: Path) -> None:
    draw(root / "a.png")


def _no_images(root: Path) -> None:
    (root / "cat").mkdir(parents=True)
    (root / "dog").mkdir()


def _one_class_empty(root: Path) -> None:
    fill(root)
    (root / "eel").mkdir()


def _one_image(root: Path) -> None:
    fill(root)
    draw(root / "eel" / "a.png")


def _one_class(root: Path) -> None:
    fill(root, ("cat",))


def _foreign_class(root: Path) -> None:
    fill(root / "train")
    fill(root / "test", ("cat", "dgo"))


def _no_training(root: Path) -> None:
    fill(root / "val")
    fill(root / "test")


def _two_of_one_part(root: Path) -> None:
    for name in ("train", "val", "valid"):
        fill(root / name)


def _a_file(root: Path) -> None:
    root.write_text("")


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (_missing, SourceError, ["no such folder", "check the path"]),
        (_a_file, SourceError, ["received: a file"]),
        (_empty, SourceError, ["an empty folder", "cats/ and dogs/"]),
        (_loose, SourceError, ["1 images and no folders", "sort the images"]),
        (_no_images, SourceError, ["2 folders without a single image: 'cat', 'dog'", ".png"]),
        (_one_class_empty, DataError, ["1 of 3 class folders without an image: 'eel'", "remove them"]),
        (_one_image, DataError, ["'eel' (1)", "one to train on and one to validate on"]),
        (_one_class, DataError, ["one class only: 'cat'"]),
        (_foreign_class, DataError, ["'dgo'", "correct the spelling"]),
        (_no_training, SourceError, ["'test', 'val' with class folders", "no folder of training images"]),
        (_two_of_one_part, SourceError, ["say the same: 'val', 'valid'", "one folder each"]),
    ],
)
def test_folders_that_cannot_be_opened(root, cache, make, error, words):
    make(root)
    with pytest.raises(error) as caught:
        decoct.open(f"imagefolder:{root}", cache=cache)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert len(str(caught.value).splitlines()) == 4
    assert not cache.exists() or not list(cache.glob("*.part"))


def test_a_link_to_nothing_is_a_bad_image_until_it_points_somewhere(root, cache):
    fill(root)
    (root / "cat" / "link.png").symlink_to(root.parent / "later.png")
    with pytest.raises(SourceError, match=r"cat/link\.png: .*No such file"):
        decoct.open(root, cache=cache)
    assert len(decoct.open(root, cache=cache, skip_bad=True).train) == 8
    draw(root.parent / "later.png", 3)
    assert len(decoct.open(root, cache=cache).train) == 9


def test_a_circle_of_links_ends(root, cache):
    fill(root, count=3)
    (root / "cat" / "loop").symlink_to(root / "cat", target_is_directory=True)
    assert len(decoct.open(root, cache=cache).train) == 2
    alone = root.parent / "alone"
    alone.mkdir()
    (alone / "a").symlink_to(alone, target_is_directory=True)
    with pytest.raises(SourceError, match="without a single image: 'a'"):
        decoct.open(alone, cache=cache)


def test_a_link_to_a_folder_above_brings_in_no_other_class(root, cache):
    fill(root)
    (root / "cat" / "up").symlink_to(root, target_is_directory=True)
    data = decoct.open(root, cache=cache)
    assert len(data.train) + len(data.val) + len(data.test) == 12


def test_test_and_training_sets_are_parts(root, cache):
    fill(root / "training_set")
    fill(root / "test_set", count=2)
    data = decoct.open(root, cache=cache)
    assert data.spec.class_names == ("cat", "dog")
    assert len(data.test) == 4


def test_classes_called_like_parts_stay_classes(root, cache):
    fill(root, ("test", "val"))
    assert decoct.open(root, cache=cache).spec.class_names == ("test", "val")


def test_what_may_not_be_read_is_said(root, cache, monkeypatch):
    fill(root)
    draw(root / "dog" / "more" / "a.png")
    scan = os.scandir

    def refuse(path="."):
        if str(path).endswith("more"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(SourceError, match=r"no permission to read .*/dog/more"):
        decoct.open(root, cache=cache)


def test_a_bad_image_of_a_name_that_is_not_utf8(root, cache):
    fill(root)
    Path(os.fsdecode(os.fsencode(root / "cat") + b"/b\xff.png")).write_bytes(b"")
    with pytest.raises(SourceError, match=r"cat/b\\udcff\.png"):
        decoct.open(root, cache=cache)
    assert len(decoct.open(root, cache=cache, skip_bad=True).train) == 8
