"""Pascal VOC in: the same set as from COCO json, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from scenes import NAMES, scene_json, write_scenes

from decoct.data.detection.coco import read_coco
from decoct.data.detection.open import open_detection
from decoct.data.detection.voc import read_voc
from decoct.errors import DataError, SourceError

PART = "<part><name>corner</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"


def as_xml(document: dict[str, Any], image: dict[str, Any]) -> str:
    """An image of a COCO json as VOC writes it: pixels count from 1, both ends included."""
    objects = ""
    for one in document["annotations"]:
        if one["image_id"] == image["id"]:
            left, top, wide, high = one["bbox"]
            objects += (
                f"<object><name>{NAMES[one['category_id'] // 2]}</name><pose>Left</pose><truncated>0</truncated>"
                f"<difficult>0</difficult><bndbox><xmin>{left + 1}</xmin><ymin>{top + 1}</ymin>"
                f"<xmax>{left + wide}</xmax><ymax>{top + high}</ymax></bndbox>{PART}</object>"
            )
    size = f"<size><width>{image['width']}</width><height>{image['height']}</height><depth>3</depth></size>"
    return f"<annotation><filename>{image['file_name']}</filename>{size}{objects}</annotation>"


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    document = scene_json()
    write_scenes(tmp_path, document)
    (tmp_path / "images").rename(tmp_path / "JPEGImages")
    (tmp_path / "Annotations").mkdir()
    for image in document["images"]:
        path = tmp_path / "Annotations" / f"{Path(image['file_name']).stem}.xml"
        path.write_text(as_xml(document, image), encoding="utf-8")
    return tmp_path


def test_voc_and_coco_say_the_same(voc: Path) -> None:
    found = open_detection(f"voc:{voc}")
    other = read_coco(voc / "scenes.json", images=voc / "JPEGImages")
    assert torch.equal(found.boxes, other.boxes)
    assert torch.equal(found.owners, other.owners)
    # Names have no order in VOC: they are sorted.
    assert found.class_names == tuple(sorted(NAMES))
    assert [found.class_names[c] for c in found.labels] == [other.class_names[c] for c in other.labels]
    assert found.ids == tuple(range(1, 9))
    assert found.document["annotations"][0]["pose"] == "Left"
    assert found.notices == ()


def test_a_subset_of_voc_is_coco_json(voc: Path) -> None:
    from scenes import write_document

    small = read_voc(voc).take([6, 2])
    again = read_coco(write_document(voc, small.document), images=voc / "JPEGImages")
    assert again.ids == (7, 3)
    assert torch.equal(again.boxes, small.boxes)


def test_a_list_chooses_images_and_their_order(voc: Path) -> None:
    (voc / "ImageSets" / "Main").mkdir(parents=True)
    (voc / "ImageSets" / "Main" / "train.txt").write_text("004 1\n002 -1\n\n", encoding="utf-8")
    found = open_detection(f"voc:{voc}?set=train")
    assert [path.name for path in found.images] == ["004.png", "002.png"]
    with pytest.raises(SourceError, match="no list val.txt.*\n.*one of train"):
        open_detection(f"voc:{voc}?set=val")
    (voc / "ImageSets" / "Main" / "train.txt").write_text("004\n099\n", encoding="utf-8")
    with pytest.raises(SourceError, match="no xml file for 099.xml"):
        open_detection(f"voc:{voc}?set=train")


def test_names_in_a_list_may_have_blanks_and_be_no_unicode(voc: Path) -> None:
    names = {"003": b"photo 1", "004": b"a b", "005": b"caf\xe9", "006": b"plain"}
    for stem, name in names.items():
        for kind, suffix in (("Annotations", ".xml"), ("JPEGImages", ".png")):
            os.rename(voc / kind / f"{stem}{suffix}", os.fsencode(voc / kind) + b"/" + name + suffix.encode())
    (voc / "ImageSets" / "Main").mkdir(parents=True)
    written = voc / "ImageSets" / "Main" / "train.txt"
    written.write_bytes(b"photo 1\na b  1\ncaf\xe9 -1\na b\nplain\n")
    found = read_voc(voc, listed="train")
    assert [os.fsencode(path.stem) for path in found.images] == [b"photo 1", b"a b", b"caf\xe9", b"plain"]
    written.write_bytes(b"photo 1 0\n")
    assert [path.stem for path in read_voc(voc, listed="train").images] == ["photo 1"]
    written.write_bytes(b"th\xe9 1\n")
    with pytest.raises(SourceError, match="no xml file for th"):
        read_voc(voc, listed="train")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("<annotation><object>", "no element found"),
        ("", "no element found"),
        ("<html></html>", "holds <html> instead of <annotation>"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', "defines entities"),
    ],
)
def test_broken_xml_is_named_and_left_out_with_skip_bad(voc: Path, content: str, words: str) -> None:
    (voc / "Annotations" / "003.xml").write_text(content, encoding="utf-8")
    with pytest.raises(SourceError) as caught:
        read_voc(voc)
    assert "1 of 8 xml files that cannot be read: 003.xml" in caught.value.received
    assert words in caught.value.received
    found = read_voc(voc, skip_bad=True)
    assert len(found) == 7
    assert "1 xml files could not be read and were left out: 003.xml" in found.notices[0]


def test_two_files_for_one_picture_are_refused(voc: Path) -> None:
    copied = (voc / "Annotations" / "003.xml").read_text(encoding="utf-8")
    (voc / "Annotations" / "copy.xml").write_text(copied, encoding="utf-8")
    with pytest.raises(DataError, match="003.xml and copy.xml both speak of 003.png"):
        read_voc(voc)


@pytest.mark.parametrize(("old", "new"), [("<xmin>", "<x>"), ("</xmin>", "px</xmin>"), ("<name>", "<title>")])
def test_objects_without_box_or_name_are_bad_boxes(voc: Path, old: str, new: str) -> None:
    path = voc / "Annotations" / "003.xml"
    text = path.read_text(encoding="utf-8").replace(PART, "")
    broken = text.replace(old, new, 1)
    if new.startswith("<"):
        broken = broken.replace(old.replace("<", "</"), new.replace("<", "</"), 1)
    path.write_text(broken, encoding="utf-8")
    with pytest.raises(DataError, match="1 boxes"):
        read_voc(voc)
    assert len(read_voc(voc, skip_bad=True)) == 8


def test_difficult_objects_are_ignored_and_sizes_may_be_missing(voc: Path) -> None:
    path = voc / "Annotations" / "000.xml"
    text = path.read_text(encoding="utf-8").replace("<difficult>0", "<difficult>1", 1).replace("<width>64", "<width>0")
    path.write_text(text, encoding="utf-8")
    found = read_voc(voc)
    assert found.ignored.tolist()[:2] == [True, False]
    assert not found.crowded.any()
    assert found.sizes[0].tolist() == [48, 64]
    assert found.document["annotations"][0]["difficult"] == 1


def test_numbers_that_are_none(voc: Path) -> None:
    path = voc / "Annotations" / "000.xml"
    text = path.read_text(encoding="utf-8").replace("<width>64", "<width>inf").replace("<truncated>0", "<truncated>nan")
    path.write_text(text, encoding="utf-8")
    found = read_voc(voc)
    assert found.sizes[0].tolist() == [48, 64]
    assert found.document["annotations"][0]["truncated"] == "nan"
    path.write_text(text.replace("<difficult>0", "<difficult>nan", 1), encoding="utf-8")
    with pytest.raises(DataError, match=r"1 boxes with a mark that is no whole number: annotation 1 \(difficult nan\)"):
        read_voc(voc)
    assert len(read_voc(voc, skip_bad=True).boxes) == len(found.boxes) - 1


def test_a_folder_without_xml(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no xml file there"):
        read_voc(tmp_path)
    with pytest.raises(SourceError, match="no such folder"):
        read_voc(tmp_path / "none")
