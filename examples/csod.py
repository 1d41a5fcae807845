"""CSOD: from a COCO json of images with boxes to one of the images that say most about each class."""

import json
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from PIL import Image, ImageDraw

from decoct.data.detection.open import open_detection
from decoct.selection.detection.select import select_images

# Thirty gray images, each with one to five red discs, and now and then a blue square.
folder = Path(mkdtemp())
chance = np.random.default_rng(0)
images, annotations = [], []
for number in range(30):
    picture = Image.new("RGB", (80, 64), "gray")
    for _ in range(int(chance.integers(1, 6))):
        category = 2 if chance.random() < 0.1 else 1
        left, top, side = (int(chance.integers(0, most)) for most in (60, 44, 8))
        side += 10
        shape = (left, top, left + side - 1, top + side - 1)
        draw = ImageDraw.Draw(picture)
        (draw.ellipse if category == 1 else draw.rectangle)(shape, fill="red" if category == 1 else "blue")
        box = {"image_id": number, "category_id": category, "bbox": [left, top, side, side], "iscrowd": 0}
        annotations.append({"id": len(annotations), **box})
    picture.save(folder / f"{number}.png")
    images.append({"id": number, "file_name": f"{number}.png", "width": 80, "height": 64})
categories = [{"id": 1, "name": "disc"}, {"id": 2, "name": "square"}]
text = json.dumps({"images": images, "annotations": annotations, "categories": categories})
(folder / "scenes.json").write_text(text)

data = open_detection(f"coco:{folder / 'scenes.json'}")
picked = select_images(data, "csod", count=6, features="pixels", out=folder / "run")
for place, name in enumerate(picked.subset().ids):
    print(f"image {name}, picked for {picked.picked_for(place)}")
print(f"{len(picked)} of {len(data)} images hold {picked.box_counts()}")
