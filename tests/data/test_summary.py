from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from toys import blob_features, blob_images

import decoct
from decoct.data.summary import describe, summarise, write_grid
from decoct.errors import DataError, OutputError


def test_summary_is_json_and_counts_add_up():
    data = decoct.open("digits")
    facts = json.loads(json.dumps(summarise(data)))
    assert facts["shape"] == [1, 8, 8]
    assert facts["rows"] == {"train": 1439, "val": 179, "test": 179}
    assert sum(facts["rows_by_class"]["train"]) == 1439
    assert facts["bytes"] == 1797 * 64
    text = describe(data)
    assert "train 1439, val 179, test 179" in text
    assert "10, 140 to 147 training rows each" in text
    assert "note         the source has no val" in text
    assert max(map(len, text.splitlines())) < 140


def test_many_classes_stay_on_one_screen():
    assert len(describe(blob_images(classes=300, per_class=2)).splitlines()) < 32


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 6, 40), (3, 70, 50)])
def test_the_grid_shows_raw_images(tmp_path, shape):
    data = blob_images(shape=shape)
    path = tmp_path / "grid.png"
    write_grid(data, path, per_class=4)
    with Image.open(path) as image:
        pixels = np.asarray(image)
    zoom = -(-32 // min(shape[1:])) if min(shape[1:]) < 32 else 1
    first = data.train.x[data.train.class_rows(3)[0][1]]
    left = 120 + shape[2] * zoom + 2
    tile = pixels[: shape[1] * zoom : zoom, left : left + shape[2] * zoom : zoom]
    np.testing.assert_array_equal(tile, np.broadcast_to(first, (3, *shape[1:])).transpose(1, 2, 0))
    assert (pixels[:, :120] < 128).any(), "class names are drawn"


def test_the_grid_of_many_oddly_named_classes(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (240, 8, 8), dtype=np.uint8)
    names = np.array([f"<b>{c}</b>\n漢字 ünï {'long ' * c}" for c in range(120)])
    data = decoct.open((x, names[np.arange(240) % 120]))
    write_grid(data, tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as image:
        assert image.height == 100 * 34 + 20


def test_features_have_no_grid(tmp_path):
    with pytest.raises(DataError, match="a row of features is not an image"):
        write_grid(blob_features(), tmp_path / "grid.png")
    assert not list(tmp_path.iterdir())


def test_a_grid_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_grid(blob_images(), tmp_path / "file" / "grid.png")
