"""The files that a coreset's rows were decoded from, copied as they are."""

from __future__ import annotations

import csv
import os
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from compact_examples import coreset_of, examples
from PIL import Image
from toys import blob_images

import decoct
from decoct.cli.main import main
from decoct.compact.coreset import Coreset
from decoct.compact.export import export
from decoct.data.groups import groups_from, split_by_group
from decoct.errors import ConfigError, IntegrityError, MismatchError, OutputError, SourceError

CLASSES = ("cat", "grüße & co")
FILES = {
    "a.jpg": "RGB", "my pic.PNG": "L", "old ones/a.jpg": "L", "old ones/2019/ä, é.png": "LA", "b.jpg": "RGB",
    "c.png": "RGBA",
}  # fmt: skip


def picture(path: Path, rng: np.random.Generator, mode: str = "RGB") -> None:
    """A picture of a size of its own, turned by EXIF where it is a JPEG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = rng.integers(12, 40, 2).tolist()
    image = Image.fromarray(rng.integers(0, 255, (4, 4, 3)).astype(np.uint8)).resize((width, height)).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = int(rng.integers(1, 9))
    image.save(path, exif=exif)
    os.utime(path, (1e9, 1e9))


def photos(folder: Path, below: str = "", classes: tuple[str, ...] = CLASSES) -> Path:
    rng = np.random.default_rng(0)
    for label in classes:
        for name, mode in FILES.items():
            picture(folder / below / label / name, rng, mode)
    return folder


def core_of(folder: Path, tmp_path: Path, ipc: int = 3, **options) -> Coreset:
    return decoct.select(decoct.open(folder, cache=tmp_path / "cache", **options), "random", ipc=ipc)


def listed(out: Path) -> list[dict[str, str]]:
    with (out / "selection.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def copied(out: Path) -> set[str]:
    files = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    return files - {"selection.csv"}


def test_files_are_copied_byte_for_byte_and_listed_in_the_order_picked(tmp_path):
    folder = photos(tmp_path / "photos")
    core = core_of(folder, tmp_path)
    core = replace(core, weights=core.weights * 1.5)
    out = export(core, "originals", tmp_path / "out")
    assert copied(out) == set(core.ids.tolist())
    for name in core.ids.tolist():
        assert (out / name).read_bytes() == (folder / name).read_bytes()
        assert (out / name).stat().st_mtime == 1e9
    assert listed(out) == [
        {"file": name, "class": name.split("/")[0], "rank": str(rank), "weight": "1.5"}
        for rank, name in enumerate(core.ids.tolist())
    ]


@pytest.mark.parametrize("mode", ["gray", "rgb"])
def test_every_row_is_known_again_whatever_it_was_decoded_to(mode, tmp_path):
    core = core_of(photos(tmp_path / "photos"), tmp_path, ipc=4, size=(9, 14), mode=mode)
    assert len(copied(export(core, "originals", tmp_path / "out"))) == 8


def test_the_folder_of_the_training_images_is_left_out_and_the_copy_opens_again(tmp_path):
    photos(tmp_path / "photos", "training_set")
    folder = photos(tmp_path / "photos", "test")
    core = core_of(folder, tmp_path, ipc=4)
    out = export(core, "originals", tmp_path / "out")
    assert {f"training_set/{name}" for name in copied(out)} == set(core.ids.tolist())
    assert decoct.open(out, cache=tmp_path / "cache").spec.class_names == CLASSES


def test_equal_names_of_several_parts_do_not_clash(tmp_path):
    photos(tmp_path / "photos", "train")
    folder = photos(tmp_path / "photos", "test")
    data = decoct.open(folder, cache=tmp_path / "cache")
    data = split_by_group(data, groups_from(data, r"[^/]+$"))
    core = decoct.select(data, "random", ipc=6)
    names = {name.split("/", 1)[1] for name in core.ids.tolist()}
    assert len(names) < len(core), "the same names in both parts"
    out = export(core, "originals", tmp_path / "out")
    assert len(copied(out)) == len(core)
    assert {path.name for path in out.iterdir()} == {*CLASSES, "selection.csv"}
    assert (out / "cat" / "train").is_dir()


def test_a_class_that_is_called_as_a_part_keeps_its_folder(tmp_path):
    core = core_of(photos(tmp_path / "photos", classes=("bus", "test/old ones")), tmp_path, ipc=4)
    core = core.take(torch.arange(1, 8, 2))
    assert {name.split("/")[0] for name in core.ids.tolist()} == {"test"}
    out = export(core, "originals", tmp_path / "out")
    assert copied(out) == set(core.ids.tolist())


def test_the_lone_folder_of_an_archive_is_entered_as_it_was(tmp_path):
    folder = photos(tmp_path / "photos", "my photos v2")
    core = core_of(folder, tmp_path)
    assert copied(export(core, "originals", tmp_path / "out")) == set(core.ids.tolist())
    inner = export(core, "originals", tmp_path / "in", source=folder / "my photos v2")
    assert copied(inner) == set(core.ids.tolist())


def test_names_that_are_not_utf8_or_composed_otherwise_are_found(tmp_path):
    folder = photos(tmp_path / "photos")
    old = folder / "cat" / "a.jpg"
    strange = os.fsencode(folder / "cat") + b"/caf\xe9.jpg"
    try:
        os.rename(old, strange)
    except OSError:
        pytest.skip("this disk takes names in UTF-8 only")
    core = core_of(folder, tmp_path, ipc=4)
    for label in CLASSES:
        os.rename(folder / label, folder / unicodedata.normalize("NFD", label))
    out = export(core, "originals", tmp_path / "out")
    assert len(copied(out)) == len(core) == 8
    assert r"cat/caf\udce9.jpg" in core.ids.tolist(), "among the rows"
    with open(os.fsencode(out) + b"/cat/caf\xe9.jpg", "rb") as file, open(strange, "rb") as original:
        assert file.read() == original.read()
    assert r"cat/caf\udce9.jpg" in [line["file"] for line in listed(out)]


def test_a_folder_that_moved_is_named(tmp_path):
    folder = photos(tmp_path / "photos")
    core = core_of(folder, tmp_path)
    moved = folder.rename(tmp_path / "moved")
    with pytest.raises(SourceError, match="--source FOLDER"):
        export(core, "originals", tmp_path / "out")
    for source in (moved, f"imagefolder:{moved}"):
        out = export(core, "originals", tmp_path / f"out{len(str(source))}", source=source)
        assert copied(out) == set(core.ids.tolist())


def test_missing_files_are_named_ten_at_most(tmp_path):
    folder = photos(tmp_path / "photos", classes=("a", "b", "c"))
    core = core_of(folder, tmp_path, ipc=4)
    for name in core.ids.tolist()[1:]:
        (folder / name).unlink()
    with pytest.raises(MismatchError, match="11 of 12 originals that are not in .*photos") as caught:
        export(core, "originals", tmp_path / "out")
    assert all(name in str(caught.value) for name in core.ids.tolist()[1:11])
    assert core.ids.tolist()[11] not in str(caught.value)
    assert "and 1 more" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_changed_files_are_refused_and_nothing_is_left(tmp_path):
    folder = photos(tmp_path / "photos")
    core = core_of(folder, tmp_path)
    first, second, third = core.ids.tolist()[-3:]
    picture(folder / first, np.random.default_rng(9))
    (folder / second).write_bytes((folder / second).read_bytes()[:90])
    (folder / third).write_bytes(b"")
    with pytest.raises(MismatchError, match="3 of 6 originals that are not what was selected") as caught:
        export(core, "originals", tmp_path / "out")
    assert f"{first}: shows another picture" in str(caught.value)
    assert f"{second}: cannot be read" in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "photos"]


def test_a_picture_saved_anew_is_the_same_picture(tmp_path):
    folder = tmp_path / "photos"
    for label in CLASSES:
        for number, name in enumerate(FILES):
            (folder / label / name).parent.mkdir(parents=True, exist_ok=True)
            tones = np.linspace(0, 40 * (number + 1), 96)
            Image.fromarray(np.add.outer(tones / 2, tones).clip(0, 255).astype(np.uint8)).save(folder / label / name)
    core = core_of(folder, tmp_path)
    for name in core.ids.tolist():
        with Image.open(folder / name) as image:
            image.load()
        image.save(folder / name, quality=70, compress_level=1)
    assert len(copied(export(core, "originals", tmp_path / "out"))) == 6


def test_only_coresets_of_image_folders_have_originals(tmp_path):
    with pytest.raises(ConfigError, match="made and have no originals"):
        export(examples()["pixels-8"], "originals", tmp_path / "out")
    with pytest.raises(ConfigError, match="have no files of their own"):
        export(coreset_of(blob_images(3, 4, (1, 4, 4))), "originals", tmp_path / "out", source=tmp_path)
    with pytest.raises(ConfigError, match="a source with 'originals' only"):
        export(examples()["pixels-8"], "npz", tmp_path / "out", source=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["../secret.png", "/etc/secret.png", "cat/../../secret.png", "", "cat//a.jpg"])
def test_ids_do_not_lead_out_of_the_folder(name, tmp_path):
    core = core_of(photos(tmp_path / "in" / "photos"), tmp_path)
    picture(tmp_path / "in" / "secret.png", np.random.default_rng(0))
    core = replace(core, ids=np.array([name, *core.ids.tolist()[1:]]))
    with pytest.raises(IntegrityError, match="paths of files below the folder"):
        export(core, "originals", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_over_and_nothing_into_the_source(tmp_path):
    folder = photos(tmp_path / "photos")
    core = core_of(folder, tmp_path)
    out = export(core, "originals", tmp_path / "out")
    before = copied(folder)
    with pytest.raises(OutputError, match="a new or an empty folder"):
        export(core, "originals", out)
    for inside in (folder, folder / "small", tmp_path / "photos" / "cat" / ".." / "small"):
        with pytest.raises(OutputError, match="a folder inside the source"):
            export(core, "originals", inside)
    assert copied(folder) == before


def test_two_files_of_one_name_are_never_laid_over_each_other(tmp_path):
    folder = photos(tmp_path / "photos", classes=("cat", "selection.csv"))
    with pytest.raises(OutputError, match="'selection.csv' twice"):
        export(core_of(folder, tmp_path), "originals", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_row_that_is_there_twice_is_copied_once(tmp_path):
    core = core_of(photos(tmp_path / "photos"), tmp_path)
    twice = core.take(core.indices.argsort().repeat(2))
    out = export(twice, "originals", tmp_path / "out")
    assert len(copied(out)) == 6
    assert len(listed(out)) == 12


def test_the_command_copies_from_where_the_folder_is_now(tmp_path, monkeypatch, capfd):
    folder = photos(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DECOCT_CACHE", str(tmp_path / "cache"))
    assert main(["select", "photos", "--method", "random", "--ipc", "2", "--out", "core"]) == 0
    assert main(["export", "core", "--to", "originals", "out"]) == 0
    assert "4 rows as originals" in capfd.readouterr().out
    folder.rename(tmp_path / "moved")
    assert main(["export", "core", "--to", "originals", "again"]) == 2
    assert "photos, which is not there" in capfd.readouterr().err
    assert main(["export", "core", "--to", "originals", "again", "--source", "moved"]) == 0
    assert copied(tmp_path / "again") == copied(tmp_path / "out")
