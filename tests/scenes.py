"""Small made-up images with boxes: coloured shapes on a gray ground, as files with a COCO json."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

NAMES = ("disc", "square", "bar")
COLOURS = ((220, 60, 50), (60, 180, 80), (60, 90, 220))


def scene_json(count: int = 8, size: tuple[int, int] = (48, 64), seed: int = 0) -> dict[str, Any]:
    """A COCO json with 1 to 4 shapes an image; categories have numbers with gaps, images start at 10."""
    rng = np.random.default_rng(seed)
    images, annotations = [], []
    for number in range(count):
        images.append(
            {"id": 10 + number, "file_name": f"{number:03d}.png", "width": size[1], "height": size[0], "licence": 7}
        )
        for _ in range(int(rng.integers(1, 5))):
            label = int(rng.choice(3, p=(0.6, 0.25, 0.15)))
            side = int(rng.integers(8, 17))
            wide, high = (side, side) if label < 2 else (side + 8, 6)
            left, top = int(rng.integers(0, size[1] - wide)), int(rng.integers(0, size[0] - high))
            annotations.append(
                {
                    "id": 100 + len(annotations), "image_id": 10 + number, "category_id": 1 + 2 * label,
                    "bbox": [left, top, wide, high], "area": wide * high, "iscrowd": 0, "hand": "made",
                }
            )  # fmt: skip
    return {
        "info": {"year": 2024}, "licenses": [{"id": 7}], "images": images, "annotations": annotations,
        "categories": [{"id": 1 + 2 * c, "name": name, "supercategory": "shape"} for c, name in enumerate(NAMES)],
        "unheard_of": [1, 2],
    }  # fmt: skip


def draw_scene(document: dict[str, Any], image: dict[str, Any]) -> Image.Image:
    """The picture of one image of the json."""
    rng = np.random.default_rng(zlib.crc32(str(image["id"]).encode()))
    ground = rng.normal(120, 12, (image["height"], image["width"], 3)).clip(0, 255).astype(np.uint8)
    picture = Image.fromarray(ground)
    pen = ImageDraw.Draw(picture)
    for one in document["annotations"]:
        if one["image_id"] == image["id"]:
            label, (left, top, wide, high) = one["category_id"] // 2, one["bbox"]
            shape = pen.ellipse if label == 0 else pen.rectangle
            shape((left, top, left + wide - 1, top + high - 1), fill=COLOURS[label])
    return picture


def write_scenes(folder: Path, document: dict[str, Any] | None = None, **options: Any) -> Path:
    """Write pictures into `folder/images` and `folder/scenes.json`; returns the path of the json."""
    made = document or scene_json(**options)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for image in made["images"]:
        draw_scene(made, image).save(folder / "images" / image["file_name"])
    return write_document(folder, made)


def write_document(folder: Path, document: dict[str, Any]) -> Path:
    """Write the json alone."""
    path = folder / "scenes.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path
