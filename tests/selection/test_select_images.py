"""From a detection set to a folder: every method, every kind of features, and what stands on disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from full_disk import files_of_at_most
from scenes import scene_json, write_document, write_scenes

from decoct.compact.folder import read_manifest
from decoct.data.detection.coco import read_coco
from decoct.data.detection.detection_set import DetectionSet
from decoct.errors import BudgetError, ConfigError, DataError, MismatchError, OutputError, UnknownNameError
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
