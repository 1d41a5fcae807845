"""What a person wants to know of opened data at a glance: a few lines of text and a grid of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from decoct.data.dataset import Dataset, Split
from decoct.durations import show_bytes
from decoct.errors import DataError
from decoct.files import write_atomically

LISTED = 20
DRAWN_CLASSES = 100
SMALLEST_SIDE = 32
GAP = 2
NAME_WIDTH = 120


def summarise(dataset: Dataset) -> dict[str, Any]:
    """Facts for a machine: source, shape, class names, rows of each split in all and by class, bytes, notices."""
    spec = dataset.spec
    splits = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    return {
        "source": spec.source,
        "kind": "images" if spec.is_image else "features",
        "shape": list(spec.shape),
        "classes": spec.classes,
        "class_names": list(spec.class_names),
        "rows": {name: len(split) for name, split in splits.items()},
        "rows_by_class": {name: _by_class(split, spec.classes) for name, split in splits.items()},
        "bytes": sum(len(split) for split in splits.values()) * spec.row_bytes,
        "mapped": isinstance(dataset.train.x, np.memmap),
        "transform": spec.transform.kind,
        "fingerprint": spec.fingerprint,
        "notices": list(spec.notices),
    }


def describe(dataset: Dataset) -> str:
    """The same for a person, a few lines of text."""
    facts = summarise(dataset)
    shape = "x".join(map(str, facts["shape"]))
    rows, counts = facts["rows"], facts["rows_by_class"]["train"]
    lines = [
        f"source       {facts['source']}",
        f"rows         {facts['kind']} {shape}" + (" (channels, height, width)" if facts["kind"] == "images" else ""),
        f"splits       train {rows['train']}, val {rows['val']}, test {rows['test']}",
        f"classes      {facts['classes']}, {min(counts)} to {max(counts)} training rows each",
        *(
            f"             {name}: {count}"
            for name, count in list(zip(facts["class_names"], counts, strict=True))[:LISTED]
        ),
    ]
    if facts["classes"] > LISTED:
        lines.append(f"             and {facts['classes'] - LISTED} more")
    where = "memory-mapped" if facts["mapped"] else "in memory"
    lines += [
        f"bytes        {show_bytes(facts['bytes'])}, {where}",
        f"transform    {facts['transform']}",
        f"fingerprint  {facts['fingerprint'][:16]}",
        *(f"note         {notice}" for notice in facts["notices"]),
    ]
    return "\n".join(lines)


def write_grid(dataset: Dataset, path: Path, per_class: int = 10) -> None:
    """Write a PNG with one row of training images for each class, the first `per_class` as they are, with its name.

    Images are enlarged by a whole number until they are 32 pixels high. At most 100 classes are drawn. Raises
    `DataError` for features, and `OutputError` where `path` cannot be written.
    """
    if not dataset.spec.is_image:
        raise DataError(
            f"drawing a picture grid of {dataset.spec.source}",
            received=f"features of shape {list(dataset.spec.shape)}",
            expected="images",
            remedy="leave the grid out: a row of features is not an image",
        )
    picture = _grid(dataset, per_class)
    write_atomically(path, lambda temporary: picture.save(temporary, format="PNG"))


def _grid(dataset: Dataset, per_class: int) -> Image.Image:
    spec = dataset.spec
    _, height, width = spec.shape
    zoom = -(-SMALLEST_SIDE // min(height, width)) if min(height, width) < SMALLEST_SIDE else 1
    cell = (width * zoom + GAP, height * zoom + GAP)
    shown = min(spec.classes, DRAWN_CLASSES)
    more = spec.classes - shown
    canvas = Image.new("RGB", (NAME_WIDTH + per_class * cell[0], shown * cell[1] + (20 if more else 0)), "white")
    draw, font = ImageDraw.Draw(canvas), _font()
    for c, rows in enumerate(dataset.train.class_rows(spec.classes)[:shown]):
        draw.text((4, c * cell[1] + cell[1] // 2), _fitting(spec.class_names[c], font), "black", font, anchor="lm")
        for place, pixels in enumerate(dataset.train.x[rows[:per_class]]):
            tile = _tile(pixels).resize((width * zoom, height * zoom), Image.Resampling.NEAREST)
            canvas.paste(tile, (NAME_WIDTH + place * cell[0], c * cell[1]))
    if more:
        draw.text((4, shown * cell[1] + 10), f"and {more} more classes", "black", font, anchor="lm")
    return canvas


def _tile(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def _font() -> ImageFont.FreeTypeFont:
    """A font with most alphabets, which comes with matplotlib."""
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), 11)


def _fitting(name: str, font: ImageFont.FreeTypeFont) -> str:
    """`name` on one line, cut where it would run into the images."""
    line = "".join(letter if letter.isprintable() else " " for letter in name)
    if font.getlength(line) <= NAME_WIDTH - 8:
        return line
    while line and font.getlength(line + "…") > NAME_WIDTH - 8:
        line = line[:-1]
    return line + "…"


def _by_class(split: Split, classes: int) -> list[int]:
    return np.bincount(split.y, minlength=classes).tolist()
