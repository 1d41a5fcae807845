"""From a detection set to a folder: every method, every kind of features, and what stands on disk."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from full_disk import files_of_at_most
from PIL import Image
from scenes import scene_json, write_document, write_scenes
from untyped import as_callers_do

from decoct.compact.folder import read_manifest
from decoct.data.detection.coco import read_coco
from decoct.data.detection.detection_set import DetectionSet
from decoct.errors import BudgetError, ConfigError, DataError, MismatchError, OutputError, UnknownNameError
from decoct.selection.detection.csod import Csod
from decoct.selection.detection.region_features import detection_features
from decoct.selection.detection.select import WHOLE, select_images
from decoct.training.detector import DetectorConfig

QUICK = DetectorConfig(size=(48, 64), width=8, steps=3)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> DetectionSet:
    return read_coco(write_scenes(tmp_path_factory.mktemp("scenes"), scene_json(count=20)))


@pytest.mark.parametrize("method", ["csod", *WHOLE])
def test_every_method_picks_distinct_images_and_repeats_itself(scenes: DetectionSet, method: str) -> None:
    first, again = (select_images(scenes, method, count=7, features="pixels", config=QUICK) for _ in range(2))
    assert len(set(first.rows.tolist())) == 7
    assert torch.equal(first.rows, again.rows)
    assert first.subset().ids == tuple(scenes.ids[row] for row in first.rows.tolist())
    assert (first.reasons >= 0).all() == (method == "csod")


def test_another_seed_is_another_draw(scenes: DetectionSet) -> None:
    draws = {tuple(select_images(scenes, "random", count=5, seed=seed).rows.tolist()) for seed in range(5)}
    assert len(draws) == 5


def test_a_full_disk_leaves_no_result_that_looks_whole(scenes: DetectionSet, tmp_path: Path) -> None:
    asked = {"method": "random", "count": 5, "config": QUICK}
    with files_of_at_most(600), pytest.raises(OutputError, match=r"writing .*\n.*larger than the system allows"):
        select_images(scenes, **asked, out=tmp_path / "run")
    assert not (tmp_path / "run" / "manifest.json").exists()
    assert not (tmp_path / "run" / "subset.json").exists()
    again = select_images(scenes, **asked, out=tmp_path / "run")
    assert torch.equal(again.rows, select_images(scenes, **asked).rows)
    assert read_manifest(tmp_path / "run")["images"] == 5


def test_what_stands_on_disk(scenes: DetectionSet, tmp_path: Path) -> None:
    picked = select_images(scenes, fraction=0.25, features="pixels", out=tmp_path / "run", config=QUICK)
    assert len(picked) == 5
    written = json.loads((tmp_path / "run" / "subset.json").read_text(encoding="utf-8"))
    assert written == picked.subset().document
    assert [image["id"] for image in written["images"]] == list(picked.subset().ids)
    assert written["unheard_of"] == [1, 2]
    table = pq.read_table(tmp_path / "run" / "selection.parquet").to_pydict()
    assert table["rank"] == list(range(5))
    assert table["id"] == [str(name) for name in picked.subset().ids]
    assert [scenes.ids[row] for row in table["index"]] == list(picked.subset().ids)
    assert all(f"left with {name}:" in why for name, why in zip(table["class"], table["reason"], strict=True))
    assert table["class"] == [picked.picked_for(place) for place in range(5)]
    manifest = read_manifest(tmp_path / "run")
    assert (manifest["kind"], manifest["images"], manifest["of"]) == ("detection-coreset", 5, 20)
    assert manifest["boxes"] == picked.box_counts()
    assert sum(picked.box_counts().values()) == len(written["annotations"])
    assert manifest["provenance"]["config"]["weight"] == 0.05
    # The subset is a source of its own, with the pictures where they were.
    again = read_coco(tmp_path / "run" / "subset.json", images=scenes.images[0].parent)
    assert torch.equal(again.boxes, picked.subset().boxes)


def test_a_folder_that_holds_something_else_is_left_alone(scenes: DetectionSet, tmp_path: Path) -> None:
    (tmp_path / "subset.json").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="subset.json"):
        select_images(scenes, "random", count=3, out=tmp_path)
    assert (tmp_path / "subset.json").read_text(encoding="utf-8") == "mine"
    select_images(scenes, "random", count=3, out=tmp_path / "run")
    select_images(scenes, "random", count=3, out=tmp_path / "run")
    with pytest.raises(OutputError, match="a new folder"):
        select_images(scenes, "random", count=4, out=tmp_path / "run")


def _no_training(*_: Any, **__: Any) -> Any:
    pytest.fail("a detector was trained")


def test_an_answer_that_stands_there_is_returned_and_another_refused_before_any_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = read_coco(write_scenes(tmp_path, scene_json(count=12)))
    asked: dict[str, Any] = {"count": 3, "config": QUICK, "out": tmp_path / "run"}
    first = select_images(scenes, **asked)
    monkeypatch.setattr("decoct.selection.detection.region_features.train_detector", _no_training)
    again = select_images(scenes, **asked)
    for name in ("rows", "reasons", "scores"):
        assert torch.equal(getattr(again, name), getattr(first, name))
    assert again.because == first.because
    assert again.provenance == json.loads(json.dumps(first.provenance))
    assert again.box_counts() == first.box_counts()
    others: list[dict[str, Any]] = [
        {"count": 2}, {"seed": 1}, {"method": Csod(weight=0.1)}, {"config": replace(QUICK, steps=4)},
        {"features": "pixels"}, {"method": "random"}, {"features": torch.rand(len(scenes.boxes), 2)},
    ]  # fmt: skip
    for other in others:
        with pytest.raises(OutputError, match=r"(?s)a finished selection with .*choose another folder"):
            select_images(scenes, **{**asked, **other})
    with pytest.raises(OutputError, match="other data"):
        select_images(scenes.take(torch.arange(11)), **asked)
    picture = scenes.images[0]
    Image.open(picture).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(picture)
    with pytest.raises(OutputError, match="pictures_key"):
        select_images(scenes, **asked)


def test_own_features_are_a_question_of_their_own_and_damage_is_mended(scenes: DetectionSet, tmp_path: Path) -> None:
    table = torch.rand(len(scenes.boxes), 2)
    asked: dict[str, Any] = {"count": np.int64(3), "seed": np.int64(2), "out": tmp_path / "run"}
    with as_callers_do():
        first = select_images(scenes, features=table, **asked)
    (tmp_path / "run" / "selection.parquet").write_bytes(b"damaged")
    again = select_images(scenes, features=table, count=3, seed=2, out=tmp_path / "run")
    assert torch.equal(first.rows, again.rows)
    assert read_manifest(tmp_path / "run")["images"] == 3
    with pytest.raises(OutputError, match="another features_key"):
        select_images(scenes, features=table + 1, count=3, seed=2, out=tmp_path / "run")


def test_crowds_and_difficult_boxes_alone_are_told_before_a_detector_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = scene_json(count=4)
    for number, one in enumerate(document["annotations"]):
        one["iscrowd" if number % 2 else "difficult"] = 1
    found = read_coco(write_scenes(tmp_path, document))
    monkeypatch.setattr("decoct.selection.detection.region_features.load_pictures", _no_training)
    with pytest.raises(DataError, match="4 images without a single box that counts"):
        select_images(found, count=2)


def test_names_of_files_need_not_be_unicode(tmp_path: Path) -> None:
    document = scene_json(count=4)
    write_scenes(tmp_path, document)
    for image in document["images"]:
        name = os.fsdecode(b"caf\xe9" + image["file_name"].encode())
        os.rename(tmp_path / "images" / image["file_name"], tmp_path / "images" / name)
        image["file_name"] = name
    found = read_coco(write_document(tmp_path, document))
    picked = select_images(found, "random", count=2, out=tmp_path / "run")
    table = pq.read_table(tmp_path / "run" / "selection.parquet").to_pydict()
    assert [name.partition("0")[0] for name in table["file_name"]] == ["caf\\udce9"] * 2
    assert torch.equal(select_images(found, "random", count=2, out=tmp_path / "run").rows, picked.rows)
    again = read_coco(tmp_path / "run" / "subset.json", images=tmp_path / "images")
    assert again.images == picked.subset().images


def test_network_features_have_a_row_for_every_box_and_image(scenes: DetectionSet) -> None:
    found = detection_features(scenes, "network", 3, config=QUICK)
    assert found.regions.shape == (len(scenes.boxes), 8)
    assert found.images.shape == (20, 8)
    again = detection_features(scenes, "auto", 3, config=QUICK)
    assert torch.equal(found.regions, again.regions)
    assert not torch.equal(found.regions, detection_features(scenes, "network", 4, config=QUICK).regions)


def test_pixels_of_a_region_are_those_of_its_object(scenes: DetectionSet) -> None:
    """Red, green and blue shapes: the mean colour of a box tells its class."""
    regions = detection_features(scenes, "pixels", config=QUICK).regions.reshape(-1, 3, 64).mean(2)
    assert (regions.argmax(1) == scenes.labels).float().mean() > 0.9


def test_features_of_the_users_own(scenes: DetectionSet) -> None:
    table = torch.randn(len(scenes.boxes), 6)
    found = detection_features(scenes, table)
    assert torch.equal(found.regions, table)
    torch.testing.assert_close(found.images[2], table[scenes.owners == 2].mean(0))
    assert len(select_images(scenes, count=4, features=table)) == 4
    with pytest.raises(MismatchError, match=rf"\[3, 6\]\n.*each of the {len(table)} boxes"):
        select_images(scenes, count=4, features=table[:3])
    table[1, 0] = float("nan")
    with pytest.raises(DataError, match="in 1 rows"):
        select_images(scenes, count=4, features=table)


def test_names_and_budgets_that_are_wrong(scenes: DetectionSet) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'csod'"):
        select_images(scenes, "csodd", count=3)
    with pytest.raises(ConfigError, match="selecting images with boxes by glister"):
        select_images(scenes, "glister", count=3)
    with pytest.raises(UnknownNameError, match="kind of features of boxes"):
        select_images(scenes, count=3, features="pca")
    with pytest.raises(BudgetError, match="at most the 20 rows there are"):
        select_images(scenes, count=21)
    with pytest.raises(ConfigError, match="exactly one of"):
        select_images(scenes)


def test_a_set_without_boxes(tmp_path: Path) -> None:
    document = {**scene_json(count=4), "annotations": []}
    write_scenes(tmp_path, document)
    bare = read_coco(write_document(tmp_path, document))
    with pytest.raises(DataError, match="4 images without a single box"):
        select_images(bare, count=2)
    assert len(select_images(bare, "random", count=2)) == 2


def test_ids_may_be_texts(tmp_path: Path) -> None:
    document = scene_json(count=4)
    for entry in (*document["images"], *document["annotations"]):
        key = "id" if "file_name" in entry else "image_id"
        entry[key] = f"picture {entry[key]} é"
    found = read_coco(write_scenes(tmp_path, document))
    picked = select_images(found, count=2, features=np_table(found), out=tmp_path / "run")
    table = pq.read_table(tmp_path / "run" / "selection.parquet").to_pydict()
    assert table["id"] == list(picked.subset().ids)


def np_table(found: DetectionSet) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).random((len(found.boxes), 3)).astype(np.float32))
