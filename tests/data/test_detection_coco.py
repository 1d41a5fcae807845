"""COCO json in, a set of images with boxes out: what is kept, put right, and refused."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scenes import scene_json, write_document, write_scenes

from decoct.data.detection.coco import read_coco
from decoct.data.detection.open import open_detection
from decoct.data.detection.pictures import load_pictures
from decoct.errors import DataError, DecoctError, SourceError


@pytest.fixture
def document() -> dict[str, Any]:
    return scene_json()


@pytest.fixture
def folder(tmp_path: Path, document: dict[str, Any]) -> Path:
    write_scenes(tmp_path, document)
    return tmp_path


def changed(document: dict[str, Any], **lists: Any) -> dict[str, Any]:
    return {**copy.deepcopy(document), **lists}


def refusal(path: Path, kind: type[DecoctError] = DataError) -> DecoctError:
    with pytest.raises(kind) as caught:
        read_coco(path)
    return caught.value


def test_everything_is_read_in_the_order_of_the_source(folder: Path, document: dict[str, Any]) -> None:
    found = read_coco(folder / "scenes.json")
    assert found.ids == tuple(range(10, 18))
    assert found.class_names == ("disc", "square", "bar")
    assert found.sizes.tolist() == [[48, 64]] * 8
    first = document["annotations"][0]
    left, top, wide, high = first["bbox"]
    assert found.boxes[0].tolist() == [left, top, left + wide, top + high]
    assert found.labels.tolist() == [one["category_id"] // 2 for one in document["annotations"]]
    assert found.owners.tolist() == [one["image_id"] - 10 for one in document["annotations"]]
    assert found.document == document
    assert found.notices == ()
    assert found.presence().sum() == len({(one["image_id"], one["category_id"]) for one in document["annotations"]})


def test_a_subset_keeps_every_field_and_its_order(folder: Path, document: dict[str, Any]) -> None:
    small = read_coco(folder / "scenes.json").take([5, 1])
    assert small.ids == (15, 11)
    assert small.document["images"] == [document["images"][5], document["images"][1]]
    assert small.document["annotations"] == [one for one in document["annotations"] if one["image_id"] in (11, 15)]
    for name in ("info", "licenses", "categories", "unheard_of"):
        assert small.document[name] == document[name]
    again = read_coco(write_document(folder, small.document))
    assert torch.equal(again.boxes, small.boxes)
    assert torch.equal(again.owners, small.owners)
    assert torch.equal(small.take([0]).boxes, small.boxes[small.owners == 0])


def test_annotations_need_not_stand_image_by_image(folder: Path, document: dict[str, Any]) -> None:
    mixed = changed(document, annotations=document["annotations"][::-1])
    found = read_coco(write_document(folder, mixed))
    assert (found.owners.diff() >= 0).all()
    assert found.document["annotations"] == mixed["annotations"]
    pairs = {(int(o), *box) for o, box in zip(found.owners, found.boxes.tolist(), strict=True)}
    straight = read_coco(write_document(folder, document))
    assert pairs == {(int(o), *box) for o, box in zip(straight.owners, straight.boxes.tolist(), strict=True)}


@pytest.mark.parametrize(
    ("bbox", "kept"),
    [
        ([-5, 10, 20, 10], [0, 10, 15, 20]),
        ([50, 40, 100, 100], [50, 40, 64, 48]),
        ([-10, -10, 500, 500], [0, 0, 64, 48]),
    ],
)
def test_boxes_that_reach_out_are_cut_and_told(
    folder: Path, document: dict[str, Any], bbox: list[int], kept: list[int]
) -> None:
    document["annotations"][0]["bbox"] = bbox
    found = read_coco(write_document(folder, document))
    assert found.boxes[0].tolist() == kept
    assert found.document["annotations"][0]["bbox"] == bbox
    assert found.notices == ("1 boxes reach out of their image; they count as far as they lie in it",)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bbox": [5, 5, 0, 9]}, "without area inside the image: annotation 100"),
        ({"bbox": [5, 5, 9, -1]}, "without area inside the image"),
        ({"bbox": [70, 5, 9, 9]}, "without area inside the image"),
        ({"bbox": [5, 5, 9]}, "without area inside the image"),
        ({"bbox": "5,5,9,9"}, "without area inside the image"),
        ({"bbox": [5, float("nan"), 9, 9]}, "without area inside the image"),
        ({"bbox": [5, 5, 10**400, 9]}, "without area inside the image: annotation 100 ([5, 5, 1000"),
        ({"bbox": [5, 5, 9, -(10**400)]}, "without area inside the image"),
        ({"bbox": [30, 1, 1e-7, 5]}, "without area inside the image: annotation 100 ([30, 1, 1e-07, 5])"),
        ({"iscrowd": "no"}, "with a mark that is no whole number: annotation 100 (iscrowd no)"),
        ({"difficult": float("nan")}, "with a mark that is no whole number: annotation 100 (difficult nan)"),
        ({"difficult": [1], "iscrowd": 0.5}, "(iscrowd 0.5, difficult [1])"),
        ({"category_id": 2}, "of an unknown category: annotation 100 (category 2)"),
        ({"category_id": [1]}, "of an unknown category"),
        ({"image_id": [10]}, "of an image that the json does not know"),
        ({"image_id": 999}, "of an image that the json does not know: annotation 100 (image 999)"),
    ],
)
def test_bad_boxes_are_refused_and_with_skip_bad_kept_in_the_json(
    folder: Path, document: dict[str, Any], change: dict[str, Any], words: str
) -> None:
    document["annotations"][0].update(change)
    path = write_document(folder, document)
    error = refusal(path)
    assert words in error.received
    assert "--skip-bad" in error.remedy
    found = read_coco(path, skip_bad=True)
    assert len(found.boxes) == len(document["annotations"]) - 1
    assert len(found.document["annotations"]) == len(document["annotations"])
    assert words in found.notices[0]
    assert "not used" in found.notices[0]
    assert len(found.take(range(8)).boxes) == len(found.boxes)


def test_missing_and_broken_images_are_named(folder: Path, document: dict[str, Any]) -> None:
    (folder / "images" / "003.png").unlink()
    (folder / "images" / "004.png").write_bytes(b"no picture")
    Image.new("RGB", (10, 10)).save(folder / "images" / "005.png")
    error = refusal(folder / "scenes.json", SourceError)
    assert "3 of 8 images" in error.received
    for words in ("003.png (no such file)", "004.png (not an image)", "005.png (10x10 pixels, 64x48 in the json)"):
        assert words in error.received
    found = read_coco(folder / "scenes.json", skip_bad=True)
    assert found.ids == (10, 11, 12, 16, 17)
    assert not {13, 14, 15} & {one["image_id"] for one in found.take(range(5)).document["annotations"]}
    assert "3 of 8 images were left out" in found.notices[0]


def test_no_image_at_all_is_refused_even_with_skip_bad(tmp_path: Path, document: dict[str, Any]) -> None:
    path = write_document(tmp_path, document)
    with pytest.raises(SourceError, match="8 of 8 images"):
        read_coco(path, skip_bad=True)


def test_images_and_categories_without_boxes_are_told(folder: Path, document: dict[str, Any]) -> None:
    own = [one for one in document["annotations"] if one["image_id"] != 10 and one["category_id"] != 5]
    found = read_coco(write_document(folder, changed(document, annotations=own)))
    assert len(found) == 8
    assert any("of 8 images have no boxes" in notice for notice in found.notices)
    assert "1 of 3 categories have no boxes: bar" in found.notices


@pytest.mark.parametrize(
    ("lists", "words"),
    [
        ({"images": []}, "an empty list 'images'"),
        ({"categories": []}, "an empty list 'categories'"),
        ({"categories": None}, "without a list 'categories'"),
        ({"images": [{"id": 1}]}, "images[0] without 'file_name'"),
        ({"images": [{"id": 1.5, "file_name": "a"}]}, "images[0] with id '1.5' of type float"),
        ({"images": [{"id": 1, "file_name": 5}]}, "images[0] with file_name '5'"),
        ({"annotations": [{"id": 1, "image_id": 10, "caption": "x"}]}, "annotations[0] without 'category_id'"),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}, "once in 'categories': 1 (2 times)"),
    ],
)
def test_json_of_another_form_is_refused(
    folder: Path, document: dict[str, Any], lists: dict[str, Any], words: str
) -> None:
    error = refusal(write_document(folder, changed(document, **lists)))
    assert words in error.received


def test_image_ids_that_occur_twice_are_refused(folder: Path, document: dict[str, Any]) -> None:
    document["images"][1]["id"] = 10
    error = refusal(write_document(folder, document))
    assert "1 ids that occur more than once in 'images': 10 (2 times)" in error.received


def test_files_that_are_no_json(tmp_path: Path) -> None:
    path = tmp_path / "half.json"
    path.write_text('{"images": [', encoding="utf-8")
    assert "no JSON" in refusal(path, SourceError).received
    path.write_text("[1, 2]", encoding="utf-8")
    assert "a list" in refusal(path).received
    assert "no such file" in refusal(tmp_path / "none.json", SourceError).received
    assert "a folder" in refusal(tmp_path, SourceError).received


def test_the_folder_of_the_pictures_is_found_or_named(tmp_path: Path, document: dict[str, Any]) -> None:
    write_scenes(tmp_path, document)
    (tmp_path / "images").rename(tmp_path / "train2017")
    (tmp_path / "annotations").mkdir()
    path = tmp_path / "annotations" / "instances_train2017.json"
    (tmp_path / "scenes.json").rename(path)
    assert len(read_coco(path)) == 8
    (tmp_path / "train2017").rename(tmp_path / "elsewhere")
    assert "--images" in refusal(path, SourceError).remedy
    assert len(read_coco(path, images=tmp_path / "elsewhere")) == 8


def test_crowds_and_difficult_boxes_are_ignored_boxes(folder: Path, document: dict[str, Any]) -> None:
    document["annotations"][0]["iscrowd"] = 1
    document["annotations"][1]["difficult"] = 1
    found = read_coco(write_document(folder, document))
    assert found.ignored.tolist()[:3] == [True, True, False]
    assert found.crowded.tolist()[:3] == [True, False, False]


@pytest.mark.parametrize(("mark", "ignored"), [("0", False), ("1", True), (0.0, False), (True, True), (None, False)])
def test_marks_may_be_texts(folder: Path, document: dict[str, Any], mark: Any, ignored: bool) -> None:
    document["annotations"][0]["iscrowd"] = document["annotations"][1]["difficult"] = mark
    found = read_coco(write_document(folder, document))
    assert found.ignored.tolist()[:3] == [ignored, ignored, False]
    assert found.document == document


def test_categories_of_one_name_are_told_apart(folder: Path, document: dict[str, Any]) -> None:
    document["categories"][1]["name"] = document["categories"][2]["name"] = "disc"
    document["categories"].append({"id": 8, "name": "disc (id 3)"})
    found = read_coco(write_document(folder, document))
    assert found.class_names == ("disc (id 1)", "disc (id 3)'", "disc (id 5)", "disc (id 3)")
    assert found.notices[0] == "1 names of several categories, which are told apart by their ids: disc"
    assert found.document == document


def test_pictures_keep_their_proportions(folder: Path) -> None:
    found = read_coco(folder / "scenes.json")
    shown = load_pictures(found, (32, 32))
    assert shown.pixels.shape == (8, 3, 32, 32)
    assert shown.scale.tolist() == [0.5] * 8
    assert (shown.pixels[:, :, 24:] == 0).all()
    exact = load_pictures(found, (48, 64))
    own = np.asarray(Image.open(folder / "images" / "000.png")).transpose(2, 0, 1)
    assert torch.equal(exact.pixels[0], torch.from_numpy(own.copy()))


def test_a_picture_is_turned_only_where_the_json_says_so(tmp_path: Path) -> None:
    document = scene_json(count=1, size=(48, 64))
    write_scenes(tmp_path, document)
    upright = Image.open(tmp_path / "images" / "000.png").convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = upright.transpose(Image.Transpose.ROTATE_90)
    lying.save(tmp_path / "images" / "000.png", exif=exif)
    found = read_coco(tmp_path / "scenes.json")
    expected = torch.from_numpy(np.asarray(upright).transpose(2, 0, 1).copy())
    assert torch.equal(load_pictures(found, (48, 64)).pixels[0], expected)
    document["images"][0].update(width=48, height=64)
    raw = read_coco(write_document(tmp_path, document), skip_bad=True)
    lain = torch.from_numpy(np.asarray(lying).transpose(2, 0, 1).copy())
    assert torch.equal(load_pictures(raw, (64, 48)).pixels[0], lain)


def test_a_truncated_picture_is_named_when_it_is_decoded(folder: Path) -> None:
    path = folder / "images" / "002.png"
    Image.open(path).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:700])
    found = read_coco(folder / "scenes.json")
    with pytest.raises(SourceError, match="1 of 8 that are not whole: 002.png"):
        load_pictures(found, (32, 32))


def test_sources_are_named_by_a_prefix(folder: Path) -> None:
    assert len(open_detection(f"coco:{folder / 'scenes.json'}")) == 8
    for wrong in ("coco:", "voc:", "voc:x?list=a", "digits"):
        with pytest.raises(SourceError, match="'coco:JSON', 'voc:FOLDER'"):
            open_detection(wrong)


def test_real_sets_open(real_data: Path) -> None:
    cells = open_detection(f"coco:{real_data / 'bccd' / 'instances_train.json'}")
    assert (len(cells), len(cells.boxes), cells.class_names) == (292, 3892, ("WBC", "RBC", "Platelets"))
    photos = open_detection(f"coco:{real_data / 'coco-ccby' / 'instances_test.json'}")
    assert (len(photos), photos.classes) == (22, 69)
    assert "4 of 22 images have no boxes" in photos.notices
    assert json.loads((real_data / "bccd" / "instances_train.json").read_text()) == cells.document
